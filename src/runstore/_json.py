"""JSON on its way into the database: one encoder for every payload."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final, cast

import orjson
import psycopg.adapt
import psycopg.pq
from pydantic_core import to_json

from .errors import InvalidPayload

# How many arrays and objects may stand in each other. orjson writes no more.
MAX_DEPTH: Final = 254

_BACKSLASH: Final = ord("\\")

# A NUL as JSON writes it. An even number of backslashes before it is text that spells a NUL.
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class Json(bytes):
    """An encoded JSON document, ready to be sent as jsonb."""

    __slots__ = ()


class JsonDumper(psycopg.adapt.Dumper):
    """Sends `Json` as the text that it is."""

    def dump(self, obj: Json) -> bytes:
        """Return the text."""
        return obj


class JsonBinaryDumper(psycopg.adapt.Dumper):
    """Sends `Json` in jsonb's binary format, in which it can be an array's element."""

    format = psycopg.pq.Format.BINARY
    oid = psycopg.adapters.types["jsonb"].oid

    def dump(self, obj: Json) -> bytes:
        """Prefix the version that jsonb_recv expects."""
        return b"\x01" + obj


def encode(value: object, path: str) -> Json:
    """Encode a value as JSON; it raises what `document` raises."""
    return Json(document(value, path))


def document(value: object, path: str) -> bytes:
    """Return a value as the bytes of a JSON document.

    Raises `InvalidPayload`, with the path of the part at fault, for what jsonb or a reader
    of it cannot hold: NUL characters, lone surrogates, NaN, infinities, integers beyond 64
    bits, keys that are not strings, types that JSON does not have, nesting beyond
    `MAX_DEPTH`.
    """
    try:
        encoded = orjson.dumps(value, option=_STRICT)
    except TypeError:
        check(value, path)
        raise InvalidPayload(path, "holds something that only looks like JSON") from None
    # One byte is looked for much faster than several.
    if _BACKSLASH in encoded and b"\\u0000" in encoded and _NUL.search(encoded):
        check(value, path)
    if b"null" in encoded and _hides_a_number(value):
        check(value, path)
    return encoded


def _hides_a_number(value: object) -> bool:
    # orjson writes NaN and infinities as null. This encoder gives them away, but is slower.
    told = to_json(value, inf_nan_mode="constants")
    return b"NaN" in told or b"Infinity" in told


def nullable(value: object, path: str) -> Json | None:
    """Encode a value as JSON; None is SQL's NULL."""
    if value is None:
        return None
    return _EMPTY if _is_empty_object(value) else encode(value, path)


def _is_empty_object(value: object) -> bool:
    # What most metadata is.
    return type(value) is dict and not value


_EMPTY: Final = Json(b"{}")


_STRICT: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def check(value: object, path: str, depth: int = 0) -> None:
    """Walk a value and raise `InvalidPayload` for the first part of it that cannot be stored."""
    if depth == MAX_DEPTH and isinstance(value, Mapping | list | tuple):
        raise InvalidPayload(path, f"nests deeper than {MAX_DEPTH}")
    if isinstance(value, Mapping):
        for key, item in cast("Mapping[object, object]", value).items():
            if not isinstance(key, str):
                reason = f"has a key that is not a string but {type(key).__name__}"
                raise InvalidPayload(path, reason)
            check_text(key, path, "has a key that")
            check(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(cast("Sequence[object]", value)):
            check(item, f"{path}[{index}]", depth + 1)
    elif isinstance(value, str):
        check_text(value, path)
    else:
        _check_scalar(value, path)


def _check_scalar(value: object, path: str) -> None:
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise InvalidPayload(path, "is an integer beyond 64 bits")
    elif not isinstance(value, float):
        raise InvalidPayload(path, f"is a {type(value).__name__}, which JSON does not have")
    elif not math.isfinite(value):
        raise InvalidPayload(path, "is not a finite number")


def check_text(value: str, path: str, subject: str = "") -> None:
    """Raise `InvalidPayload` for a text that PostgreSQL cannot store."""
    reason = unstorable(value)
    if reason:
        raise InvalidPayload(path, f"{subject} {reason}".strip())


def unstorable(value: str) -> str | None:
    """Say why PostgreSQL cannot store a text, or None when it can."""
    if "\0" in value:
        return "holds a NUL character, which PostgreSQL cannot store"
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return "holds a lone surrogate, which UTF-8 cannot encode"
    return None


def equal(one: object, other: object) -> bool:
    """Say whether two decoded documents are the same to jsonb.

    Python calls True and 1 equal. And jsonb, whose numbers have no end, gives a large float
    back as an integer that Python calls another number.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        ours, theirs = cast("Document", one), cast("Document", other)
        return ours.keys() == theirs.keys() and all(equal(ours[k], theirs[k]) for k in ours)
    if isinstance(one, list) and isinstance(other, list):
        items, others = cast("list[object]", one), cast("list[object]", other)
        return len(items) == len(others) and all(map(equal, items, others))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other or (type(one) is not type(other) and float(one) == float(other))
    return one == other


Document = dict[str, object]
