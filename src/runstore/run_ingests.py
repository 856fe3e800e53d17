"""Run ingests: any number of events, appended to a run batch by batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Final, overload
from uuid import UUID, uuid5

from psycopg import AsyncConnection, Connection

from ._models import RunId
from ._parameters import checked
from ._query import Statement, Steps, blocking, drive, drive_async
from .errors import InvalidPayload
from .run_events import MAX_EVENTS, EventLike, append_run_events

OnBatch = Callable[[int], object]

_INDEX: Final = re.compile(r"\[(\d+)\]")


@overload
def ingest_run_events(
    conn: Connection[Any],
    run_id: UUID,
    events: Iterable[EventLike],
    *,
    batch_size: int = 500,
    ingest_id: UUID | None = None,
    on_batch: OnBatch | None = None,
) -> int: ...
@overload
def ingest_run_events(
    conn: AsyncConnection[Any],
    run_id: UUID,
    events: Iterable[EventLike],
    *,
    batch_size: int = 500,
    ingest_id: UUID | None = None,
    on_batch: OnBatch | None = None,
) -> Coroutine[Any, Any, int]: ...
@checked
def ingest_run_events(
    conn: Connection[Any] | AsyncConnection[Any],
    run_id: RunId,
    events: Iterable[EventLike],
    *,
    batch_size: int = 500,
    ingest_id: UUID | None = None,
    on_batch: OnBatch | None = None,
) -> int | Coroutine[Any, Any, int]:
    """Append any number of events to a run that has not ended, and return the last one's number.

    Batch by batch, as `append_run_events` does it, each of them one statement and, unless a
    transaction is open, a commit of its own. While the server writes one the next is validated and
    encoded, so that both are at work; two batches are in memory. A server that is far away should
    be given larger ones, since the way there and back lies between them. `events` are taken, and
    `on_batch` is given the number of a batch's last event, between two statements: both may use
    the connection. Who else writes to the run comes in between.

    With an `ingest_id` of the caller's it may be repeated with the same events and `batch_size`,
    until nothing was lost: batches that had arrived are found by ids made of it (version 5 of
    RFC 9562) and append nothing, also when the run has ended since.

    An error ends it, keeps the batches before, and has a note (`__notes__`) that counts their
    events: `NotFound`, `InvalidTransition` when the run has ended, `InvalidPayload` with the index
    of the event at fault, `Conflict` when the `ingest_id` stands for other events, and what
    `events` or `on_batch` raise.
    """
    batches = Batches(run_id, events, batch_size, ingest_id)
    if isinstance(conn, AsyncConnection):
        return drive_async(conn, _ingest(batches, on_batch))
    return drive(blocking(conn), _ingest(batches, on_batch))


def _ingest(batches: Batches, on_batch: OnBatch | None) -> Steps[int]:
    try:
        return (yield from batches.append(on_batch))
    except Exception as error:
        error.add_note(f"{batches.written} events are known to be appended")
        raise


class Batches:
    """Events to be appended to a run, batch by batch.

    `written` counts those that are known to be appended.
    """

    def __init__(
        self,
        run_id: UUID,
        events: Iterable[EventLike],
        batch_size: int,
        ingest_id: UUID | None = None,
    ) -> None:
        if not 1 <= batch_size <= MAX_EVENTS:
            raise InvalidPayload("batch_size", f"must be from 1 to {MAX_EVENTS}")
        self.written = 0
        self._run_id = run_id
        self._rest = iter(events)
        self._size = batch_size
        self._ingest_id = ingest_id

    def append(self, on_batch: OnBatch | None = None) -> Steps[int]:
        """Append them, and answer the last one's number. Raises `InvalidPayload` for none."""
        last_seq = None
        batch = self._take(0)
        while (statement := batch.statement()) is not None:
            upcoming = self._take(batch.first + len(batch.events))
            # By the payload rules of here: an event loop's callback, say, has a context of its own.
            statement.meanwhile = partial(copy_context().run, upcoming.make)
            last_seq = yield from statement
            self.written = upcoming.first
            if on_batch is not None:
                on_batch(last_seq)
            batch = upcoming
        if last_seq is None:
            raise InvalidPayload("events", "are none")
        return last_seq

    def _take(self, first: int) -> _Batch:
        append_id = self._ingest_id and uuid5(self._ingest_id, str(first))
        try:
            return _Batch(self._run_id, list(islice(self._rest, self._size)), first, append_id)
        except Exception as error:  # noqa: BLE001 - it is raised when the batch before is written.
            return _Batch(self._run_id, [], first, append_id, error)


@dataclass(slots=True)
class _Batch:
    """A batch, the place of its first event, and its statement as soon as that is made."""

    run_id: UUID
    events: list[EventLike]
    first: int
    append_id: UUID | None
    _fault: Exception | None = None
    _statement: Statement[int] | None = None

    def make(self) -> None:
        """Make the statement. What is wrong with the events is raised when it is asked for."""
        if self.events and self._statement is None and self._fault is None:
            try:
                self._statement = append_run_events.bind(
                    self.run_id, self.events, append_id=self.append_id
                )
            except InvalidPayload as error:
                self._fault = InvalidPayload(
                    _INDEX.sub(lambda at: f"[{int(at[1]) + self.first}]", error.path, count=1),
                    error.reason,
                )
            except Exception as error:  # noqa: BLE001 - the same.
                self._fault = error

    def statement(self) -> Statement[int] | None:
        """Return the statement; None: there are no events left."""
        self.make()
        if self._fault is not None:
            raise self._fault
        return self._statement
