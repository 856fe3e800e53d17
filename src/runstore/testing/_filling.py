"""Made-up rows for every table of a schema, so that plans are judged on tables with rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import Connection, sql

from runstore import _sql
from runstore._models import Row
from runstore._query import Statement, query
from runstore._statements import many

from ._catalogue import Catalogue
from ._order import in_order

_SQL: Final = _sql.parse(Path(__file__).with_name("filling.sql"))

# How often a table's candidates are made again while too few of them satisfy its constraints.
_ROUNDS: Final = 10
_CANDIDATES: Final = 4
# How many rows share a value that is in no key.
_SHARED: Final = 20

_EXPRESSIONS: Final[Mapping[str, str]] = {
    "bigint": "(1 + floor(random() * 100))::bigint",
    "boolean": "random() < 0.5",
    "bytea": "decode(md5(random()::text), 'hex')",
    "date": "current_date - (random() * 30)::integer",
    "double precision": "random()",
    "integer": "(1 + floor(random() * 100))::integer",
    "interval": "random() * interval '1 day'",
    "numeric": "round((random() * 100)::numeric, 4)",
    "real": "random()::real",
    "smallint": "(1 + floor(random() * 100))::smallint",
    "timestamp with time zone": "now() - random() * interval '30 days'",
    "timestamp without time zone": "localtimestamp - random() * interval '30 days'",
    "uuid": "md5(random()::text)::uuid",
}


class FilledColumn(Row):
    """A column that a row may give."""

    table_oid: int
    table_name: str
    number: int
    name: str
    type: str
    kind: str
    optional: bool
    keyed: bool


class Condition(Row):
    """A CHECK of a table."""

    table_name: str
    expression: str


class Reference(Row):
    """A foreign key."""

    table_name: str
    columns: list[str]
    target_schema: str
    target_name: str
    target_columns: list[str]
    optional: bool


_IS_OPTIONAL: Final[Callable[[Reference], bool]] = attrgetter("optional")


@query
def list_columns(schema: str) -> Statement[list[FilledColumn]]:
    """Return the columns of a schema's tables that a row may give, in their order."""
    return many(FilledColumn, _SQL["list_columns"], {"schema": schema})


@query
def list_conditions(schema: str) -> Statement[list[Condition]]:
    """Return the CHECKs of a schema's tables."""
    return many(Condition, _SQL["list_conditions"], {"schema": schema})


@query
def list_references(schema: str) -> Statement[list[Reference]]:
    """Return the foreign keys of a schema's tables, those of most columns first."""
    return many(Reference, _SQL["list_references"], {"schema": schema})


RUNSTORE_VALUES: Final[Mapping[str, str]] = {
    "runs.id": "runstore.run_of(md5(random()::text)::uuid)",
    "run_id uuid": "runstore.run_of(md5(random()::text)::uuid)",
    # runstore.new_child_id(run_id), but for its chance, which no seed repeats.
    "id uuid, run_id uuid": (
        "encode(substring(uuid_send(run_id) FOR 10)"
        " || substring(decode(md5(random()::text), 'hex') FOR 6), 'hex')::uuid"
    ),
}
"""What `fill` needs for the schema `runstore`, whose ids carry their run."""


def fill(
    conn: Connection[Any],
    schema: str,
    *,
    rows: int = 300,
    values: Mapping[str, str] | None = None,
) -> None:
    """Put made-up rows into every table of a schema, and analyze them.

    A table that refers to no other gets `rows` rows, one that refers to it twice as many, and so
    on. Rows satisfy every constraint: candidates are made at random, always the same ones, and
    those that the CHECKs and keys refuse are dropped. Texts take the values that a CHECK lists.
    A foreign key to a table of another schema points at the rows that are there. Where tables
    refer to each other in a cycle, a reference of it that may be NULL is NULL in all rows.

    `values` has SQL expressions for columns whose constraints chance does not meet, by
    `table.column`, or by `column type` for the columns of this name and type in every table,
    unless a foreign key says what they hold; `id uuid, run_id uuid` is `id` in the tables that
    have both. An expression may name other columns of its row, and those given before it.
    Raises `ValueError` for a schema that does not exist, for a table that is empty and of which no
    candidate was accepted, and for tables that refer to each other without a NULL.
    """
    values = values or {}
    with conn.transaction():
        if conn.execute("SELECT FROM pg_namespace WHERE nspname = %s", [schema]).rowcount == 0:
            raise ValueError(f"there is no schema {schema}")
        conn.execute("SELECT setseed(0.5)")
        catalogue = Catalogue(conn)
        columns: dict[str, list[FilledColumn]] = {}
        for column in list_columns(conn, schema):
            columns.setdefault(column.table_name, []).append(column)
        references = list_references(conn, schema)
        conditions = list_conditions(conn, schema)
        depths: dict[str, int] = {}
        cuts = (partial(_is_given, values), _IS_OPTIONAL)
        order, left_out = in_order(schema, columns, references, cuts)
        for name in order:
            table = _Table(
                schema,
                name,
                columns[name],
                [key for key in references if key.table_name == name and key not in left_out],
                [key for key in left_out if key.table_name == name],
                [check.expression for check in conditions if check.table_name == name],
            )
            above = [depths.get(key.target_name, 0) for key in table.keys]
            depths[name] = max(above, default=0) + 1
            _Filler(conn, catalogue, table, values).fill(rows * depths[name])


