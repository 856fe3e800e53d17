"""Cursors kept on their connection, one for each statement.

A cursor of psycopg that repeats its statement keeps the dumpers and loaders that it
looked up. Ours are independent of the row factory and the cursor factory of the caller's
connection, as its adapters are.
"""

from __future__ import annotations

from typing import Any, Final

from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor
from psycopg.adapt import AdaptersMap
from psycopg.rows import TupleRow, tuple_row

from ._adapters import ADAPTERS, refuse_other_encodings

_SLOT: Final = "_runstore_cursors"

_UTF8: Final = b"UTF8"

# A result of more rows is not kept until the statement's next use.
_KEPT_ROWS: Final = 1000


class BlockingCursor(Cursor[TupleRow]):
    """A cursor with our adapters and plain tuples."""

    def __init__(self, connection: Connection[Any]) -> None:
        refuse_other_encodings(connection)
        super().__init__(connection, row_factory=tuple_row)
        self._adapters = AdaptersMap(ADAPTERS)
        self.zone = connection.pgconn.parameter_status(b"TimeZone")


class AsyncioCursor(AsyncCursor[TupleRow]):
    """A cursor with our adapters and plain tuples."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        refuse_other_encodings(connection)
        super().__init__(connection, row_factory=tuple_row)
        self._adapters = AdaptersMap(ADAPTERS)
        self.zone = connection.pgconn.parameter_status(b"TimeZone")


def take(connection: Connection[Any], statement: str) -> BlockingCursor:
    """Take the statement's cursor off the connection, or make one when none is free.

    Whoever takes it is its only user: a nested call and another task get their own. One that was
    made in another time zone is not used again, since its loader of times keeps to that.
    """
    kept: BlockingCursor | None = connection.__dict__.setdefault(_SLOT, {}).pop(statement, None)
    status = connection.pgconn.parameter_status
    if kept is None or kept.zone != status(b"TimeZone"):
        return BlockingCursor(connection)
    if status(b"client_encoding") != _UTF8:
        refuse_other_encodings(connection)
    return kept


def take_async(connection: AsyncConnection[Any], statement: str) -> AsyncioCursor:
    """Take the statement's cursor off the connection, or make one when none is free.

    Whoever takes it is its only user: a nested call and another task get their own. One that was
    made in another time zone is not used again, since its loader of times keeps to that.
    """
    kept: AsyncioCursor | None = connection.__dict__.setdefault(_SLOT, {}).pop(statement, None)
    status = connection.pgconn.parameter_status
    if kept is None or kept.zone != status(b"TimeZone"):
        return AsyncioCursor(connection)
    if status(b"client_encoding") != _UTF8:
        refuse_other_encodings(connection)
    return kept


def keep(
    connection: Connection[Any] | AsyncConnection[Any],
    statement: str,
    cursor: BlockingCursor | AsyncioCursor,
) -> None:
    """Put a cursor back for the statement's next use. One that met an error is not put back."""
    if cursor.rowcount <= _KEPT_ROWS:
        connection.__dict__[_SLOT][statement] = cursor
