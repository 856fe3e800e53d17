"""Arrays as parameters, in PostgreSQL's binary format, made in one piece for all elements.

psycopg encodes a list element by element. For the columns of a batch, whose elements are all of
one type and never NULL, it costs less to append them to one buffer.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

from psycopg import adapters
from psycopg.adapt import Dumper
from psycopg.pq import Format

TEXT: Final = adapters.types["text"].oid
JSONB: Final = adapters.types["jsonb"].oid

# What array_recv reads: the number of dimensions, whether any element is NULL, the type of the
# elements; then of the one dimension its length and its first index; then every element after its
# length.
_HEADER: Final = Struct("!iiIii")
_LENGTH: Final = Struct("!i").pack
_DOCUMENT: Final = Struct("!iB").pack
"""The length of a jsonb, and the version of its format, which is counted in."""


class Array(bytearray):
    """An encoded array. The server takes its type from the statement, and compares both."""

    __slots__ = ()


class ArrayDumper(Dumper):
    """Sends an `Array` as what it is."""

    format = Format.BINARY

    def dump(self, obj: Array) -> Array:
        """Return the array."""
        return obj


def element_of(array: Array) -> int:
    """Return the oid of the type of an array's elements."""
    element: int = _HEADER.unpack_from(array)[2]
    return element


def text_array(texts: Iterable[bytes]) -> Array:
    """Make a text[] of encoded texts."""
    array, count = Array(_HEADER.size), 0
    for text in texts:
        array += _LENGTH(len(text))
        array += text
        count += 1
    return _ended(array, TEXT, count)


def jsonb_array(documents: Iterable[bytes]) -> Array:
    """Make a jsonb[] of encoded documents, of which it holds on to none."""
    array, count = Array(_HEADER.size), 0
    for document in documents:
        array += _DOCUMENT(len(document) + 1, 1)
        array += document
        count += 1
    return _ended(array, JSONB, count)


def _ended(array: Array, element: int, count: int) -> Array:
    _HEADER.pack_into(array, 0, 1, 0, element, count, 1)
    return array
