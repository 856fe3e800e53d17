"""docs/schema.md: the tables of a migrated database, for whoever looks after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from psycopg import Connection

from described_queries import DescribedQuery
from schema_catalogue import (
    Column,
    Constraint,
    Index,
    Table,
    list_columns,
    list_constraints,
    list_functions,
    list_indexes,
    list_tables,
)

_INTRODUCTION = """\
# Schema

Every table of the schema `runstore` as the migrations leave it, with the comments that it carries
in the database. [schema.sql](schema.sql) is the same as SQL, [queries.md](queries.md) lists the
queries.

Written by `scripts/document-schema` from the catalogue of a migrated database.

## Diagram

Keys only; a line is a foreign key. What is deleted with what stands in its definition below.
"""


def schema_page(conn: Connection[Any], queries: list[DescribedQuery]) -> str:
    """Write the page."""
    tables, columns = list_tables(conn), list_columns(conn)
    constraints, indexes = list_constraints(conn), list_indexes(conn)
    lines = [_INTRODUCTION, "```mermaid", *_diagram(tables, columns, constraints), "```", ""]
    lines += ["## Functions", "", "| function | answers | meaning |", "| --- | --- | --- |"]
    for function in list_functions(conn):
        name = f"`{function.name}({_short(function.arguments)})`"
        lines.append(_row(name, f"`{_short(function.result)}`", function.comment))
    for table in tables:
        lines += ["", f"## {table.name}", "", table.comment, ""]
        lines += _columns([column for column in columns if column.table_name == table.name])
        lines += _constraints([one for one in constraints if one.table_name == table.name])
        lines += _indexes(
            [index for index in indexes if index.table_name == table.name],
            [one for one in constraints if one.table_name == table.name],
            queries,
        )
    return "\n".join(lines) + "\n"


def _diagram(
    tables: list[Table], columns: list[Column], constraints: list[Constraint]
) -> Iterator[str]:
    yield "erDiagram"
    for table in tables:
        keys = [one for one in constraints if one.table_name == table.name]
        primary = {name for one in keys if one.kind == "p" for name in one.columns}
        foreign = {name for one in keys if one.kind == "f" for name in one.columns}
        yield f"    {table.name} {{"
        for column in columns:
            if column.table_name == table.name and column.name in primary | foreign:
                marks = ["PK"] * (column.name in primary) + ["FK"] * (column.name in foreign)
                yield f"        {_short(column.type)} {column.name} {', '.join(marks)}"
        yield "    }"
    required = {(one.table_name, one.name) for one in columns if one.required}
    unique = {(one.table_name, *one.columns) for one in constraints if one.kind in "pu"}
    for one in constraints:
        if one.kind == "f":
            always = all((one.table_name, name) in required for name in one.columns)
            parents = "||" if always else "|o"
            children = "o|" if (one.table_name, *one.columns) in unique else "o{"
            label = ", ".join(one.columns)
            yield f'    {one.target_name} {parents}--{children} {one.table_name} : "{label}"'


def _columns(columns: list[Column]) -> Iterator[str]:
    yield "| column | type | NULL | default | meaning |"
    yield "| --- | --- | --- | --- | --- |"
    for column in columns:
        default = f"`{_short(column.default_value)}`" if column.default_value else ""
        null = "" if column.required else "yes"
        yield _row(f"`{column.name}`", _short(column.type), null, default, column.comment)


def _constraints(constraints: list[Constraint]) -> Iterator[str]:
    yield ""
    yield "| constraint | definition |"
    yield "| --- | --- |"
    for one in constraints:
        yield _row(f"`{one.name}`", f"`{_short(one.definition)}`")


def _indexes(
    indexes: list[Index], constraints: list[Constraint], queries: list[DescribedQuery]
) -> Iterator[str]:
    if not indexes:
        return
    yield ""
    yield "| index | on | used by |"
    yield "| --- | --- | --- |"
    for index in indexes:
        used = [
            f"[{query.sql.name}](queries.md#{query.sql.name})"
            for query in queries
            if index.name in query.indexes
        ]
        keys = [
            f"foreign key `{one.name}`"
            for one in constraints
            if one.kind == "f" and set(index.columns[: len(one.columns)]) == set(one.columns)
        ]
        unique = ["uniqueness"] if index.is_unique else []
        users = ", ".join(used + keys + unique) or "nothing of ours"
        yield _row(f"`{index.name}`", f"`{_target(index)}`", users)


def _target(index: Index) -> str:
    """Return what an index is on, without what its name and its table say."""
    return _short(index.definition.partition(" USING btree ")[2] or index.definition)


def _short(text: str) -> str:
    return (
        text.replace("timestamp with time zone", "timestamptz")
        .replace("runstore.", "")
        .replace("::text", "")
    )


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
