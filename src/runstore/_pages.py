"""Lists that are read page by page, each page from the key of the last row before it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import orjson
from pydantic import TypeAdapter, ValidationError

from ._models import Page, Row
from ._query import Rows, Statement
from ._sql import Sql
from ._statements import maker
from .errors import InvalidPayload

RowT = TypeVar("RowT", bound=Row)

MAX_PAGE_SIZE: Final = 10_000


def page(
    model: type[RowT],
    sql: Sql,
    parameters: Mapping[str, Any],
    *,
    key: Mapping[str, str],
    cursor: str | None,
    page_size: int,
) -> Statement[Page[RowT]]:
    """Answer one page of a list.

    `key` maps the parameters that say where the page starts to the fields of the row before.
    One row more than the page holds is read, to know whether another page follows. Lists are
    planned for their filters each time: a plan made once serves none of them well.
    """
    if not 1 <= page_size <= MAX_PAGE_SIZE:
        raise InvalidPayload("page_size", f"must be from 1 to {MAX_PAGE_SIZE}")
    fields = tuple(key.values())
    start = (
        dict.fromkeys(key)
        if cursor is None
        else dict(zip(key, _decode(model, fields, cursor), strict=True))
    )
    make = maker(model)

    def read(rows: Rows) -> Page[RowT]:
        items = [make(row) for row in rows[:page_size]]
        more = len(rows) > page_size
        next_cursor = _encode([items[-1].__dict__[field] for field in fields]) if more else None
        return Page[Any].model_construct(items=items, next_cursor=next_cursor)

    return Statement(sql, {**parameters, **start, "row_limit": page_size + 1}, read, prepare=False)


def only(pages: Statement[Page[RowT]], wanted: Callable[[RowT], bool]) -> Statement[Page[RowT]]:
    """Answer of each page the rows that are wanted; one may be empty and not be the last."""

    def read(rows: Rows) -> Page[RowT]:
        found = pages.read(rows)
        return Page[Any].model_construct(
            items=[item for item in found.items if wanted(item)], next_cursor=found.next_cursor
        )

    return replace(pages, read=read)


def _encode(values: list[UUID | datetime | int | str]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")


def _decode(model: type[Row], fields: tuple[str, ...], cursor: str) -> list[Any]:
    try:
        values = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        types: list[Any] = [model.model_fields[field].annotation for field in fields]
        start = [
            TypeAdapter(type).validate_python(value)
            for type, value in zip(types, values, strict=True)
        ]
    except (binascii.Error, ValueError, TypeError, ValidationError):
        start = None
    if start is None or any(isinstance(key, int) and not 0 <= key < 1 << 63 for key in start):
        raise InvalidPayload("cursor", "is not one that this list gave")
    return start
