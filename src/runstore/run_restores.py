"""Run restores: a run that was exported, from its lines of JSON into this database."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Coroutine, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import isgenerator
from typing import Any, Final, Literal, cast, overload
from uuid import UUID

import orjson
import psycopg
from psycopg import AsyncConnection, Connection
from pydantic import ValidationError

from . import _sql
from ._json import Json
from ._models import Row, RunId
from ._query import Statement, Steps, blocking, drive, drive_async, query, reads
from ._statements import not_found
from .errors import Conflict, InvalidPayload, NotFound, RunstoreError
from .run_exports import FORMAT, iter_run_export
from .runs import get_run

_SQL: Final = _sql.load("run_restores")

_LOG: Final = (
    "run_heads",
    "run_events",
    "sandboxes",
    "snapshots",
    "phase_results",
    "agent_invocations",
    "agent_steps",
    "tool_calls",
    "memory_records",
    "cta_events",
)
_REPORTS: Final = (
    "reports",
    "report_sections",
    "report_versions",
    "report_version_sections",
    "branch_reports",
    "branch_sections",
    "usage_logs",
)
_LINE: Final = re.compile(rb'\s*\{\s*"(\w+)"\s*:(.*)\}\s*', re.DOTALL)

# How many rows go out at once, and of how many bytes at most unless one alone has more.
_ROWS: Final = 500
_BYTES: Final = 1 << 20


class RestoredRun(Row):
    """A run that is in the database as its export says.

    `created` is False when it was there before. `rows` are those of the export.
    """

    run_id: UUID
    created: bool
    rows: int


class _Header(Row):
    format: Literal[1]
    run_id: RunId
    usage: bool


class _End(Row):
    rows: int
    sha256: str


@query
@reads(UUID)
def restore_run_row(run_id: RunId, document: Json) -> Statement[bool]:
    """Insert a run as its export has it, without what hangs off it; False: it is there already.

    Raises `Conflict` when another run has its idempotency key, or is active in its thread.
    """

    def refused(error: RunstoreError) -> Steps[bool]:
        if not isinstance(error, Conflict):
            raise error
        # Whichever key the server names: it looks first at the one whose index is oldest.
        if error.constraint != "runs_pkey":
            try:
                yield from get_run.bind(run_id)
            except NotFound:
                raise error from None
        return False

    parameters = {"run_id": run_id, "document": document}
    return Statement(_SQL["restore_run_row"], parameters, lambda _: True, refused=refused)


@query
@reads(UUID)
def restore_run_rows(
    run_id: RunId, table_names: list[str], documents: list[Json]
) -> Statement[None]:
    """Insert rows of a run's log and work, which are as its export has them. Raises `NotFound`."""
    return _insert("restore_run_rows", run_id, table_names, documents)


@query
@reads(UUID)
def restore_report_rows(
    run_id: RunId, table_names: list[str], documents: list[Json]
) -> Statement[None]:
    """Insert rows of a run's reports and usage, as its export has them. Raises `NotFound`."""
    return _insert("restore_report_rows", run_id, table_names, documents)


def _insert(
    name: str, run_id: UUID, table_names: list[str], documents: list[Json]
) -> Statement[None]:
    parameters = {"run_id": run_id, "table_names": table_names, "documents": documents}
    return Statement(_SQL[name], parameters, lambda _: None, lambda: not_found("run", run_id))


@overload
def restore_run(conn: Connection[Any], lines: Iterable[bytes]) -> RestoredRun: ...
@overload
def restore_run(
    conn: AsyncConnection[Any], lines: Iterable[bytes]
) -> Coroutine[Any, Any, RestoredRun]: ...
def restore_run(
    conn: Connection[Any] | AsyncConnection[Any], lines: Iterable[bytes]
) -> RestoredRun | Coroutine[Any, Any, RestoredRun]:
    """Write a run that `iter_run_export` gave into this database, with its ids and times.

    One transaction: the run is there whole or not at all. A few hundred lines are held at a time,
    and of an iterator no line after the run's last one is taken, so that the next run may follow;
    a generator whose lines are refused is closed. They may come from an export on the same
    connection. When all is written it is exported again, and has to give the same bytes.

    A repeated call finds the run and writes nothing. Usage is logged as it was, and counts in no
    quota: it was counted where it was used. Raises `Conflict` when the run is there with another
    content, another run has its idempotency key, or another exclusive run is active in its thread;
    `InvalidPayload`, with the line at fault, for lines that are no whole export.
    """
    if isinstance(conn, AsyncConnection):
        return _restore_async(conn, _Lines(lines))
    return _restore(blocking(conn), _Lines(lines))


def _restore(conn: Connection[Any], lines: _Lines) -> RestoredRun:
    with conn.transaction():
        with lines.read():
            created = drive(conn, lines.run())
            for batch in lines.batches():
                if created:
                    drive(conn, batch.insert(lines.run_id))
        digest = hashlib.sha256()
        last = b""
        for line in iter_run_export(conn, lines.run_id, usage=lines.usage):
            digest.update(last)
            last = line
        lines.compare(digest.hexdigest(), created=created)
    return RestoredRun(run_id=lines.run_id, created=created, rows=lines.rows)