def _is_given(values: Mapping[str, str], key: Reference) -> bool:
    return any(f"{key.table_name}.{column}" in values for column in key.columns)


@dataclass(frozen=True, slots=True)
class _Table:
    """A table, and what its rows must satisfy."""

    schema: str
    name: str
    columns: list[FilledColumn]
    keys: list[Reference]
    left_out: list[Reference]
    conditions: list[str]

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """Its name in SQL."""
        return sql.Identifier(self.schema, self.name)


class _Filler:
    """Fills one table."""

    def __init__(
        self,
        conn: Connection[Any],
        catalogue: Catalogue,
        table: _Table,
        values: Mapping[str, str],
    ) -> None:
        self._conn = conn
        self._catalogue = catalogue
        self._table = table
        self._columns = {column.name: column for column in table.columns}
        self._given: dict[str, str] = {}
        typed = {f"{column.name} {column.type}": column.name for column in table.columns}
        referring = {column for key in table.keys for column in key.columns}
        for place, expression in values.items():
            first, *others = place.split(", ")
            name = typed.get(first)
            if name and name not in referring and all(other in typed for other in others):
                self._given.setdefault(name, expression)
            elif first.startswith(f"{table.name}."):
                self._given[first.removeprefix(f"{table.name}.")] = expression

    def fill(self, rows: int) -> None:
        """Put so many rows into the table, or as many as its keys allow."""
        statement = self._statement(rows)
        made = 0
        for number in range(_ROUNDS):
            parameters = {"first": number * rows * _CANDIDATES, "wanted": rows - made}
            parameters["last"] = parameters["first"] + rows * _CANDIDATES - 1
            try:
                accepted = self._conn.execute(statement, parameters).rowcount
            except psycopg.Error as error:
                reason = error.diag.message_primary
                raise ValueError(f"cannot fill {self._table}: {reason}") from error
            made += accepted
            if made >= rows or (made and not accepted):
                break
        if not made and self._is_empty():
            raise ValueError(
                f"cannot fill {self._table}: its constraints refused every candidate; "
                "pass `values` for the columns that need an expression of their own"
            )
        self._conn.execute(sql.SQL("ANALYZE {}").format(self._table.identifier))

    def _is_empty(self) -> bool:
        found = sql.SQL("SELECT FROM {} LIMIT 1").format(self._table.identifier)
        return self._conn.execute(found).rowcount == 0

    def _statement(self, rows: int) -> sql.Composed:
        """Compose an INSERT in layers: chance, each given expression, the conditions."""
        joins: list[sql.Composable] = []
        parts: dict[str, sql.Composable] = {}
        left_out = {name for key in self._table.left_out for name in key.columns}
        for column in self._table.columns:
            if column.name in left_out and column.optional and column.name not in self._given:
                parts[column.name] = _raw(f"NULL::{column.type}")
        # The columns that a row must have come from the keys that it must have.
        for number, key in enumerate(sorted(self._table.keys, key=_IS_OPTIONAL)):
            if not self._given.keys() >= set(key.columns):
                joins.append(self._join(f"key_{number}", key, parts))
        for column in self._columns.values():
            if column.name not in self._given and column.name not in parts:
                parts[column.name] = _raw(self._chance(column, rows))
        made: sql.Composable = sql.SQL(
            'SELECT {parts} FROM generate_series(%(first)s::bigint, %(last)s) AS made ("#") {joins}'
        ).format(parts=sql.SQL(", ").join(_aliased(parts)), joins=sql.SQL(" ").join(joins))
        for name, expression in self._given.items():
            # A NULL, or a literal, would be a text.
            known = self._columns.get(name)
            value = f"({expression})::{known.type}" if known else expression
            made = sql.SQL("SELECT made.*, {} AS {} FROM ({}) AS made").format(
                _raw(value), _named(name), made
            )
        return sql.SQL(
            "INSERT INTO {table} ({names}) SELECT {names} FROM ({made}) AS made"
            " WHERE {conditions} LIMIT %(wanted)s ON CONFLICT DO NOTHING"
        ).format(
            table=_named(self._table.schema, self._table.name),
            names=sql.SQL(", ").join(_named(name) for name in (*parts, *self._given)),
            made=made,
            conditions=sql.SQL(" AND ").join(
                [
                    sql.SQL("true"),
                    *(
                        sql.SQL("({}) IS NOT FALSE").format(_raw(text))
                        for text in self._table.conditions
                    ),
                    *(
                        sql.SQL("{} IS NOT NULL").format(_named(column.name))
                        for column in self._table.columns
                        if not column.optional
                    ),
                ]
            ),
        )

    def _join(self, alias: str, key: Reference, parts: dict[str, sql.Composable]) -> sql.Composable:
        """Join the rows that a foreign key may point at, and take its columns from there.

        Where a column has its value from another key already, one of the rows that agree with
        it; else all rows in turn.
        """
        columns = list(zip(key.columns, key.target_columns, strict=True))
        shared = [pair for pair in columns if pair[0] in parts]
        chosen = sql.SQL("SELECT * FROM {} AS target").format(
            _named(key.target_schema, key.target_name)
        )
        if shared:
            chosen += sql.SQL(" WHERE {} ORDER BY random() LIMIT 1").format(
                sql.SQL(" AND ").join(
                    sql.SQL("target.{} = {}").format(_named(target), parts[column])
                    for column, target in shared
                )
            )
            condition: sql.Composable = sql.SQL("true")
        else:
            chosen = sql.SQL(
                'SELECT *, row_number() OVER () - 1 AS "#", count(*) OVER () AS "##" FROM ({})'
                " AS target"
            ).format(chosen)
            condition = sql.SQL('{alias}."#" = made."#" %% {alias}."##"').format(
                alias=_named(alias)
            )
        if key.optional:
            condition = sql.SQL("random() < 0.5 AND {}").format(condition)
        for column, target in columns:
            if column not in self._given:
                parts.setdefault(column, _named(alias, target))
        return sql.SQL("{kind} JOIN {lateral} ({chosen}) AS {alias} ON {condition}").format(
            kind=sql.SQL("LEFT" if key.optional else "INNER"),
            lateral=sql.SQL("LATERAL" if shared else ""),
            chosen=chosen,
            alias=_named(alias),
            condition=condition,
        )

    def _chance(self, column: FilledColumn, rows: int) -> str:
        expression = self._chosen(column, rows)
        return f"CASE WHEN random() < 0.5 THEN {expression} END" if column.optional else expression

    def _chosen(self, column: FilledColumn, rows: int) -> str:
        """Return the expression for one value of a column."""
        [attribute] = self._catalogue.attributes([(column.table_oid, column.number)])
        if attribute is None:
            raise ValueError(f"{self._table} has no column {column.name}")
        base = column.type.partition("(")[0]
        if column.kind == "e":
            labels = f"enum_range(NULL::{column.type})"
            return f"({labels})[1 + floor(random() * cardinality({labels}))::integer]"
        if column.type.endswith("[]"):
            return f"'{{}}'::{column.type}"
        if base in ("json", "jsonb"):
            allowed = sorted(self._catalogue.allowed_json(attribute) & {"{}", "[]"}, reverse=True)
            return f"'{allowed[0] if allowed else 'null'}'::{column.type}"
        if base in ("text", "character varying"):
            return self._text(column, self._catalogue.allowed_texts(attribute), rows)
        if base not in _EXPRESSIONS:
            raise ValueError(
                f"cannot fill {self._table}: pass `values` for {column.name}, a {column.type}"
            )
        return _EXPRESSIONS[base]

    def _text(self, column: FilledColumn, allowed: frozenset[str] | None, rows: int) -> str:
        if allowed:
            listed = ", ".join(sql.quote(text) for text in sorted(allowed))
            return f"(ARRAY[{listed}])[1 + floor(random() * {len(allowed)})::integer]"
        if column.keyed:
            return "md5(random()::text)"
        return f"'value-' || floor(random() * {max(rows // _SHARED, 2)})::text"


def _named(*names: str) -> sql.Identifier:
    return sql.Identifier(*(name.replace("%", "%%") for name in names))


def _raw(text: str) -> sql.SQL:
    # Any, and so a LiteralString: it comes from the catalogue and from the tests themselves.
    literal: Any = text.replace("%", "%%")
    return sql.SQL(literal)


def _aliased(parts: Mapping[str, sql.Composable]) -> Iterator[sql.Composable]:
    for name, part in parts.items():
        yield sql.SQL("{} AS {}").format(part, _named(name))
