"""Cursors kept on their connection, one for each statement.

A cursor of psycopg that repeats its statement keeps the dumpers and loaders that it
looked up. Ours are independent of the row factory, the cursor factory and the adapters
of the caller's connection, so that a setting of theirs cannot change what a model holds.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
from psycopg import AsyncConnection, AsyncCursor, Connection, Cursor
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.rows import TupleRow, tuple_row
from psycopg.types.datetime import DatetimeDumper
from psycopg.types.json import set_json_loads
from psycopg.types.numeric import DecimalDumper
from psycopg.types.uuid import UUIDDumper

from ._arrays import Array, ArrayDumper
from ._json import Json, JsonBinaryDumper, JsonDumper
from .errors import RunstoreError

_SLOT: Final = "_runstore_cursors"

# A result of more rows is not kept until the statement's next use.
_KEPT_ROWS: Final = 1000


# A parameter goes out without a type, and the server infers it from the query, as it does when
# the tests prove the query. A None, or a larger integer, then has no type of its own either,
# and a query has one prepared statement, whatever its values. Lists go in binary (%b) and keep
# the types of their elements.


class _Integer(Dumper):
    def dump(self, obj: int) -> bytes:
        return b"%d" % obj


class _Uuid(UUIDDumper):
    oid = 0


class _Numeric(DecimalDumper):
    oid = 0


class _Timestamp(DatetimeDumper):
    oid = 0


class _Adapters:
    """psycopg's own adapters with ours on top."""

    connection = None

    def __init__(self) -> None:
        self.adapters = AdaptersMap(psycopg.adapters)
        self.adapters.register_dumper(Array, ArrayDumper)
        self.adapters.register_dumper(Json, JsonBinaryDumper)
        self.adapters.register_dumper(Json, JsonDumper)
        self.adapters.register_dumper(int, _Integer)
        self.adapters.register_dumper(UUID, _Uuid)
        self.adapters.register_dumper(Decimal, _Numeric)
        self.adapters.register_dumper(datetime, _Timestamp)
        set_json_loads(orjson.loads, context=self)


_ADAPTERS: Final = _Adapters()


def _refuse_other_encodings(connection: Connection[Any] | AsyncConnection[Any]) -> None:
    # JSON goes out as UTF-8; a server that takes it for another encoding would store other text.
    encoding = connection.pgconn.parameter_status(b"client_encoding")
    if encoding not in (b"UTF8", None):
        raise RunstoreError(f"client_encoding is {encoding.decode()}; runstore needs UTF8")


class BlockingCursor(Cursor[TupleRow]):
    """A cursor with our adapters and plain tuples."""

    def __init__(self, connection: Connection[Any]) -> None:
        _refuse_other_encodings(connection)
        super().__init__(connection, row_factory=tuple_row)
        self._adapters = AdaptersMap(_ADAPTERS.adapters)


class AsyncioCursor(AsyncCursor[TupleRow]):
    """A cursor with our adapters and plain tuples."""

    def __init__(self, connection: AsyncConnection[Any]) -> None:
        _refuse_other_encodings(connection)
        super().__init__(connection, row_factory=tuple_row)
        self._adapters = AdaptersMap(_ADAPTERS.adapters)


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
