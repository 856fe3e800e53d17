"""Rows within a row: columns that a query makes with ROW(...).

PostgreSQL does not say what a record holds, and its fields have no names. So the SELECT that
makes it is taken out of the query's text, with the record's fields as its columns, and is
described by itself. The forms are `ROW(...)`, `(SELECT ROW(...) FROM ...)` and
`ARRAY(SELECT ROW(...) FROM ...)`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

from ._text import Select, inside, split_select

# A column, which keeps its name when it is cast.
_COLUMN: Final = re.compile(r"[\w.]+(::\w+)?")


def record_queries(text: str, index: int, names: Sequence[str]) -> tuple[str, ...]:
    """Return queries whose columns are the fields of the records in a column.

    The first one that can be prepared counts; none: the records are made in no known form.
    Within ROW(...) nothing has a name of its own, so that expressions get those of their places.
    """
    select = split_select(text)
    if select is None:
        return ()
    item = select.items[index]
    columns = inside(item, "ROW")
    if columns is not None:
        outer = f"{select.source}{select.after}"
        return (f"{select.before}SELECT {_named(columns, names)} {outer}",)
    subselect = split_select(inside(item, "ARRAY") or inside(item, "") or "")
    if subselect is None or len(subselect.items) != 1:
        return ()
    columns = inside(subselect.items[0], "ROW")
    return () if columns is None else _alone(select, subselect, _named(columns, names))


def record_may_be_null(text: str, index: int) -> str | None:
    """Say why a column of records may be NULL: a row or an array that is made never is."""
    select = split_select(text)
    if select is not None and inside(select.items[index], "") is not None:
        return "its subselect may find no row"
    return None


def _alone(select: Select, subselect: Select, columns: str) -> tuple[str, ...]:
    """Return the subselect by itself, and beside what it may refer to of the outer query."""
    inner = f"{subselect.before}SELECT {columns} {subselect.source}{subselect.after}"
    beside = f"SELECT record.* {select.source} CROSS JOIN LATERAL ({inner}) AS record"
    texts = (f"{select.before}{inner}", f"{select.before}{beside}")
    return texts if select.source else texts[:1]


def _named(columns: str, names: Sequence[str]) -> str:
    """Name the expressions among a record's columns."""
    select = split_select(f"SELECT {columns}")
    items = select.items if select else (columns,)
    return ", ".join(
        item if name is None or _COLUMN.fullmatch(item) else f'{item} AS "{name}"'
        for item, name in zip_longest(items, names[: len(items)])
    )
