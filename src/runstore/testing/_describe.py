"""What PostgreSQL says about a statement when it prepares it: nothing is executed."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, LiteralString

import psycopg
from psycopg import Connection, errors, sql
from psycopg.pq import ExecStatus

from runstore._cursors import BlockingCursor
from runstore._sql import Numbered, number_placeholders

from ._catalogue import Attribute, Catalogue, PgType
from ._plans import Plan

_NUMBERS: Final = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a result, and the column of a table that it shows, if it shows one."""

    name: str
    type: PgType
    attribute: Attribute | None


@dataclass(frozen=True, slots=True)
class Description:
    """A prepared statement: the types of its parameters, its columns and its generic plan."""

    parameters: Mapping[str, PgType]
    columns: tuple[Column, ...]
    plan: Plan


class Unpreparable(Exception):
    """The schema does not have what a statement asks for. Says why, in PostgreSQL's words."""


def describe(conn: Connection[Any], catalogue: Catalogue, text: str) -> Description:
    """Prepare a query and tell what it is. Raises `Unpreparable`.

    The types of its parameters are what the server infers without knowing any value.
    """
    numbered = number_placeholders(text)
    with conn.transaction(force_rollback=True), _prepared(conn, numbered) as name:
        result = conn.pgconn.describe_prepared(name.encode())
        types = catalogue.types([result.param_type(index) for index in range(result.nparams)])
        fields = range(result.nfields)
        column_types = catalogue.types([result.ftype(index) for index in fields])
        attributes = catalogue.attributes(
            (result.ftable(index), result.ftablecol(index)) for index in fields
        )
        names = [(result.fname(index) or b"").decode() for index in fields]
    return Description(
        parameters=dict(zip(numbered.names, types, strict=True)),
        columns=tuple(map(Column, names, column_types, attributes)),
        plan=plan_by_index(conn, text, None),
    )


@contextmanager
def _prepared(conn: Connection[Any], numbered: Numbered) -> Generator[str]:
    name = f"runstore_described_{next(_NUMBERS)}"
    result = conn.pgconn.prepare(name.encode(), numbered.text.encode())
    if result.status != ExecStatus.COMMAND_OK:
        raise Unpreparable(_reason(errors.error_from_result(result), numbered))
    try:
        yield name
    finally:
        # The result does not matter: after an error the session cannot do it.
        conn.pgconn.exec_(f"DEALLOCATE {name}".encode())


def _reason(error: psycopg.Error, numbered: Numbered) -> str:
    reason = error.diag.message_primary or str(error)
    for number, name in reversed(list(enumerate(numbered.names, start=1))):
        reason = reason.replace(f"${number}", f"%({name})s")
    return f"{reason} ({error.diag.message_hint})" if error.diag.message_hint else reason


def plan_by_index(conn: Connection[Any], text: str, parameters: Mapping[str, Any] | None) -> Plan:
    """Plan a query so that it enters each table through a condition on an index, if it can.

    Of the ways to read a table only that by a bitmap is left on: it needs a condition, while an
    index scan may read a whole index too, for its order, where that happens to be cheap.
    """
    with conn.transaction(force_rollback=True):
        for way in ("enable_seqscan", "enable_indexscan", "enable_indexonlyscan"):
            conn.execute("SELECT set_config(%s, 'off', true)", (way,))
        [[[document]]] = explain(conn, text, parameters, "VERBOSE, FORMAT JSON")
    plan: Plan = document["Plan"]
    return plan


def explain(
    conn: Connection[Any],
    text: str,
    parameters: Mapping[str, Any] | None,
    options: LiteralString,
) -> list[tuple[Any, ...]]:
    """Explain a query as it is sent with these values, or, without any, its plan for all values.

    The latter is asked for in a way that PostgreSQL 15 has too, and not with NULLs for values:
    a condition on a NULL would fold whole joins away.
    """
    if parameters is not None:
        explained: Any = f"EXPLAIN ({options}) {text}"
        cursor = BlockingCursor(conn)
        return cursor.execute(explained, parameters, prepare=False, binary=True).fetchall()
    numbered = number_placeholders(text)
    arguments = sql.SQL("({})").format(sql.SQL(", ").join([sql.NULL] * len(numbered.names)))
    with conn.transaction(force_rollback=True):
        conn.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        with _prepared(conn, numbered) as name:
            execute = sql.SQL("EXPLAIN ({}) EXECUTE {} {}").format(
                sql.SQL(options),
                sql.Identifier(name),
                arguments if numbered.names else sql.SQL(""),
            )
            return conn.execute(execute).fetchall()
