"""What `postgresql+atomic://` does with a deploy that nobody kills."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection, sql
from yoyo import get_backend, read_migrations

from deploys import (
    IDS,
    MIGRATIONS,
    NewDatabase,
    applied,
    atomic_url,
    libpq_variables,
    log,
    objects,
    stock_url,
    succeed,
    wait_until,
    write,
    yoyo,
)
from runstore._yoyo_backend import MigrationRefused
from runstore.embedded import Server

TABLE = "CREATE TABLE t (id integer);"
DEFERRED = """
    CREATE TABLE t (id integer, CONSTRAINT t_id_key UNIQUE (id) DEFERRABLE INITIALLY DEFERRED);
    INSERT INTO t VALUES (1);
    INSERT INTO t VALUES (1);
"""


@pytest.fixture
def url(server: Server, dbname: str) -> str:
    return atomic_url(server, dbname)


@pytest.fixture
def reader(conn: Connection[Any]) -> Iterator[str]:
    """The name of a role that may connect, and no more."""
    name = f"{conn.info.dbname}_reader"
    role = sql.Identifier(name)
    conn.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
    yield name
    conn.execute(sql.SQL("DROP OWNED BY {}").format(role))
    conn.execute(sql.SQL("DROP ROLE {}").format(role))


def statuses(said: str) -> list[str]:
    """Read the first column of what `yoyo list` prints."""
    return [line[0] for line in said.splitlines() if "runstore-" in line]


def test_yoyo_and_atomic_take_turns_on_one_database(
    server: Server, dbname: str, conn: Connection[Any], url: str
) -> None:
    stock = stock_url(server, dbname)
    middle = IDS[len(IDS) // 2]

    succeed("apply", stock, "--revision", middle, MIGRATIONS)
    succeed("apply", url, MIGRATIONS)
    assert statuses(succeed("list", stock, MIGRATIONS)) == ["A"] * len(IDS)
    whole = objects(conn)

    succeed("rollback", url, "--revision", middle, MIGRATIONS)
    succeed("apply", stock, MIGRATIONS)
    assert statuses(succeed("list", url, MIGRATIONS)) == ["A"] * len(IDS)
    assert objects(conn) == whole

    succeed("rollback", stock, "--all", MIGRATIONS)
    assert statuses(succeed("list", url, MIGRATIONS)) == ["U"] * len(IDS)
    assert objects(conn) == set()


def test_what_was_applied_is_not_applied_again(
    url: str, conn: Connection[Any], tmp_path: Path
) -> None:
    write(tmp_path, "x-0001", TABLE)
    succeed("apply", url, tmp_path)
    succeed("apply", url, tmp_path)

    assert log(conn) == [("apply", "x-0001")]


def test_no_statement_of_a_deploy_fails(
    server: Server, dbname: str, url: str, new_database: NewDatabase
) -> None:
    other = new_database()
    succeed("apply", url, MIGRATIONS)
    succeed("apply", stock_url(server, other), MIGRATIONS)

    with psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as conn:

        def failed(name: str) -> int:
            # A session's counts are complete when it is gone.
            wait_until(
                lambda: (
                    conn.execute(
                        "SELECT FROM pg_stat_activity WHERE datname = %s", [name]
                    ).fetchone()
                    is None
                )
            )
            row = conn.execute(
                "SELECT xact_rollback FROM pg_stat_database WHERE datname = %s", [name]
            ).fetchone()
            assert row
            return int(row[0])

        assert failed(dbname) == 0
        # So it can be told: yoyo's own backend finds out by trying.
        assert failed(other) > 0


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        (f"{TABLE} SELECT 1 / 0;", "division by zero"),
        (DEFERRED, "duplicate key value"),
    ],
    ids=["within", "at the commit"],
)
def test_a_migration_that_fails_leaves_nothing_and_is_not_recorded(
    url: str, conn: Connection[Any], tmp_path: Path, sql: str, reason: str
) -> None:
    write(tmp_path, "x-0001", "CREATE TABLE before (id integer);")
    write(tmp_path, "x-0002", f"-- depends: x-0001\n{sql}")

    status, said = yoyo("apply", url, tmp_path)

    assert status == 1
    assert reason in said
    assert applied(conn) == ["x-0001"]
    assert conn.execute("SELECT to_regclass('t')").fetchone() == (None,)

    write(tmp_path, "x-0002", f"-- depends: x-0001\n{TABLE}")
    succeed("apply", url, tmp_path)


def test_what_a_migration_sets_ends_with_it(
    url: str, conn: Connection[Any], reader: str, tmp_path: Path
) -> None:
    settings = f"SET search_path = pg_catalog; SET lock_timeout = 7; SET ROLE {reader};"
    write(tmp_path, "x-0001", settings)
    write(tmp_path, "x-0002", f"-- transactional: false\n-- depends: x-0001\n{settings}")
    write(tmp_path, "x-0003", f"-- depends: x-0002\n{TABLE} SHOW lock_timeout;")

    said = succeed("apply", url, tmp_path)

    assert applied(conn) == ["x-0001", "x-0002", "x-0003"]
    assert conn.execute("SELECT to_regclass('public.t')::text").fetchone() == ("t",)
    assert " lock_timeout \n--------------\n 0 " in said


def test_the_schema_of_the_url_holds_bookkeeping_and_unqualified_names(
    url: str, conn: Connection[Any], tmp_path: Path
) -> None:
    conn.execute("CREATE SCHEMA app")
    write(tmp_path, "x-0001", "-- transactional: false\nSET search_path = public;")
    write(tmp_path, "x-0002", f"-- depends: x-0001\n{TABLE}")

    succeed("apply", f"{url}&schema=app", tmp_path)

    names = conn.execute("SELECT relname FROM pg_class WHERE relnamespace = 'app'::regnamespace")
    assert {"t", "_yoyo_migration", "_yoyo_log"} <= {name for (name,) in names}


@pytest.mark.parametrize("path", ["missing", "missing,pg_temp", "pg_temp,public"])
@pytest.mark.parametrize("may_make_temporary", [True, False])
def test_a_session_without_a_schema_that_lasts_is_refused(
    server: Server, conn: Connection[Any], reader: str, path: str, may_make_temporary: bool
) -> None:
    if not may_make_temporary:
        conn.execute(
            sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(
                sql.Identifier(conn.info.dbname)
            )
        )
    as_reader = replace(server, user=reader, options=f"{server.options} -csearch_path={path}")

    for command in ("apply", "list"):
        status, said = yoyo(command, atomic_url(as_reader, conn.info.dbname), MIGRATIONS)

        assert status == 2, said
        assert "there is no schema for yoyo's tables" in said
        assert f"none exists that {reader} may use" in said
    assert objects(conn) == set()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_of_another_encoding_is_refused(
    server: Server, conn: Connection[Any], encoding: str
) -> None:
    name = f"{conn.info.dbname}_{encoding.lower()}"
    create = "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'"
    conn.execute(sql.SQL(create).format(sql.Identifier(name), encoding))
    try:
        status, said = yoyo("apply", atomic_url(server, name), MIGRATIONS)

        with psycopg.connect(server.dsn(name)) as other:
            assert objects(other) == set()
    finally:
        conn.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))

    assert status == 2
    assert f"the database's encoding is {encoding}, and has to be UTF8" in said


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_the_encoding_of_the_client_does_not_matter(
    url: str, conn: Connection[Any], tmp_path: Path, encoding: str
) -> None:
    write(tmp_path, "x-0001", f"{TABLE} COMMENT ON TABLE t IS '\u00e9';")
    succeed("apply", f"{url}&client_encoding={encoding}", tmp_path)

    assert applied(conn) == ["x-0001"]
    assert conn.execute("SELECT obj_description('t'::regclass)").fetchone() == ("\u00e9",)


def test_the_database_of_the_environment_is_migrated(
    server: Server, conn: Connection[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in libpq_variables(server, conn.info.dbname).items():
        monkeypatch.setenv(name, value)
    write(tmp_path, "x-0001", TABLE)

    with get_backend("postgresql+atomic:///") as backend:
        backend.apply_migrations(read_migrations(str(tmp_path)))

    assert applied(conn) == ["x-0001"]


def test_a_hook_runs_after_every_deploy_that_applied_something(
    url: str, conn: Connection[Any], tmp_path: Path
) -> None:
    write(tmp_path, "x-0001", TABLE)
    write(tmp_path, "post-apply", "INSERT INTO t VALUES (1);")
    succeed("apply", url, tmp_path)
    write(tmp_path, "x-0002", "CREATE TABLE u (id integer);")
    succeed("apply", url, tmp_path)

    assert conn.execute("SELECT count(*) FROM t").fetchone() == (2,)
    assert applied(conn) == ["x-0001", "x-0002"]


def test_a_migration_can_be_marked_and_unmarked_without_running(
    url: str, conn: Connection[Any]
) -> None:
    succeed("mark", url, MIGRATIONS)
    assert applied(conn) == IDS

    succeed("unmark", url, MIGRATIONS)
    assert applied(conn) == []
    assert objects(conn) == set()


@pytest.mark.parametrize(
    ("command", "source"),
    [
        ("apply", "empty"),
        ("apply", "missing"),
        ("apply", "package:runstore:missing"),
        ("list", "empty"),
        ("reapply", "empty"),
        ("rollback", "empty"),
    ],
)
def test_a_source_without_migrations_is_refused(
    url: str, conn: Connection[Any], tmp_path: Path, command: str, source: str
) -> None:
    (tmp_path / "empty").mkdir()

    status, said = yoyo(command, url, source if ":" in source else tmp_path / source)

    assert (status, "no migrations found" in said) == (2, True)
    assert applied(conn) == []


def test_reapplying_nothing_is_not_an_error(url: str, conn: Connection[Any]) -> None:
    succeed("reapply", url, MIGRATIONS)

    assert applied(conn) == []


@pytest.mark.parametrize("rollback", [None, "", "-- Nothing to undo.\n"])
def test_a_migration_without_a_way_back_is_not_rolled_back(
    url: str, conn: Connection[Any], tmp_path: Path, rollback: str | None
) -> None:
    write(tmp_path, "x-0001", TABLE, rollback)
    write(tmp_path, "x-0002", "-- depends: x-0001\nCREATE TABLE u (id integer);", "DROP TABLE u;")
    succeed("apply", url, tmp_path)

    status, said = yoyo("rollback", url, "--all", tmp_path)

    assert status == 2
    assert "x-0001 cannot be rolled back: x-0001.rollback.sql is missing or empty" in said
    # Not even the one that could be.
    assert applied(conn) == ["x-0001", "x-0002"]


def test_a_migration_that_cannot_be_read_is_refused(
    url: str, conn: Connection[Any], tmp_path: Path
) -> None:
    write(tmp_path, "x-0001", f"-- depends: missing\n{TABLE}", "DROP TABLE t;")

    status, said = yoyo("apply", url, tmp_path)
    assert status == 1
    assert "Could not resolve dependencies" in said

    # yoyo passes over it in silence when a program asks.
    migrations = read_migrations(str(tmp_path))
    with get_backend(url) as backend:
        with pytest.raises(MigrationRefused, match="x-0001 cannot be read"):
            backend.apply_migrations(migrations)
        with pytest.raises(MigrationRefused, match="x-0001 cannot be read"):
            backend.rollback_one(migrations[0])
    assert applied(conn) == []


def test_a_role_that_can_only_read_lists_migrations(
    server: Server, dbname: str, conn: Connection[Any], reader: str
) -> None:
    url = atomic_url(server, dbname).replace(f"//{server.user}@", f"//{reader}@", 1)
    succeed("apply", atomic_url(server, dbname), "--revision", IDS[0], MIGRATIONS)

    # It cannot read yet, and is not told that nothing was applied.
    status, said = yoyo("list", url, MIGRATIONS)
    assert status == 1
    assert "permission denied" in said

    conn.execute(
        sql.SQL("GRANT SELECT ON _yoyo_migration, _yoyo_version TO {}").format(
            sql.Identifier(reader)
        )
    )
    said = succeed("list", url, MIGRATIONS)
    assert statuses(said) == ["A"] + ["U"] * (len(IDS) - 1)


def test_listing_a_new_database_changes_nothing(url: str, conn: Connection[Any]) -> None:
    assert statuses(succeed("list", url, MIGRATIONS)) == ["U"] * len(IDS)

    names = conn.execute("SELECT relname FROM pg_class WHERE oid >= 16384").fetchall()
    assert names == []


def test_a_user_id_without_a_name_migrates(url: str, conn: Connection[Any], tmp_path: Path) -> None:
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    uid = next(uid for uid in range(54321, 65534) if uid not in taken)
    named = ("LOGNAME", "USER", "LNAME", "USERNAME")
    write(tmp_path, "x-0001", TABLE)
    # Not that user in truth: only root could become it, and it could not reach the server.
    program = f"import os; os.getuid = lambda: {uid}; from yoyo.scripts.main import main; main()"
    subprocess.run(
        [sys.executable, "-c", program, "apply", "--batch", "--database", url, tmp_path],
        env={name: value for name, value in os.environ.items() if name not in named},
        cwd=tmp_path,
        check=True,
    )

    assert applied(conn) == ["x-0001"]
    assert conn.execute("SELECT username FROM _yoyo_log").fetchall() == [(str(uid),)]
