"""The catalogue of our schema: what docs/schema.md says of each table."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from runstore.queries import Row, Statement, many, parse, query

_SQL: Final = parse(Path(__file__).with_suffix(".sql"))


class Table(Row):
    """A table and its comment."""

    name: str
    comment: str


class Column(Row):
    """A column of a table."""

    table_name: str
    name: str
    type: str
    required: bool
    default_value: str | None
    comment: str


class Constraint(Row):
    """A key or a CHECK of a table; `target_name` is the table that a foreign key points at."""

    table_name: str
    name: str
    kind: str
    columns: list[str]
    target_name: str | None
    definition: str


class Index(Row):
    """An index of a table."""

    table_name: str
    name: str
    is_unique: bool
    columns: list[str]
    predicate: str | None
    definition: str


class Function(Row):
    """A function."""

    name: str
    arguments: str
    result: str
    comment: str


@query
def list_tables() -> Statement[list[Table]]:
    """Return the tables."""
    return many(Table, _SQL["list_tables"], {})


@query
def list_columns() -> Statement[list[Column]]:
    """Return the columns of all tables, in their order."""
    return many(Column, _SQL["list_columns"], {})


@query
def list_constraints() -> Statement[list[Constraint]]:
    """Return the keys and the CHECKs of all tables."""
    return many(Constraint, _SQL["list_constraints"], {})


@query
def list_indexes() -> Statement[list[Index]]:
    """Return the indexes of all tables."""
    return many(Index, _SQL["list_indexes"], {})


@query
def list_functions() -> Statement[list[Function]]:
    """Return the functions."""
    return many(Function, _SQL["list_functions"], {})
