"""The plans with which statements of the library are run, whatever their parameters."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Final, cast

from psycopg import Connection, sql

from bare_libpq import PLACEHOLDER, as_text
from runstore.queries import Statement

NUMBERS: Final = itertools.count()


def whole_scans(conn: Connection[Any], statement: Statement[Any]) -> list[str]:
    """Return the tables that a statement reads from end to end, by either sort of plan.

    A statement that is prepared gets the plan for any parameters as well as the one for these.
    """
    modes = ["force_custom_plan"]
    if statement.prepare is not False:
        modes.append("force_generic_plan")
    found = {table for mode in modes for table in _scanned(_plan(conn, statement, mode))}
    return sorted(found)


def _plan(conn: Connection[Any], statement: Statement[Any], mode: str) -> dict[str, Any]:
    text = statement.sql.text
    names = list(dict.fromkeys(PLACEHOLDER.findall(text)))
    numbered = PLACEHOLDER.sub(lambda found: f"${names.index(found[1]) + 1}", text)
    name = sql.Identifier(f"plan_{next(NUMBERS)}")
    values = [as_text(statement.parameters[name]) for name in names]
    given = sql.SQL(", ").join(
        sql.Literal(None if value is None else value.decode()) for value in values
    )
    # The text is the library's own.
    prepared = sql.SQL("PREPARE {} AS {}").format(name, sql.SQL(cast(Any, numbered)))
    with conn.transaction(force_rollback=True):
        conn.execute(sql.SQL("SET LOCAL plan_cache_mode = {}").format(sql.Identifier(mode)))
        conn.execute(prepared)
        explained = sql.SQL("EXPLAIN (FORMAT JSON) EXECUTE {}({})").format(name, given)
        row = conn.execute(explained).fetchone()
        conn.execute(sql.SQL("DEALLOCATE {}").format(name))
    assert row
    return cast("dict[str, Any]", row[0][0]["Plan"])


def _scanned(node: dict[str, Any]) -> Iterator[str]:
    if node["Node Type"] == "Seq Scan":
        yield node["Relation Name"]
    for child in node.get("Plans", ()):
        yield from _scanned(child)
