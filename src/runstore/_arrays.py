"""Arrays as parameters, in PostgreSQL's binary format, made in one piece.

psycopg looks for the type of every list among its elements, and encodes each by itself. The
statements of batches say the type of every array, `%(names)b::text[]`, so that nothing is to be
found out, and an element costs little more than its bytes.

Documents go as texts, of which the statement makes jsonb row by row. As elements of a jsonb[] the
server would parse all of them before it starts, in memory that it frees at the end.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from struct import Struct
from typing import Any, Final
from uuid import UUID

from psycopg import adapters
from psycopg.adapt import Dumper
from psycopg.pq import Format

from ._json import nullable

# What array_recv reads: the number of dimensions, whether any element is NULL, the type of the
# elements; then of the one dimension its length and its first index; then every element after its
# length, which is -1 for NULL.
_HEADER: Final = Struct("!iiIii")
_NULL: Final = b"\xff\xff\xff\xff"
_LENGTH: Final = Struct("!i").pack
_DOCUMENT: Final = Struct("!iB").pack
"""The length of a jsonb, and the version of its format, which is counted in."""
_INTEGER: Final = Struct("!ii").pack
_BIGINT: Final = Struct("!iq").pack
_INTERVAL: Final = Struct("!iqii").pack
"""The length of an interval, its microseconds, its days and its months."""

_JSONB: Final = adapters.types["jsonb"].oid

_PLACEHOLDER: Final = re.compile(r"%\((\w+)\)b::(\w+)\[\]")


class Array(bytearray):
    """An encoded array. The server takes its type from the statement, and compares both."""

    __slots__ = ()


class ArrayDumper(Dumper):
    """Sends an `Array` as what it is."""

    format = Format.BINARY

    def dump(self, obj: Array) -> Array:
        """Return the array."""
        return obj


def arrays_of(text: str, columns: Mapping[str, Sequence[Any]]) -> dict[str, Array]:
    """Make the arrays of a statement from its columns, each of the type that the text says."""
    return {name: _array_of(type, columns[name]) for name, type in _types_of(text)}


def _array_of(type: str, column: Sequence[Any]) -> Array:
    if not column or any(column) or column.count(None) < len(column):
        return array(type, column)
    # Nothing but NULL, as many columns are that a batch has no use for.
    made = Array(_HEADER.size)
    made += _NULL * len(column)
    _HEADER.pack_into(made, 0, 1, 1, _ELEMENTS[type][0], len(column), 1)
    return made


@functools.cache
def _types_of(text: str) -> list[tuple[str, str]]:
    return list(dict(_PLACEHOLDER.findall(text)).items())


def array(type: str, values: Iterable[Any]) -> Array:
    """Make an array of a type; None is NULL. It holds on to none of the values."""
    element, encode = _ELEMENTS[type]
    made, count, nulls = Array(_HEADER.size), 0, 0
    for value in values:
        if value is None:
            made += _NULL
            nulls = 1
        else:
            made += encode(value)
        count += 1
    _HEADER.pack_into(made, 0, 1, nulls, element, count, 1)
    return made


def element_of(array: Array) -> int:
    """Return the oid of the type of an array's elements."""
    element: int = _HEADER.unpack_from(array)[2]
    return element


def elements_of(array: Array) -> list[Any]:
    """Return an array's elements, documents encoded, for whoever shows what is sent."""
    element = element_of(array)
    loader = adapters.get_loader(adapters.types[element].array_oid, Format.BINARY)
    if loader is None:
        raise LookupError(element)
    elements: list[Any] = loader(element).load(array)
    return [nullable(one, "") for one in elements] if element == _JSONB else elements


# Each encodes an element after its length.


def _uuid(value: UUID) -> bytes:
    # Without its property `bytes`, which is a call more.
    return b"\0\0\0\x10" + value.int.to_bytes(16, "big")


def _text(value: str | bytes) -> bytes:
    encoded = value.encode() if isinstance(value, str) else value
    return _LENGTH(len(encoded)) + encoded


def _jsonb(value: bytes) -> bytes:
    return _DOCUMENT(len(value) + 1, 1) + value


def _integer(value: int) -> bytes:
    return _INTEGER(4, value)


def _bigint(value: int) -> bytes:
    return _BIGINT(8, value)


def _boolean(value: bool) -> bytes:
    return b"\0\0\0\1\1" if value else b"\0\0\0\1\0"


def _interval(value: timedelta) -> bytes:
    return _INTERVAL(16, value.seconds * 1_000_000 + value.microseconds, value.days, 0)


_ENCODERS: Final[dict[str, Callable[[Any], bytes]]] = {
    "uuid": _uuid,
    "text": _text,
    "jsonb": _jsonb,
    "integer": _integer,
    "bigint": _bigint,
    "boolean": _boolean,
    "interval": _interval,
}
_ELEMENTS: Final = {type: (adapters.types[type].oid, encode) for type, encode in _ENCODERS.items()}
