"""How parameters are encoded and columns decoded, on whatever connection a caller brings.

Ours are independent of the adapters of the caller's connection, so that a setting of theirs
cannot change what a model holds.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.adapt import AdaptersMap, Buffer, Dumper, Loader
from psycopg.pq import Format
from psycopg.types.datetime import DatetimeDumper
from psycopg.types.json import set_json_loads
from psycopg.types.numeric import DecimalDumper
from psycopg.types.uuid import UUIDDumper

from ._arrays import Array, ArrayDumper
from ._json import Json, JsonBinaryDumper, JsonDumper
from .errors import RunstoreError

# A parameter goes out without a type, and the server infers it from the query, as it does when
# the tests prove the query. A None, or a larger integer, then has no type of its own either,
# and a query has one prepared statement, whatever its values. Lists go in binary (%b) and keep
# the types of their elements.


class _Integer(Dumper):
    def dump(self, obj: int) -> bytes:
        return b"%d" % obj


class _Uuid(UUIDDumper):
    oid = 0

    def dump(self, obj: UUID) -> bytes:
        return b"%032x" % obj.int


class _Numeric(DecimalDumper):
    oid = 0


class _Timestamp(DatetimeDumper):
    oid = 0


class _JsonbLoader(Loader):
    """Reads jsonb in its binary format without a copy."""

    format = Format.BINARY

    def load(self, data: Buffer) -> Any:
        if data[0] != 1:
            raise psycopg.DataError(f"the version of jsonb is {data[0]}, not 1")
        return orjson.loads(data[1:])


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
        self.adapters.register_loader("jsonb", _JsonbLoader)


ADAPTERS: Final = _Adapters().adapters


def refuse_other_encodings(connection: Connection[Any] | AsyncConnection[Any]) -> None:
    """Raise `RunstoreError` when the connection's encoding is not UTF-8.

    JSON goes out as UTF-8; a server that takes it for another encoding would store other text.
    """
    encoding = connection.pgconn.parameter_status(b"client_encoding")
    if encoding not in (b"UTF8", None):
        raise RunstoreError(f"client_encoding is {encoding.decode()}; runstore needs UTF8")
