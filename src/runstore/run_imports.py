"""Run imports: any number of events, streamed into a run's log as binary COPY."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from struct import Struct
from typing import Any, Final, NoReturn, overload
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor

from . import _sql
from ._models import Amount, Row, RunId
from ._parameters import checked
from ._query import Statement, Steps, blocking, drive, drive_async, query
from ._statements import get, one
from .errors import Conflict, InvalidPayload, InvalidTransition, StaleWrite, translate
from .run_events import EventLike, documents_of, get_run_head
from .run_ingests import Batches

_SQL: Final = _sql.load("run_imports")

# COPY cannot be prepared, and so it is not among the named queries.
COPY: Final = "COPY runstore.run_events (run_id, seq, type, payload) FROM STDIN (FORMAT binary)"

# Binary COPY, as PostgreSQL documents it: a signature with flags and an extension of no length,
# then rows, each its number of fields and then every field after its length, then -1.
_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER: Final = b"\xff\xff"
_FIELDS: Final = 4
_BEFORE: Final = Struct("!hi16si")
"""The number of fields, a run id, and the length of an event's number: what all rows begin with."""
_LENGTH: Final = Struct("!i").pack
_ROW: Final = "!{before}sq{type}siB"
"""All of a row before its document: what comes before the number, the number, the type after its
length, and of a jsonb the length and the version of its format."""

# How many events are encoded before they are sent, and how many bytes of them are copied at once.
_BLOCK: Final = 500
_BLOCK_BYTES: Final = 1 << 20


class LogEnd(Row):
    """The number of a run's last event."""

    run_id: UUID
    last_seq: int


@query
def find_row_security() -> Statement[bool]:
    """Say whether policies of row-level security hold for this role on the log of events."""
    return Statement(_SQL["find_row_security"], {}, lambda rows: rows[0][0])


@query
def lock_run_head(run_id: RunId, expected_seq: Amount | None) -> Statement[LogEnd]:
    """Lock a run's head until the transaction ends, and return where its log goes on.

    Raises `NotFound`, `InvalidTransition` when the run has ended, `StaleWrite` when its last
    event is not the expected one.
    """
    return one(
        LogEnd,
        _SQL["lock_run_head"],
        {"run_id": run_id, "expected_seq": expected_seq},
        absent=lambda: _refuse(run_id, expected_seq),
    )


def _refuse(run_id: UUID, expected_seq: int | None) -> Steps[NoReturn]:
    head = yield from get_run_head.bind(run_id)
    if head.closed:
        raise InvalidTransition("run", run_id, head.status)
    if expected_seq is not None and head.last_seq != expected_seq:
        raise StaleWrite("last_seq", expected_seq, head.last_seq)
    # The run moved on between the two statements, so that the reason is gone.
    raise Conflict(f"run {run_id} was written to at the same time; repeat the import")


@query
def advance_run_head(run_id: RunId, last_seq: Amount) -> Statement[LogEnd]:
    """Say that a run's log goes up to this event. Raises `NotFound`.

    The caller has locked the head and written the events.
    """
    parameters = {"run_id": run_id, "last_seq": last_seq}
    return get(LogEnd, _SQL["advance_run_head"], "run", run_id, parameters)


@overload
def import_run_events(
    conn: Connection[Any],
    run_id: UUID,
    events: Iterable[EventLike],
    *,
    expected_seq: int | None = None,
) -> int: ...
@overload
def import_run_events(
    conn: AsyncConnection[Any],
    run_id: UUID,
    events: Iterable[EventLike],
    *,
    expected_seq: int | None = None,
) -> Coroutine[Any, Any, int]: ...
@checked
def import_run_events(
    conn: Connection[Any] | AsyncConnection[Any],
    run_id: RunId,
    events: Iterable[EventLike],
    *,
    expected_seq: int | None = None,
) -> int | Coroutine[Any, Any, int]:
    """Append any number of events to a run that has not ended, and return the last one's number.

    For what exists already, a log to be moved here: one transaction and one stream, which takes
    the events as they come and holds a few hundred of them at a time. Their numbers are those
    that `append_run_events` would have given. Nobody sees any of them before all are there, and
    until then the run's head is locked: who else writes to the run waits. Where row-level
    security holds, PostgreSQL refuses COPY, and the events go in statements of a few hundred.

    With `expected_seq` it is a compare-and-set: who lost the answer repeats the import with it,
    and `StaleWrite` says that it had arrived. Raises `NotFound`, `InvalidTransition` when the run
    has ended, `InvalidPayload` with the index of the event at fault, and what `events` itself
    raises; then nothing is written.
    """
    if isinstance(conn, AsyncConnection):
        return _import_async(conn, run_id, events, expected_seq)
    return _import(blocking(conn), run_id, events, expected_seq)


