"""Which columns of a result can hold no NULL: only what the schema and the plan prove.

A column is never NULL when it shows a NOT NULL column of a plain table that the plan really
reads, never on the side of an outer join that may be missing. Everything else may be NULL: an
expression, an aggregate, a column of a view, of a UNION, of a grouping set. The plan says what
joins have become, because the text does not: PostgreSQL turns them around, removes them, and
makes an anti join of `LEFT JOIN ... WHERE b.id IS NULL`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ._catalogue import Attribute
from ._describe import Description
from ._plans import Plan, Table, table_of, walk
from ._text import words

# By the type of a join, the children whose rows it may replace by NULLs.
_NULLED: Final = {
    "Inner": (),
    "Semi": (),
    "Right Semi": (),
    "Left": ("Inner",),
    "Anti": ("Inner",),
    "Right": ("Outer",),
    "Right Anti": ("Outer",),
    "Full": ("Outer", "Inner"),
}

# Children that are computed apart, and read where a node names them.
_APART: Final = ("InitPlan", "SubPlan")


@dataclass(frozen=True, slots=True)
class Nullability:
    """Why a column may be NULL, or None when it cannot be.

    `joined` says that nothing but an outer join makes it so.
    """

    reason: str | None
    joined: bool = False


def nullabilities(description: Description, text: str) -> list[Nullability]:
    """Say of each column of a result whether it may be NULL, and why."""
    joins = _read_plan(description.plan)
    # PostgreSQL 18 gives the row before and after a change, one of which may be missing.
    changes = bool(words(text) & {"old", "new"})
    found: list[Nullability] = []
    for column in description.columns:
        attribute = column.attribute
        if attribute is None:
            found.append(Nullability("it is an expression"))
            continue
        shown = f"{attribute.table_name}.{attribute.name}"
        if not attribute.not_null:
            found.append(Nullability(f"{shown} is not held NOT NULL"))
        elif changes:
            found.append(Nullability("the query speaks of old or new rows"))
        else:
            found.append(_of_plan(attribute, shown, joins))
    return found


def _of_plan(attribute: Attribute, shown: str, joins: _Joins) -> Nullability:
    table = attribute.schema_name, attribute.table_name
    if table == joins.inserted:
        return Nullability(None)
    if joins.grouping_sets:
        return Nullability("the query has grouping sets")
    # The plan names a partitioned table's partitions, and of what it left out it names nothing.
    unnamed = joins.unnamed or (attribute.table_kind == "p" and joins.outer)
    if table in joins.nulled or unnamed:
        return Nullability(f"{shown} is on the nullable side of an outer join", joined=True)
    if attribute.table_kind == "r" and table not in joins.read:
        return Nullability(f"the plan does not read {attribute.table_name}")
    return Nullability(None)


@dataclass(slots=True)
class _Joins:
    """What a plan says about its tables.

    `inserted` is the table of an INSERT that is the whole statement: its RETURNING shows only
    that table's rows, whatever it selected from.
    """

    read: set[Table]
    nulled: set[Table]
    inserted: Table | None
    outer: bool = False
    unnamed: bool = False
    grouping_sets: bool = False


def _read_plan(plan: Plan) -> _Joins:
    inserts = plan.get("Node Type") == "ModifyTable" and plan.get("Operation") == "Insert"
    joins = _Joins(read=set(), nulled=set(), inserted=table_of(plan) if inserts else None)
    nodes = list(walk(plan))
    named = {node["Subplan Name"]: node for node in nodes if "Subplan Name" in node}
    for node in nodes:
        table = table_of(node)
        if table:
            joins.read.add(table)
        joins.grouping_sets |= "Grouping Sets" in node
        nulled = _NULLED.get(node.get("Join Type", "Inner"), ("Outer", "Inner"))
        for child in node.get("Plans", ()):
            if child.get("Parent Relationship") in nulled:
                joins.outer = True
                _mark(child, joins, named, set())
    return joins


def _mark(node: Plan, joins: _Joins, named: dict[str, Plan], seen: set[str]) -> None:
    """Mark the tables under a node that an outer join may replace by NULLs."""
    table = table_of(node)
    if table:
        joins.nulled.add(table)
    name = f"CTE {node.get('CTE Name')}"
    if name in named and name not in seen:
        _mark(named[name], joins, named, seen | {name})
    children = [
        child for child in node.get("Plans", ()) if child.get("Parent Relationship") not in _APART
    ]
    # Where a condition is never true the table is not read, and the plan does not name it.
    joins.unnamed |= node["Node Type"] == "Result" and not children
    for child in children:
        _mark(child, joins, named, seen)