async def _restore_async(conn: AsyncConnection[Any], lines: _Lines) -> RestoredRun:
    async with conn.transaction():
        with lines.read():
            created = await drive_async(conn, lines.run())
            for batch in lines.batches():
                if created:
                    await drive_async(conn, batch.insert(lines.run_id))
        digest = hashlib.sha256()
        last = b""
        async for line in iter_run_export(conn, lines.run_id, usage=lines.usage):
            digest.update(last)
            last = line
        lines.compare(digest.hexdigest(), created=created)
    return RestoredRun(run_id=lines.run_id, created=created, rows=lines.rows)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Rows that go out at once, and the number of the first one's line."""

    first: int
    table_names: list[str]
    documents: list[Json]

    def insert(self, run_id: UUID) -> Steps[None]:
        """Insert the rows. Raises `InvalidPayload` for those that the schema cannot take."""
        bind = (restore_run_rows if self.table_names[0] in _LOG else restore_report_rows).bind
        try:
            yield from bind(run_id, self.table_names, self.documents)
        except (psycopg.DataError, InvalidPayload) as error:
            raise _refusal(error, self.first, self.documents) from None


def _refusal(error: Exception, first: int, documents: list[Json]) -> InvalidPayload:
    """Say which lines hold what the schema cannot take."""
    for number, document in enumerate(documents, first):
        _object(document, f"line {number}")
    last = first + len(documents) - 1
    lines = f"line {first}" if last == first else f"lines {first} to {last}"
    if isinstance(error, InvalidPayload) and error.path != "parameter":
        return InvalidPayload(lines, f"{error.path} {error.reason}")
    return InvalidPayload(lines, "a value is of another type than its column")


class _Lines:
    """An export as it is read, line by line; what it says of itself is checked at its end."""

    run_id: UUID
    usage: bool

    def __init__(self, lines: Iterable[bytes]) -> None:
        self._lines: Iterator[Any] = iter(lines)
        self._number = 0
        self._digest = hashlib.sha256()
        self.rows = 0

    @contextmanager
    def read(self) -> Generator[None, None, None]:
        """Close a generator whose lines are refused.

        An export on our own connection is in a transaction within ours, and has to end it first.
        """
        try:
            yield
        except BaseException:
            if isgenerator(self._lines):
                self._lines.close()
            raise

    def run(self) -> Steps[bool]:
        """Read the header and the first row, and insert that; False: the run is there already."""
        key, text = self._next()
        if key != "runstore":
            raise InvalidPayload("line 1", "is not the first line of an exported run")
        found = _object(text, "line 1").get("format")
        if found != FORMAT:
            raise InvalidPayload("line 1", f"is of format {found}; this version reads {FORMAT}")
        header = _parse(_Header, text, "line 1")
        self.run_id, self.usage = header.run_id, header.usage
        table, document = self._next()
        if table != "runs":
            raise InvalidPayload("line 2", "is not the run itself")
        self.rows = 1
        try:
            return (yield from restore_run_row.bind(self.run_id, document))
        except (psycopg.DataError, InvalidPayload) as error:
            raise _refusal(error, 2, [document]) from None

    def batches(self) -> Iterator[_Batch]:
        """Read the other rows up to the last line, and check what that one says."""
        batch = _Batch(3, [], [])
        size = 0
        before = self._digest.hexdigest()
        table, document = self._next()
        while table != "end":
            self.rows += 1
            kin = _LOG if table in _LOG else _REPORTS
            if table not in kin:
                raise InvalidPayload(f"line {self._number}", f"is of no table of a run: {table}")
            full = len(batch.documents) == _ROWS or size + len(document) > _BYTES
            if batch.documents and (full or batch.table_names[0] not in kin):
                yield batch
                batch, size = _Batch(self._number, [], []), 0
            batch.table_names.append(table)
            batch.documents.append(document)
            size += len(document)
            before = self._digest.hexdigest()
            table, document = self._next()
        if batch.documents:
            yield batch
        self._end = _parse(_End, document, f"line {self._number}")
        if self._end != _End(rows=self.rows, sha256=before):
            raise InvalidPayload("the export", "was changed or damaged since it was written")

    def compare(self, sha256: str, *, created: bool) -> None:
        """Raise `Conflict` unless the run, exported from this database, gives the same bytes."""
        if sha256 != self._end.sha256:
            reason = "does not read back as it was" if created else "exists with another content"
            raise Conflict(f"run {self.run_id} {reason}")

    def _next(self) -> tuple[str, Json]:
        self._number += 1
        line = next(self._lines, None)
        if line is None:
            raise InvalidPayload(f"line {self._number}", "is missing: the export was cut off")
        if not isinstance(line, bytes):
            reason = f"must be bytes, not {type(line).__name__}"
            raise InvalidPayload(f"line {self._number}", reason)
        match = _LINE.fullmatch(line)
        if match is None:
            raise InvalidPayload(f"line {self._number}", "is not one JSON object")
        self._digest.update(line)
        return match[1].decode("ascii", "replace"), Json(match[2])


def _object(text: bytes, path: str) -> dict[str, Any]:
    try:
        found = orjson.loads(bytes(text))
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise InvalidPayload(path, "is not one JSON object")
    return cast("dict[str, Any]", found)


def _parse(model: type[Any], text: bytes, path: str) -> Any:
    try:
        return model.model_validate_json(bytes(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"])) or "it"
        raise InvalidPayload(path, f"{name}: {first['msg']}") from None