def _import(
    conn: Connection[Any],
    run_id: UUID,
    events: Iterable[EventLike],
    expected_seq: int | None,
) -> int:
    with conn.transaction():
        if find_row_security(conn):
            return drive(conn, _append_blocks(run_id, events, expected_seq))
        rows = _Rows(lock_run_head(conn, run_id, expected_seq), events)
        try:
            with Cursor(conn).copy(COPY) as copy:
                for block in rows:
                    copy.write(block)
        except psycopg.Error as error:
            raise translate(error) from None
        return advance_run_head(conn, run_id, rows.last_seq).last_seq


async def _import_async(
    conn: AsyncConnection[Any],
    run_id: UUID,
    events: Iterable[EventLike],
    expected_seq: int | None,
) -> int:
    async with conn.transaction():
        if await find_row_security(conn):
            return await drive_async(conn, _append_blocks(run_id, events, expected_seq))
        rows = _Rows(await lock_run_head(conn, run_id, expected_seq), events)
        try:
            async with AsyncCursor(conn).copy(COPY) as copy:
                for block in rows:
                    await copy.write(block)
        except psycopg.Error as error:
            raise translate(error) from None
        return (await advance_run_head(conn, run_id, rows.last_seq)).last_seq


def _append_blocks(
    run_id: UUID, events: Iterable[EventLike], expected_seq: int | None
) -> Steps[int]:
    """Do what COPY does, in statements that row-level security allows."""
    yield from lock_run_head.bind(run_id, expected_seq)
    return (yield from Batches(run_id, events, _BLOCK).append())


@lru_cache(maxsize=1024)
def _named(type: bytes) -> tuple[Callable[..., bytes], bytes]:
    """Return what packs a row of a type, and the type after its length."""
    name = _LENGTH(len(type)) + type
    return Struct(_ROW.format(before=_BEFORE.size, type=len(name))).pack, name


class _Rows:
    """The rows of an import as binary COPY sends them, block by block.

    `last_seq` is the number of the last event that was taken.
    """

    def __init__(self, end: LogEnd, events: Iterable[EventLike]) -> None:
        self.last_seq = end.last_seq
        self._first_seq = end.last_seq + 1
        self._before = _BEFORE.pack(_FIELDS, 16, end.run_id.bytes, 8)
        self._events = iter(events)

    def __iter__(self) -> Iterator[bytes]:
        yield _HEADER
        while batch := list(islice(self._events, _BLOCK)):
            yield from self._encode(batch)
        if self.last_seq < self._first_seq:
            raise InvalidPayload("events", "are none")
        yield _TRAILER

    def _encode(self, batch: list[EventLike]) -> Iterator[bytes]:
        types: list[str] = []
        documents = [*documents_of(batch, types, self.last_seq + 1 - self._first_seq)]
        # Few types stand for many events.
        known = {type: _named(type.encode()) for type in set(types)}
        before, size = self._before, 0
        parts: list[bytes] = []
        rows = zip(types, documents, strict=True)
        for seq, (type, document) in enumerate(rows, self.last_seq + 1):
            (pack, name), length = known[type], len(document)
            parts += (pack(before, seq, name, length + 1, 1), document)
            size += length
            if size > _BLOCK_BYTES:
                yield b"".join(parts)
                parts, size = [], 0
        if parts:
            yield b"".join(parts)
        self.last_seq += len(types)
