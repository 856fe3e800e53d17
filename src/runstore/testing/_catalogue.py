"""What PostgreSQL says about its types, tables and indexes, asked once for each of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import Connection, sql

from runstore import _sql
from runstore._models import Row
from runstore._query import Statement, query
from runstore._statements import many

_SQL: Final = _sql.parse(Path(__file__).with_name("catalogue.sql"))

_LITERAL: Final = re.compile(r"'((?:[^']|'')*)'")
# Texts of many forms: a CHECK that lets one of them pass does not list its values.
_STRANGERS: Final = ("", "~", "zz", "Zz", "4711", "a-b_c.d", "no CHECK lists this one " * 20)
_JSON: Final = ("{}", "[]", '""', "0", "true", "null")


class PgType(Row):
    """A type; `element` is the type of an array's elements."""

    oid: int
    name: str
    kind: str
    element: str | None


class Label(Row):
    """A value of an enum."""

    label: str


class Attribute(Row):
    """A column of a table. `not_null` says that every row that the table gives has a value."""

    table_oid: int
    number: int
    schema_name: str
    table_name: str
    name: str
    table_kind: str
    not_null: bool


class Check(Row):
    """The condition of a CHECK."""

    expression: str


class Index(Row):
    """An index; its first column is None where it is an expression."""

    schema_name: str
    name: str
    method: str
    partial: bool
    first_column: str | None


@query
def list_types(oids: list[int]) -> Statement[list[PgType]]:
    """Return types by their oids, in no order."""
    return many(PgType, _SQL["list_types"], {"oids": oids})


@query
def list_labels(oid: int) -> Statement[list[Label]]:
    """Return the labels of an enum, in its order."""
    return many(Label, _SQL["list_labels"], {"oid": oid})


@query
def list_attributes(table_oids: list[int]) -> Statement[list[Attribute]]:
    """Return the columns of tables, in no order."""
    return many(Attribute, _SQL["list_attributes"], {"table_oids": table_oids})


@query
def list_checks(table_oid: int, number: int) -> Statement[list[Check]]:
    """Return the CHECKs on one column alone."""
    return many(Check, _SQL["list_checks"], {"table_oid": table_oid, "number": number})


@query
def list_indexes() -> Statement[list[Index]]:
    """Return the indexes of every schema."""
    return many(Index, _SQL["list_indexes"], {})


class Catalogue:
    """The catalogue of one connection's database, whose schema must not change meanwhile."""

    def __init__(self, conn: Connection[Any]) -> None:
        self._conn = conn
        self._types: dict[int, PgType] = {}
        self._attributes: dict[tuple[int, int], Attribute] = {}
        self._texts: dict[tuple[int, int], frozenset[str] | None] = {}
        self._indexes = {(index.schema_name, index.name): index for index in list_indexes(conn)}

    def types(self, oids: Sequence[int]) -> list[PgType]:
        """Return the types of these oids, in their order."""
        missing = list(set(oids) - self._types.keys())
        if missing:
            self._types |= {row.oid: row for row in list_types(self._conn, missing)}
        return [self._types[oid] for oid in oids]

    def attributes(self, keys: Iterable[tuple[int, int]]) -> list[Attribute | None]:
        """Return the columns of (table, number), in their order; None for what is of no table."""
        keys = list(keys)
        missing = list({key[0] for key in keys if key[0] and key not in self._attributes})
        if missing:
            found = list_attributes(self._conn, missing)
            self._attributes |= {(row.table_oid, row.number): row for row in found}
        return [self._attributes.get(key) for key in keys]

    def labels(self, type: PgType) -> frozenset[str]:
        """Return the values of an enum."""
        return frozenset(row.label for row in list_labels(self._conn, type.oid))

    def index(self, schema: str, name: str) -> Index:
        """Return an index by its name."""
        return self._indexes[schema, name]

    def allowed_texts(self, attribute: Attribute) -> frozenset[str] | None:
        """Return the texts that a column's CHECKs allow, or None where they do not list them.

        The candidates are the literals in the CHECKs, and the database itself says which of
        them pass. Texts that no CHECK names must not pass: else they are no list.
        """
        key = attribute.table_oid, attribute.number
        if key not in self._texts:
            checks = self._checks(attribute)
            found = [_LITERAL.findall(check) for check in checks]
            literals = {literal.replace("''", "'") for check in found for literal in check}
            strangers = set(_STRANGERS) - literals
            passing = self._passing(attribute, "text", checks, {*literals, *strangers})
            self._texts[key] = passing if passing and not passing & strangers else None
        return self._texts[key]

    def allowed_json(self, attribute: Attribute) -> frozenset[str]:
        """Return those of the simplest JSON values of each kind that a column's CHECKs allow."""
        return self._passing(attribute, "jsonb", self._checks(attribute), _JSON)

    def held_to_json(self, attribute: Attribute, document: str) -> bool:
        """Say whether a CHECK allows of the simplest JSON values this one alone, `{}` or `[]`."""
        return any(
            self._passing(attribute, "jsonb", [check], _JSON) == frozenset({document})
            for check in self._checks(attribute)
        )

    def _checks(self, attribute: Attribute) -> list[str]:
        checks = list_checks(self._conn, attribute.table_oid, attribute.number)
        return [check.expression for check in checks]

    def _passing(
        self, attribute: Attribute, type: str, checks: list[str], candidates: Iterable[str]
    ) -> frozenset[str]:
        # Any, and so LiteralStrings: they are conditions that the database itself holds.
        conditions: list[Any] = ["true", *checks]
        # Without parameters, so that a per cent sign in a condition or a name is no placeholder.
        statement = sql.SQL("SELECT {all} FROM (SELECT {value}::{type} AS {name}) AS candidate")
        passing: set[str] = set()
        for candidate in candidates:
            query = statement.format(
                all=sql.SQL(" AND ").join(
                    sql.SQL("({})").format(sql.SQL(text)) for text in conditions
                ),
                value=sql.Literal(candidate),
                type=sql.Identifier(type),
                name=sql.Identifier(attribute.name),
            )
            # A condition may fail on a value of a kind that it was not written for.
            with suppress(psycopg.DataError), self._conn.transaction():
                if self._conn.execute(query).fetchone() == (True,):
                    passing.add(candidate)
        return frozenset(passing)
