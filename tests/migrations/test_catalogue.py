"""Everything in the schema keeps the rules, and what breaks one is found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import Connection

from catalogue_rules import (
    RULES,
    Rule,
    checks_by_functions_of_the_server,
    has_an_index_for_each_foreign_key,
    has_types_that_last,
    is_known_to_the_library,
    lies_in_the_schema,
    names_constraints_for_their_columns,
    names_indexes_for_their_columns,
    says_what_a_delete_does,
    says_what_it_is,
    says_what_its_columns_mean,
)

KEY: LiteralString = "CONSTRAINT a_run_id_fkey FOREIGN KEY (run_id) REFERENCES runstore.runs (id)"
TABLE: LiteralString = f"CREATE TABLE runstore.a (run_id uuid, b int, {KEY})"


@pytest.fixture
def conn(shared_owner_dsn: str) -> Iterator[Connection[Any]]:
    """A connection to the migrated database, in a transaction that is rolled back."""
    with (
        psycopg.connect(shared_owner_dsn, autocommit=True) as conn,
        conn.transaction(force_rollback=True),
    ):
        yield conn


@pytest.mark.parametrize("rule", RULES)
def test_the_schema_keeps_the_rule(conn: Connection[Any], rule: Rule) -> None:
    assert rule(conn) == set()


@pytest.mark.parametrize(
    ("rule", "sql", "broken"),
    [
        (lies_in_the_schema, "CREATE TABLE a ()", "a"),
        (lies_in_the_schema, "CREATE SCHEMA a", "a"),
        (lies_in_the_schema, "CREATE FUNCTION a() RETURNS int RETURN 1", "a"),
        (says_what_it_is, "CREATE TABLE runstore.a ()", "a"),
        (says_what_it_is, "CREATE FUNCTION runstore.a() RETURNS int RETURN 1", "a"),
        (says_what_it_is, "COMMENT ON SCHEMA runstore IS NULL", "runstore"),
        (says_what_its_columns_mean, "CREATE TABLE runstore.a (slug text)", "a.slug"),
        (
            says_what_its_columns_mean,
            "ALTER TABLE runstore.report_versions ADD COLUMN slug text",
            "report_versions.slug",
        ),
        (has_types_that_last, "CREATE TABLE runstore.a (b timestamp)", "a.b"),
        (has_types_that_last, "CREATE TABLE runstore.a (b timestamp(3)[])", "a.b"),
        (has_types_that_last, "CREATE TABLE runstore.a (b time)", "a.b"),
        (has_types_that_last, "CREATE TABLE runstore.a (b varchar(9))", "a.b"),
        (has_types_that_last, "CREATE TABLE runstore.a (b json)", "a.b"),
        (has_types_that_last, "CREATE TABLE runstore.a (b integer)", "a.b"),
        (has_types_that_last, "CREATE TABLE runstore.a (b bigserial)", "a.b"),
        (
            has_types_that_last,
            "CREATE TABLE runstore.a (b bigint GENERATED ALWAYS AS IDENTITY)",
            "a.b",
        ),
        (
            has_types_that_last,
            "CREATE TYPE runstore.c AS ENUM ('x'); CREATE TABLE runstore.a (b runstore.c)",
            "a.b",
        ),
        (says_what_a_delete_does, TABLE, "a_run_id_fkey"),
        (has_an_index_for_each_foreign_key, TABLE, "a_run_id_fkey"),
        (
            has_an_index_for_each_foreign_key,
            f"{TABLE}; CREATE INDEX ON runstore.a (b, run_id)",
            "a_run_id_fkey",
        ),
        (
            has_an_index_for_each_foreign_key,
            f"{TABLE}; CREATE INDEX ON runstore.a (run_id) WHERE b > 0",
            "a_run_id_fkey",
        ),
        (is_known_to_the_library, TABLE, "a_run_id_fkey"),
        (
            is_known_to_the_library,
            "ALTER TABLE runstore.run_heads DROP CONSTRAINT run_heads_run_id_fkey",
            "run_heads_run_id_fkey",
        ),
        (
            checks_by_functions_of_the_server,
            "ALTER TABLE runstore.runs ADD CONSTRAINT a CHECK (runstore.run_of(id) = id)",
            "a",
        ),
        (
            names_constraints_for_their_columns,
            "CREATE TABLE runstore.a (b int CONSTRAINT a_positive_check CHECK (b > 0))",
            "a_positive_check",
        ),
        (
            names_constraints_for_their_columns,
            "CREATE TABLE runstore.a (b int CONSTRAINT b_key UNIQUE)",
            "b_key",
        ),
        (
            names_constraints_for_their_columns,
            "CREATE TABLE runstore.a (b int CONSTRAINT a_b_key PRIMARY KEY)",
            "a_b_key",
        ),
        (
            names_indexes_for_their_columns,
            "CREATE TABLE runstore.a (b int); CREATE INDEX a_b_key ON runstore.a (b)",
            "a_b_key",
        ),
        (
            names_indexes_for_their_columns,
            "CREATE TABLE runstore.a (b int); CREATE UNIQUE INDEX a_b_idx ON runstore.a (b)",
            "a_b_idx",
        ),
        (
            names_indexes_for_their_columns,
            "CREATE TABLE runstore.a (b int); CREATE INDEX a_b_new_idx ON runstore.a (b)",
            "a_b_new_idx",
        ),
    ],
)
def test_what_breaks_a_rule_is_found(
    conn: Connection[Any], rule: Rule, sql: LiteralString, broken: str
) -> None:
    conn.execute(sql)

    assert broken in rule(conn)


def test_a_partial_index_may_serve_a_foreign_key(conn: Connection[Any]) -> None:
    conn.execute(TABLE)
    conn.execute("CREATE INDEX ON runstore.a (run_id) WHERE run_id IS NOT NULL")

    assert has_an_index_for_each_foreign_key(conn) == set()


def test_the_index_of_a_primary_key_may_serve_a_foreign_key(conn: Connection[Any]) -> None:
    conn.execute(f"CREATE TABLE runstore.a (b int, run_id uuid, PRIMARY KEY (run_id, b), {KEY})")

    assert has_an_index_for_each_foreign_key(conn) == set()
