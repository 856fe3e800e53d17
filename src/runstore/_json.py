"""JSON on its way into the database: one encoder for every payload."""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Final, cast
from uuid import UUID

import orjson
import psycopg.adapt
import psycopg.pq
from pydantic_core import PydanticSerializationError, to_json

from .errors import InvalidPayload
from .payloads import Rules, current_rules

# How many arrays and objects may stand in each other. orjson writes no more.
MAX_DEPTH: Final = 254

_BACKSLASH: Final = ord("\\")

# A message of PostgreSQL's protocol has less than 1 GiB, and who reads it needs several times that.
MAX_TOGETHER: Final = 256 << 20

# A NUL as JSON writes it. An even number of backslashes before it is text that spells a NUL.
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

_NAME: Final = re.compile(r"[\w-]{1,64}")


class Json(bytes):
    """An encoded JSON document, ready to be sent as jsonb."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Say how long the document is, and nothing of what it says."""
        return f"<Json of {len(self)} bytes>"


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
    """Return a value as the bytes of a JSON document, by the rules that `payload_rules` has set.

    Raises `InvalidPayload`, with the path of the part at fault, for what jsonb or a reader
    of it cannot hold: NUL characters, lone surrogates, NaN, infinities, integers beyond 64
    bits, keys that are not strings, types that JSON does not have, nesting beyond
    `MAX_DEPTH`; and for what is larger than the rules allow.
    """
    rules = current_rules()
    # Nearly always this is all: it is written here and not called.
    try:
        encoded = orjson.dumps(value, None, _STRICT)
    except TypeError:
        encoded = _encoded_otherwise(value, path, rules)
    else:
        # One byte is looked for much faster than several, and several from behind twice as fast.
        if (_BACKSLASH in encoded or encoded.rfind(b"null") >= 0) and not _says_all(encoded, value):
            encoded = _encoded_otherwise(value, path, rules)
    if len(encoded) > rules.max_bytes:
        raise InvalidPayload(path, f"is larger than {rules.max_bytes} bytes of JSON")
    return encoded


_STRICT: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def _encoded_otherwise(value: object, path: str, rules: Rules) -> bytes:
    """Encode what can be stored when it is sanitized, and refuse everything else."""
    if rules.sanitize:
        value = _sanitized(value, path)
        try:
            encoded = orjson.dumps(value, None, _STRICT)
        except TypeError:
            encoded = b""
        if encoded and _says_all(encoded, value):
            return encoded
    check(value, path)
    raise InvalidPayload(path, "holds something that only looks like JSON")


def nullable(value: object, path: str) -> Json | None:
    """Encode a value as JSON; None is SQL's NULL."""
    encoded = nullable_document(value, path)
    return None if encoded is None else Json(encoded)


def nullable_document(value: object, path: str) -> bytes | None:
    """Return a value as the bytes of a JSON document; None is SQL's NULL."""
    if value is None:
        return None
    # What most metadata is.
    if value.__class__ is dict and not value:
        return b"{}"
    return document(value, path)


def refuse_too_much(documents: Iterable[bytes | None], path: str) -> None:
    """Raise `InvalidPayload` for documents that are too much for one statement."""
    if sum(map(len, filter(None, documents))) > MAX_TOGETHER:
        raise _too_much(path)


def together(documents: Iterable[bytes], path: str) -> Generator[bytes]:
    """Yield documents; raise `InvalidPayload` when they get too much for one statement."""
    size = 0
    for document in documents:
        size += len(document)
        if size > MAX_TOGETHER:
            raise _too_much(path)
        yield document


def _too_much(path: str) -> InvalidPayload:
    return InvalidPayload(path, f"are larger than {MAX_TOGETHER} bytes of JSON together")


def _says_all(encoded: bytes, value: object) -> bool:
    """Say whether a document can be stored and read back as the value."""
    if encoded.rfind(b"\\u0000") >= 0 and _NUL.search(encoded):
        return False
    return encoded.rfind(b"null") < 0 or not _hides_a_number(value)


