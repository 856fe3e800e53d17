"""What PostgreSQL says about a statement when it prepares it: nothing is executed."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import Connection, errors, sql
from psycopg.pq import ExecStatus

from .._cursors import BlockingCursor
from ._catalogue import Attribute, Catalogue, PgType
from ._text import Numbered, number_placeholders

Plan = dict[str, Any]

_NAME: Final = "runstore_described"


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
    with _prepared(conn, numbered):
        result = conn.pgconn.describe_prepared(_NAME.encode())
        types = catalogue.types([result.param_type(index) for index in range(result.nparams)])
        fields = range(result.nfields)
        column_types = catalogue.types([result.ftype(index) for index in fields])
        attributes = catalogue.attributes(
            (result.ftable(index), result.ftablecol(index)) for index in fields
        )
        names = [(result.fname(index) or b"").decode() for index in fields]
        plan = _explain_generic(conn, len(types))
    return Description(
        parameters=dict(zip(numbered.names, types, strict=True)),
        columns=tuple(map(Column, names, column_types, attributes)),
        plan=plan,
    )


@contextmanager
def _prepared(conn: Connection[Any], numbered: Numbered) -> Generator[None]:
    result = conn.pgconn.prepare(_NAME.encode(), numbered.text.encode())
    if result.status != ExecStatus.COMMAND_OK:
        raise Unpreparable(_reason(errors.error_from_result(result), numbered))
    try:
        yield
    finally:
        conn.execute(sql.SQL("DEALLOCATE {}").format(sql.Identifier(_NAME)))


def _reason(error: psycopg.Error, numbered: Numbered) -> str:
    reason = error.diag.message_primary or str(error)
    for number, name in reversed(list(enumerate(numbered.names, start=1))):
        reason = reason.replace(f"${number}", f"%({name})s")
    return f"{reason} ({error.diag.message_hint})" if error.diag.message_hint else reason


def _explain_generic(conn: Connection[Any], parameters: int) -> Plan:
    """Return the plan that serves every value of the parameters.

    Made so by PostgreSQL 15 as well, and of no value: a condition on a parameter that is NULL
    would fold whole joins away.
    """
    arguments = sql.SQL("({})").format(sql.SQL(", ").join([sql.NULL] * parameters))
    statement = sql.SQL("EXPLAIN (VERBOSE, FORMAT JSON) EXECUTE {} {}").format(
        sql.Identifier(_NAME), arguments if parameters else sql.SQL("")
    )
    with planned(conn, plan_cache_mode="force_generic_plan"):
        return _plan_of(conn.execute(statement).fetchone())


def explain_as_sent(conn: Connection[Any], text: str, parameters: Mapping[str, Any]) -> Plan:
    """Return the plan of a query with its values, sent in the way in which it would be."""
    explained: Any = f"EXPLAIN (VERBOSE, FORMAT JSON) {text}"
    with planned(conn):
        cursor = BlockingCursor(conn)
        cursor.execute(explained, parameters, prepare=False, binary=True)
        return _plan_of(cursor.fetchone())


@contextmanager
def planned(conn: Connection[Any], **settings: str) -> Generator[None]:
    """Plan without sequential scans where any other way exists, and with these settings."""
    with conn.transaction(force_rollback=True):
        for name, value in {"enable_seqscan": "off", **settings}.items():
            conn.execute("SELECT set_config(%s, %s, true)", (name, value))
        yield


def _plan_of(row: tuple[Any, ...] | None) -> Plan:
    if row is None:
        raise Unpreparable("it has no plan")
    plan: Plan = row[0][0]["Plan"]
    return plan
