"""What a plan reads: whole tables, or what an index finds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ._catalogue import Catalogue, Index

Plan = dict[str, Any]
"""A node of a plan as EXPLAIN gives it in JSON; its children are its `Plans`."""

Table = tuple[str, str]
"""The schema of a table and its name."""

_SYSTEM: Final = ("pg_catalog", "information_schema", "pg_toast")
_BY_INDEX: Final = ("Index Scan", "Index Only Scan")


@dataclass(frozen=True, slots=True)
class WholeRead:
    """A table that a plan reads from end to end, and how."""

    table: str
    reason: str


def walk(plan: Plan) -> Iterator[Plan]:
    """Yield a plan's nodes, each before its children."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from walk(child)


def table_of(node: Plan) -> Table | None:
    """Return the table that a node reads or changes, or None."""
    return (node["Schema"], node["Relation Name"]) if "Relation Name" in node else None


def whole_reads(plan: Plan, catalogue: Catalogue) -> Iterator[WholeRead]:
    """Yield the tables that a plan reads whole.

    A sequential scan does, and so does the scan of an index on nothing that the index starts
    with. A partial index may be read whole: its predicate has chosen its rows.
    """
    for node in walk(plan):
        schema, table = table_of(node) or ("", "")
        if not table or schema in _SYSTEM:
            continue
        if node["Node Type"] == "Seq Scan":
            yield WholeRead(table, f"reads all of {table}: no index serves it")
        for index, condition in _indexes(node):
            if not _narrows(catalogue.index(schema, index), condition):
                how = f"reads all of {table} through {index}, on nothing that it starts with"
                yield WholeRead(table, how)


def used_indexes(plan: Plan) -> frozenset[Table]:
    """Return the schema and the name of every index that a plan reads."""
    found: set[Table] = set()
    for node in walk(plan):
        schema, _ = table_of(node) or ("", "")
        found |= {(schema, index) for index, _ in _indexes(node)}
    return frozenset(found)


def _indexes(node: Plan) -> Iterator[tuple[str, str]]:
    """Yield the indexes that the scan of a table reads, each with its condition."""
    if node["Node Type"] in _BY_INDEX:
        yield node["Index Name"], node.get("Index Cond", "")
    if node["Node Type"] == "Bitmap Heap Scan":
        for below in walk(node):
            if below["Node Type"] == "Bitmap Index Scan":
                yield below["Index Name"], below.get("Index Cond", "")


def _narrows(index: Index, condition: str) -> bool:
    if index.partial or index.method != "btree" or index.first_column is None:
        return index.partial or bool(condition)
    return re.search(rf"\b{re.escape(index.first_column)}\b", condition) is not None
