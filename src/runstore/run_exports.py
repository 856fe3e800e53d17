"""Run exports: a whole run as lines of JSON, which `restore_run` takes into another database.

The first line names the format and the run. Each further one is `{"<table>": {...}}`, one row, its
parents before it. The last one says how many rows there are, and has the SHA-256 of all bytes
before it, so that a file that was cut off or changed is known for what it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Generator
from typing import Any, Final, overload
from uuid import UUID

import orjson
import psycopg
from psycopg import AsyncConnection, Connection

from . import _sql
from ._cursors import AsyncioCursor, BlockingCursor
from ._models import Key, Row, RunId
from ._parameters import checked
from ._query import Statement, blocking, query
from ._statements import many
from .errors import NotFound, translate

_SQL: Final = _sql.load("run_exports")

FORMAT: Final = 1
"""The format that is written, and the only one that is read."""

# A server's cursor, by a few rows at a time. The transaction ends it when the export is left before
# its end. psycopg's own write how many they fetch with the adapters of the caller's connection, and
# know no pipelines.
_DECLARE: Final = "DECLARE runstore_export NO SCROLL CURSOR FOR "
_FETCH: Final = "FETCH 100 FROM runstore_export"
_CLOSE: Final = "CLOSE runstore_export"


class ExportedRow(Row):
    """A row of a run's tree: its table, and its columns as the text of a JSON object.

    The columns that say whose it is, `run_id` and `tenant_id`, are the run's and are left out.
    """

    table_name: str
    entry: str


class TimeZone(Row):
    """The time zone in which the session wrote times until now."""

    name: str


@query
def export_run(run_id: RunId, *, usage: bool = False) -> Statement[list[ExportedRow]]:
    """Return all rows of a run, parents before their children; none: there is no such run.

    All of one snapshot, and all in memory: `iter_run_export` holds a hundred of them at a time.
    """
    return many(ExportedRow, _SQL["export_run"], {"run_id": run_id, "usage": usage}, prepare=False)


@query
def set_time_zone(timezone: Key) -> Statement[TimeZone]:
    """Write times in this time zone until the transaction ends, and return the one before."""
    sql = _SQL["set_time_zone"]
    return Statement(sql, {"timezone": timezone}, lambda rows: TimeZone(name=rows[0][0]))


@overload
def iter_run_export(
    conn: Connection[Any], run_id: RunId, *, usage: bool = False
) -> Generator[bytes, None, None]: ...
@overload
def iter_run_export(
    conn: AsyncConnection[Any], run_id: RunId, *, usage: bool = False
) -> AsyncGenerator[bytes, None]: ...
@checked
def iter_run_export(
    conn: Connection[Any] | AsyncConnection[Any], run_id: RunId, *, usage: bool = False
) -> Generator[bytes, None, None] | AsyncGenerator[bytes, None]:
    """Yield a run as lines of JSON: itself, its log and all that hangs off it.

    `for` on a blocking connection, `async for` on the other. All lines are of one snapshot, a
    hundred rows are held at a time, and the same run gives the same bytes from any database. The
    connection is in a transaction until the last line comes; close the generator to end it before.

    - A fork's log is written out whole, the events that it shares with its origin among its own, so
      that it can be restored without its origin. What its branches refer to, the origin's reports,
      is the origin's and stays with it.
    - With `usage` what was logged for the run is there too, and read from a table that may be large
      and has no index for it. Holds are not: they belong to quotas, which are not the run's.
    - A live run is written as it is at this moment.

    Raises `NotFound` before the first line.
    """
    if isinstance(conn, AsyncConnection):
        return _iter_async(conn, run_id, usage)
    return _iter(blocking(conn), run_id, usage)


def _iter(conn: Connection[Any], run_id: UUID, usage: bool) -> Generator[bytes, None, None]:
    statement = export_run.bind(run_id, usage=usage)
    lines = Lines(run_id, usage)
    with conn.transaction():
        before = set_time_zone(conn, "UTC")
        cursor = BlockingCursor(conn)
        try:
            cursor.execute(_DECLARE + statement.sql.text, statement.parameters, prepare=False)
            while rows := cursor.execute(_FETCH, prepare=False).fetchall():
                for table, entry in rows:
                    yield from lines.of_row(table, entry)
            cursor.execute(_CLOSE, prepare=False)
        except psycopg.Error as error:
            raise translate(error) from None
        end = lines.end()
        set_time_zone(conn, before.name)
    # Who takes no line after it would else be in the transaction for as long as it has the lines.
    yield end


async def _iter_async(
    conn: AsyncConnection[Any], run_id: UUID, usage: bool
) -> AsyncGenerator[bytes, None]:
    statement = export_run.bind(run_id, usage=usage)
    lines = Lines(run_id, usage)
    async with conn.transaction():
        before = await set_time_zone(conn, "UTC")
        cursor = AsyncioCursor(conn)
        try:
            await cursor.execute(_DECLARE + statement.sql.text, statement.parameters, prepare=False)
            while rows := await (await cursor.execute(_FETCH, prepare=False)).fetchall():
                for table, entry in rows:
                    for line in lines.of_row(table, entry):
                        yield line
            await cursor.execute(_CLOSE, prepare=False)
        except psycopg.Error as error:
            raise translate(error) from None
        end = lines.end()
        await set_time_zone(conn, before.name)
    yield end


class Lines:
    """The lines of one run's export, and the sum of what they say."""

    def __init__(self, run_id: UUID, usage: bool) -> None:
        self._run_id = run_id
        self._header = {"format": FORMAT, "run_id": str(run_id), "usage": usage}
        self._digest = hashlib.sha256()
        self._rows = 0

    def of_row(self, table: str, entry: str) -> Generator[bytes, None, None]:
        """Yield the line of a row, and before the first one the header."""
        if not self._rows:
            yield self._summed(b'{"runstore":%b}\n' % orjson.dumps(self._header))
        self._rows += 1
        yield self._summed(b'{"%b":%b}\n' % (table.encode(), entry.encode()))

    def end(self) -> bytes:
        """Return the last line. Raises `NotFound` when there was no row."""
        if not self._rows:
            raise NotFound("run", self._run_id)
        return b'{"end":%b}\n' % orjson.dumps(
            {"rows": self._rows, "sha256": self._digest.hexdigest()}
        )

    def _summed(self, line: bytes) -> bytes:
        self._digest.update(line)
        return line
