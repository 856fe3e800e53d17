"""Answers in JSON: times in ISO 8601, decimals as strings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import orjson
from pydantic import BaseModel
from pydantic_core import to_json, to_jsonable_python


def plain(value: object) -> Any:
    """Return what JSON can say of a value, of a model, or of a container of them."""
    return to_jsonable_python(value)


def as_json(document: object) -> bytes:
    """Return a document as one line of JSON, however deep it is.

    The library's limit is that of a payload; what a payload stands in, and agents that called each
    other, come on top of it. pydantic and orjson stop at some 250 levels.
    """
    try:
        return orjson.dumps(plain(document))
    except (TypeError, ValueError):
        return b"".join(_pieces(document))


def _pieces(document: object) -> Iterator[bytes]:
    """Yield JSON piece by piece, with a stack of its own: Python's ends sooner than documents."""
    left: list[object] = [document]
    while left:
        value = left.pop()
        if isinstance(value, bytes):
            yield value
        elif isinstance(value, BaseModel | dict):
            members = cast("dict[str, object]", value if isinstance(value, dict) else dict(value))
            inside = [
                piece
                for name, member in members.items()
                for piece in (b",", to_json(name) + b":", member)
            ]
            left += [b"}", *reversed(inside[1:]), b"{"]
        elif isinstance(value, list):
            items = cast("list[object]", value)
            inside = [piece for item in items for piece in (b",", item)]
            left += [b"]", *reversed(inside[1:]), b"["]
        else:
            yield to_json(value)
