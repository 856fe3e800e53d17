"""The optional set `tenants`: chosen by a deploy, applied by either backend, and taken back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg import Connection

from deploys import IDS, MIGRATIONS, applied, atomic_url, objects, stock_url, succeed, yoyo
from migration_rules import migration_files
from runstore import check_schema
from runstore.embedded import Server
from schema_dump import dump

Conn = Connection[Any]

TENANTS = MIGRATIONS / "tenants"
SET = [file.id for file in migration_files(TENANTS, MIGRATIONS)]


@pytest.fixture(params=[atomic_url, stock_url], ids=["atomic", "stock"])
def url(request: pytest.FixtureRequest, server: Server, dbname: str) -> str:
    make: Callable[[Server, str], str] = request.param
    return make(server, dbname)


def secured_tables(conn: Conn) -> set[str]:
    rows = conn.execute(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'runstore'::regnamespace"
        " AND relkind IN ('r', 'p') AND relrowsecurity"
        " AND EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid)"
    )
    return {row[0] for row in rows}


def tables(conn: Conn) -> set[str]:
    rows = conn.execute("SELECT tablename::text FROM pg_tables WHERE schemaname = 'runstore'")
    return {row[0] for row in rows}


def test_a_deploy_that_does_not_choose_it_has_none_of_it(url: str, conn: Conn) -> None:
    succeed("apply", url, MIGRATIONS)

    assert applied(conn) == IDS
    assert secured_tables(conn) == set()


def test_a_deploy_that_chooses_it_secures_every_table_and_can_take_that_back(
    server: Server, dbname: str, url: str, conn: Conn
) -> None:
    succeed("apply", url, MIGRATIONS)
    before, objects_before = dump(server, server.dsn(dbname)), objects(conn)

    succeed("apply", url, MIGRATIONS, TENANTS)
    assert applied(conn) == sorted(IDS + SET)
    # A migration that makes a table has to be followed by one of this set.
    assert secured_tables(conn) == tables(conn) != set()
    assert check_schema(conn).ok
    secured = dump(server, server.dsn(dbname))

    succeed("rollback", url, "--revision", SET[0], MIGRATIONS, TENANTS)
    assert applied(conn) == IDS
    assert dump(server, server.dsn(dbname)) == before
    assert objects(conn) == objects_before

    succeed("apply", url, MIGRATIONS, TENANTS)
    assert dump(server, server.dsn(dbname)) == secured


def test_the_owner_is_not_held_to_it(server: Server, dbname: str, conn: Conn) -> None:
    succeed("apply", atomic_url(server, dbname), MIGRATIONS, TENANTS)

    assert conn.execute("SELECT relname FROM pg_class WHERE relforcerowsecurity").fetchall() == []


def test_without_its_base_it_is_refused(url: str, conn: Conn) -> None:
    status, said = yoyo("apply", url, TENANTS)

    assert status != 0
    assert "Could not resolve dependencies" in said
    assert applied(conn) == []


def test_a_deploy_goes_on_without_naming_it(url: str, conn: Conn) -> None:
    succeed("apply", url, MIGRATIONS, TENANTS)

    succeed("apply", url, MIGRATIONS)

    assert secured_tables(conn) == tables(conn)
    assert check_schema(conn).ok


def test_of_a_set_that_is_there_in_part_the_rest_is_missing(
    monkeypatch: pytest.MonkeyPatch, server: Server, dbname: str, conn: Conn
) -> None:
    succeed("apply", atomic_url(server, dbname), MIGRATIONS, TENANTS)
    sets = (frozenset(IDS), frozenset([*SET, "runstore-tenants-9999-secure-later"]))
    monkeypatch.setattr("runstore.schema._migrations", lambda: sets)

    found = check_schema(conn)

    assert (found.missing, found.unknown) == (["runstore-tenants-9999-secure-later"], [])
