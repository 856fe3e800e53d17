"""Print named queries ready to be pasted into psql, each in a transaction that is rolled back."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import psycopg
from psycopg import sql

from migrated_database import migrated_database
from runstore import _sql
from runstore._arrays import Array, elements_of
from runstore._json import Json
from runstore._sql import number_placeholders
from runstore.testing import NamedQuery, find_queries
from runstore.testing._calls import bound_statements
from runstore.testing._catalogue import Catalogue
from runstore.testing._describe import describe

# The samples are those of the proof, which are of the tests.
sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
from samples import runstore_samples


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("query", nargs="+", help="the name of a query, as in sql/")
    parser.add_argument("--dsn", help="a migrated database; else one is made for the moment")
    arguments = parser.parse_args()
    queries = {query.name: query for query in find_queries(_sql.directory("sql"), "runstore")}
    unknown = [name for name in arguments.query if name not in queries]
    if unknown:
        print(f"there is no query {', '.join(unknown)}", file=sys.stderr)
        return 1
    with (
        migrated_database(arguments.dsn) as dsn,
        psycopg.connect(dsn, autocommit=True) as conn,
    ):
        print("\n".join(explained(conn, queries[name]) for name in arguments.query))
    return 0


def explained(conn: psycopg.Connection[Any], query: NamedQuery) -> str:
    """Return what prepares a query and explains what it does with sample values."""
    if query.sql is None or query.define is None:
        raise SystemExit(f"{query}: {'; '.join(query.faults)}")
    numbered = number_placeholders(query.sql.text)
    types = describe(conn, Catalogue(conn), query.sql.text).parameters
    values = bound_statements(query.define, runstore_samples())[0].parameters
    declared = f" ({', '.join(types[name].name for name in numbered.names)})" if types else ""
    lines = [
        f"-- {query}. EXPLAIN ANALYZE executes it; nothing is kept.",
        "BEGIN;",
        f"PREPARE {query.name}{declared} AS",
        f"{numbered.text};",
        "",
        "EXPLAIN (ANALYZE, BUFFERS)",
        f"EXECUTE {query.name}{' (' if types else ';'}",
        *_arguments(conn, [(name, values[name]) for name in numbered.names]),
        *([");"] if types else []),
        "ROLLBACK;",
        f"DEALLOCATE {query.name};",
        "",
    ]
    return "\n".join(lines)


def _arguments(conn: psycopg.Connection[Any], values: list[tuple[str, Any]]) -> Iterator[str]:
    for number, (name, value) in enumerate(values, start=1):
        comma = "," if number < len(values) else ""
        yield f"    {_literal(conn, value)}{comma} -- {name}"


def _literal(conn: psycopg.Connection[Any], value: Any) -> str:
    if isinstance(value, Array):
        return _literal(conn, elements_of(value))
    if isinstance(value, list):
        value = [_plain(item) for item in cast("list[Any]", value)]
    return sql.Literal(_plain(value)).as_string(conn).strip()


def _plain(value: Any) -> Any:
    """Return what is easier to read and to replace by hand: PREPARE has named the types."""
    if isinstance(value, Json):
        return value.decode()
    return str(value) if isinstance(value, UUID) else value


if __name__ == "__main__":
    sys.exit(main())
