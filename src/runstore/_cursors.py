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

# A result of more rows is not kept until the statement's next use.
_KEPT_ROWS: Final = 1000


class BlockingCursor(Cursor[TupleRow]):
    """A cursor with our adapters and plain tuples."""

    def __init__(self, connection: Connection[Any]) -> None:
        refuse_other_encodings(connection)
        super().__init__(connection, row_factory=tuple_row)
        self._adapters = AdaptersMap(ADAPTERS)


class AsyncioCursor(AsyncCursor[TupleRow]):
    """A cursor with our adapters and plain tuples."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        refuse_other_encodings(connection)
        super().__init__(connection, row_factory=tuple_row)
        self._adapters = AdaptersMap(ADAPTERS)


def take(connection: Connection[Any], statement: str) -> BlockingCursor:
    """Take the statement's cursor off the connection, or make one when none is free.

    Whoever takes it is its only user: a nested call and another task get their own.
    """
    kept: BlockingCursor | None = connection.__dict__.setdefault(_SLOT, {}).pop(statement, None)
    return BlockingCursor(connection) if kept is None else kept


def take_async(connection: AsyncConnection[Any], statement: str) -> AsyncioCursor:
    """Take the statement's cursor off the connection, or make one when none is free.

    Whoever takes it is its only user: a nested call and another task get their own.
    """
    kept: AsyncioCursor | None = connection.__dict__.setdefault(_SLOT, {}).pop(statement, None)
    return AsyncioCursor(connection) if kept is None else kept


def keep(
    connection: Connection[Any] | AsyncConnection[Any],
    statement: str,
    cursor: BlockingCursor | AsyncioCursor,
) -> None:
    """Put a cursor back for the statement's next use. One that met an error is not put back."""
    if cursor.rowcount <= _KEPT_ROWS:
        connection.__dict__[_SLOT][statement] = cursor