def _hides_a_number(value: object) -> bool:
    # orjson writes NaN and infinities as null. This encoder gives them away, but is slower.
    try:
        told = to_json(value, inf_nan_mode="constants")
    except PydanticSerializationError:
        # orjson has types of its own.
        return _holds_no_number(value)
    if told.rfind(b"NaN") < 0 and told.rfind(b"Infinity") < 0:
        return False
    # Or they are words of a text.
    return _holds_no_number(value)


def _holds_no_number(value: object) -> bool:
    value = _of_member(value)
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(map(_holds_no_number, cast("Mapping[object, object]", value).values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_no_number, cast("Sequence[object]", value)))
    return False


def _of_member(value: object) -> object:
    # A member of an enumeration is stored as its value.
    return cast("object", value.value) if isinstance(value, Enum) else value


def check(value: object, path: str, depth: int = 0) -> None:
    """Walk a value and raise `InvalidPayload` for the first part of it that cannot be stored."""
    value = _of_member(value)
    if depth == MAX_DEPTH and isinstance(value, Mapping | list | tuple):
        raise InvalidPayload(path, f"nests deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        for number, (key, item) in enumerate(cast("Document", value).items()):
            _check_text(_text_key(key, path), path, "has a key that")
            check(item, path + step(key, number), depth + 1)
    elif isinstance(value, list) or type(value) is tuple:
        for index, item in enumerate(cast("Sequence[object]", value)):
            check(item, path + step(index), depth + 1)
    elif isinstance(value, str):
        _check_text(value, path)
    else:
        _check_scalar(value, path)


def step(key: object, number: int | None = None) -> str:
    """Say one step of a path: `.name`, or `[3]`.

    A key that is no name might be anything, a payload among it. Its number stands for it:
    `[key 3]` is the fourth key.
    """
    if isinstance(key, int):
        return f"[{key}]"
    if isinstance(key, str) and _NAME.fullmatch(key):
        return f".{key}"
    return "[a key]" if number is None else f"[key {number}]"


def _text_key(key: object, path: str) -> str:
    if type(key) is not str:
        raise InvalidPayload(path, f"has a key that is not a string but {type(key).__name__}")
    return key


def _check_scalar(value: object, path: str) -> None:
    if value is None or isinstance(value, bool | UUID):
        return
    if isinstance(value, int):
        if not _fits(value):
            raise InvalidPayload(path, "is an integer beyond 64 bits")
    elif type(value) is not float:
        raise InvalidPayload(path, f"is a {type(value).__name__}, which JSON does not have")
    elif not math.isfinite(value):
        raise InvalidPayload(path, "is not a finite number")


def _fits(value: int) -> bool:
    return -(1 << 63) <= value < 1 << 64


def _check_text(value: str, path: str, subject: str = "") -> None:
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


def storable(value: str) -> str:
    """Replace by U+FFFD what PostgreSQL cannot store of a text; two halves become a character."""
    # The codec of UTF-16 is the one that knows pairs.
    joined = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return joined.replace("\0", "\ufffd")


def _sanitized(value: object, path: str, depth: int = 0) -> object:
    """Replace what cannot be stored, and leave what is wrong in another way to `check`."""
    value = _of_member(value)
    if depth < MAX_DEPTH and isinstance(value, list | tuple):
        return [
            _sanitized(item, path + step(index), depth + 1)
            for index, item in enumerate(cast("Sequence[object]", value))
        ]
    if depth < MAX_DEPTH and isinstance(value, Mapping):
        document = cast("Mapping[object, object]", value)
        sanitized = {
            _sanitized_scalar(_text_key(key, path)): _sanitized(
                item, path + step(key, number), depth + 1
            )
            for number, (key, item) in enumerate(document.items())
        }
        if len(sanitized) < len(document):
            raise InvalidPayload(path, "has two keys that become one when they are sanitized")
        return sanitized
    return _sanitized_scalar(value)


def _sanitized_scalar(value: object) -> object:
    if isinstance(value, str):
        return storable(value) if unstorable(value) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int):
        # Not str(value), which refuses a number of very many digits.
        return value if _fits(value) else format(Decimal(value), "f")
    return value


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
