"""Values as models, tools and mistakes make them: some can be stored, some cannot."""

from __future__ import annotations

import types
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin
from uuid import UUID

from hypothesis import strategies as st
from pydantic import AwareDatetime, JsonValue

from runstore import new_child_id, new_run_id
from runstore._json import MAX_DEPTH
from runstore.payloads import MAX_BYTES

NUMBERS: st.SearchStrategy[Any] = (
    st.integers(-(2**63) - 2, 2**64 + 2)
    | st.floats()
    | st.sampled_from(
        [
            *(2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**400, 2**53 + 1),
            *(1e308, -1e308, 1e22, 1e23, 7.000675502323238e16, 1e400, float("nan"), 0.1),
            *(-0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -5e-324),
            *(True, 1.0, Decimal("1.10"), Decimal("NaN")),
        ]
    )
)

TEXTS: st.SearchStrategy[str] = (
    st.text(max_size=30)
    | st.text(st.characters(), max_size=12)
    | st.sampled_from(
        [
            "",
            " ",
            "\0",
            "a\0b",
            "\\u0000",
            "\\\0",
            "\\\\u0000\\",
            "\\ud800",
            "\ud800",
            "\udc00\ud800",
            "\ud83d\ude00",
            "cut off \ud83d",
            "\U0001f600\u200d\U0001f469",
            "e\u0301 \u00e9",
            "\u202eright to left\u202c \u05d0\u05d1",
            "\ufffe\uffff\ufffd",
            "\x01\x1b[31m\x7f\x85\u2028",
            "NaN",
            "null Infinity",
            '"}],{"',
            "'; DROP TABLE runs; --",
            "%s %(id)s %%",
            "$1 \\x00 E'\\000'",
            "x" * 255,
            "x" * 256,
            "\U0001f600" * 255,
            "\U0001f600" * 256,
        ]
    )
)

KEYS = TEXTS | st.sampled_from(["", "a.b", "a b", "payload"])

STRANGE: st.SearchStrategy[Any] = st.sampled_from(
    [b"bytes", {1, 2}, object, datetime(2026, 1, 1, tzinfo=UTC), timedelta(1), (1, ("two",)), 1j]
)


def nested(depth: int, leaf: Any) -> Any:
    for level in range(depth):
        leaf = {"a": leaf} if level % 2 else [leaf]
    return leaf


LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
TREES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
DOCUMENTS: st.SearchStrategy[Any] = st.one_of(
    TREES,
    TREES,
    LEAVES,
    st.dictionaries(KEYS | st.integers(0, 2) | st.none(), LEAVES, max_size=3),
    st.builds(
        nested,
        st.sampled_from([MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 5000]),
        LEAVES,
    ),
    st.lists(STRANGE, max_size=2),
)

# The largest that are taken, and the smallest that are not.
LARGE: dict[str, list[Any]] = {
    "document": [["x" * (MAX_BYTES - 4)], ["x" * (MAX_BYTES - 3)]],
    "text": ["漢" * (MAX_BYTES // 3), "x" * MAX_BYTES, "x" * (MAX_BYTES + 1)],
}


def seldom(strategy: st.SearchStrategy[Any], values: list[Any]) -> st.SearchStrategy[Any]:
    """Return values of a strategy, and one in fifty of these, which cost more."""
    return st.integers(0, 49).flatmap(lambda n: strategy if n else st.sampled_from(values))


_ZONES = [UTC, timezone(timedelta(hours=14)), timezone(-timedelta(hours=15, minutes=59))]
_ENDS = [datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)]
_EDGES = [edge.replace(tzinfo=zone) for edge in _ENDS for zone in _ZONES]
TIMES: st.SearchStrategy[Any] = (
    st.datetimes(timezones=st.sampled_from([*_ZONES, timezone(timedelta(hours=23, seconds=1))]))
    | st.datetimes()
    | st.sampled_from(
        [
            *_EDGES,
            datetime(9999, 12, 31, tzinfo=UTC),
            datetime(1, 1, 2, tzinfo=UTC),
            datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            datetime(2026, 3, 29, 2, 30, tzinfo=UTC, fold=1),
        ]
    )
)

WHOLES = st.sampled_from(
    [0, 1, 2, -1, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 10**15, 10**15 + 1, 1.0, True, "1", None]
)
DECIMALS = st.decimals(allow_nan=True, allow_infinity=True) | st.sampled_from(
    [Decimal("1e100"), Decimal("1e-101"), Decimal(-1), Decimal("0E+5"), 0.1, 10**15, "12.50"]
)
JUNK: st.SearchStrategy[Any] = st.sampled_from([None, "", 5, b"x", [], {}, 2.5, object()])


def hostile(annotation: Any) -> st.SearchStrategy[Any]:
    """Return values for a field of this type, many of which are of it."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if JsonValue in parts:
        several = st.lists(DOCUMENTS, max_size=3)
        named = st.dictionaries(KEYS, DOCUMENTS, max_size=3)
        return (several if origin is list else named) | DOCUMENTS
    if origin in (Annotated, Union, types.UnionType):
        return st.one_of([hostile(part) for part in parts[: 1 if origin is Annotated else None]])
    if origin is Literal:
        return st.sampled_from([*parts * 3, "", "unheard-of", None])
    if origin is dict:
        meters = st.sampled_from(["tokens", "input_tokens", "cache_read_tokens", "cost_nanousd"])
        return st.dictionaries(meters | KEYS, WHOLES | st.integers(0, 10**6), max_size=3)
    return _KNOWN.get(annotation, JUNK)


_KNOWN: dict[Any, st.SearchStrategy[Any]] = {
    JsonValue: seldom(DOCUMENTS, LARGE["document"]),
    str: seldom(TEXTS, LARGE["text"]),
    type(None): st.none(),
    int: WHOLES | st.integers(0, 1000),
    bool: st.booleans() | st.sampled_from(["yes", 2, None]),
    Decimal: DECIMALS,
    datetime: TIMES,
    AwareDatetime: TIMES,
    timedelta: st.timedeltas() | st.timedeltas(timedelta(seconds=1), timedelta(days=300)),
    UUID: st.builds(new_run_id)
    | st.builds(lambda: new_child_id(new_run_id()))
    | st.sampled_from(["not-a-uuid", 5, None]),
}


def as_stored(value: Any) -> Any:
    """Return a JSON value as it has to come back: what JSON and jsonb have no other way to say.

    A tuple is a list. A number without a fraction may be an integer, as it does in arithmetic.
    """
    if isinstance(value, list | tuple):
        return [as_stored(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        document = cast("dict[str, Any]", value)
        return {key: as_stored(item) for key, item in document.items()}
    if isinstance(value, float):
        # jsonb keeps the shortest decimal, which for a large float is not its exact value.
        number = Decimal(repr(value))
        whole = int(number)
        return whole if number == whole and -(2**63) <= whole < 2**64 else value
    return value
