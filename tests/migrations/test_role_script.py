"""`scripts/roles.sql` on databases of every sort: new, migrated by its roles or by others."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from deploys import IDS, MIGRATIONS, NewDatabase, applied, atomic_url, succeed, write
from factories import new_feature_run
from logins import ROLES, Logins, apply_roles
from runstore import check_schema, create_feature_run, embedded, list_runs
from runstore.embedded import Server

Conn = Connection[Any]

# Everything that roles.sql decides, in this database and of its roles.
DECIDED = """
    SELECT 'table', relname::text, relowner::regrole::text, relacl::text FROM pg_class
    WHERE relnamespace IN (to_regnamespace('runstore'), to_regnamespace('public'))
        AND relkind IN ('r', 'p')
    UNION ALL
    SELECT 'column', attrelid::regclass || '.' || attname, '', attacl::text FROM pg_attribute
    WHERE attacl IS NOT NULL
    UNION ALL
    SELECT 'function', oid::regprocedure::text, proowner::regrole::text, proacl::text
    FROM pg_proc WHERE pronamespace = to_regnamespace('runstore')
    UNION ALL
    SELECT 'schema', nspname::text, nspowner::regrole::text, nspacl::text FROM pg_namespace
    WHERE nspname IN ('runstore', 'public')
    UNION ALL
    SELECT 'default', defaclobjtype::text, defaclrole::regrole::text, defaclacl::text
    FROM pg_default_acl
    UNION ALL
    SELECT 'database', '', '', datacl::text FROM pg_database WHERE datname = current_database()
    UNION ALL
    SELECT 'role', rolname::text, rolconfig::text,
        array(SELECT roleid::regrole::text FROM pg_auth_members WHERE member = pg_roles.oid)::text
    FROM pg_roles WHERE rolname ~ '^runstore_(owner|migrator|writer|janitor|reader)$'
    ORDER BY 1, 2
"""


def decided(conn: Conn) -> list[tuple[str, ...]]:
    # The order within a list of privileges is that in which they were given.
    return [
        (*row[:3], *sorted((row[3] or "").strip("{}").split(","))) for row in conn.execute(DECIDED)
    ]


def deploy(logins: Logins, dbname: str) -> None:
    succeed("apply", logins.yoyo_url(dbname), MIGRATIONS)


def use(logins: Logins, dbname: str) -> None:
    """Write as the writer, and read as the reader."""
    with psycopg.connect(logins.dsn("writer", dbname), autocommit=True) as writer:
        run = create_feature_run(writer, new_feature_run())
    with psycopg.connect(logins.dsn("reader", dbname), autocommit=True) as reader:
        assert check_schema(reader).ok
        assert [row.id for row in list_runs(reader).items] == [run.id]


def test_a_new_database_can_be_read_at_once_and_written_to_after_the_second_run(
    server: Server, logins: Logins, dbname: str, conn: Conn
) -> None:
    apply_roles(server.dsn(dbname))
    deploy(logins, dbname)
    assert applied(conn) == IDS
    with psycopg.connect(logins.dsn("writer", dbname), autocommit=True) as writer:
        assert check_schema(writer).ok
        assert list_runs(writer).items == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            create_feature_run(writer, new_feature_run())

    apply_roles(server.dsn(dbname))

    use(logins, dbname)


def test_a_further_run_changes_nothing_and_the_migrator_may_do_it(
    server: Server, logins: Logins, dbname: str, conn: Conn
) -> None:
    apply_roles(server.dsn(dbname))
    deploy(logins, dbname)
    apply_roles(server.dsn(dbname))
    before = decided(conn)
    assert {row[2] for row in before if row[0] == "table"} == {"runstore_owner"}

    apply_roles(server.dsn(dbname))
    assert decided(conn) == before

    apply_roles(logins.dsn("migrator", dbname))
    assert decided(conn) == before


def test_runs_at_once_wait_for_each_other(server: Server, dbname: str, conn: Conn) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(apply_roles, server.dsn(dbname)) for _ in range(12)]:
            done.result(timeout=60)

    before = decided(conn)
    apply_roles(server.dsn(dbname))
    assert decided(conn) == before


def test_what_was_granted_beyond_the_file_is_taken_back(
    server: Server, logins: Logins, dbname: str, conn: Conn
) -> None:
    apply_roles(server.dsn(dbname))
    deploy(logins, dbname)
    apply_roles(server.dsn(dbname))
    before = decided(conn)
    conn.execute("GRANT DELETE, TRUNCATE ON runstore.run_events TO runstore_writer")
    conn.execute("GRANT UPDATE (payload) ON runstore.run_events TO runstore_writer")
    conn.execute("GRANT INSERT ON ALL TABLES IN SCHEMA runstore TO runstore_reader")
    assert decided(conn) != before

    apply_roles(logins.dsn("migrator", dbname))

    assert decided(conn) == before


def test_a_database_that_others_migrated_is_taken_over_with_its_rows(
    server: Server, logins: Logins, dbname: str, conn: Conn, tmp_path: Path
) -> None:
    succeed("apply", atomic_url(server, dbname), MIGRATIONS)
    run = create_feature_run(conn, new_feature_run())

    apply_roles(server.dsn(dbname))

    owners = {(row[0], row[2]) for row in decided(conn) if row[0] in ("table", "function")}
    # yoyo's tables stay whose they are: another application's migrations may be in them.
    assert owners == {
        ("table", "runstore_owner"),
        ("table", server.user),
        ("function", "runstore_owner"),
    }
    with psycopg.connect(logins.dsn("reader", dbname), autocommit=True) as reader:
        assert check_schema(reader).ok
        assert [row.id for row in list_runs(reader).items] == [run.id]
    with psycopg.connect(logins.dsn("writer", dbname), autocommit=True) as writer:
        create_feature_run(writer, new_feature_run())

    # The next deploy is the migrator's, and what it makes can be read at once.
    shutil.copytree(MIGRATIONS, tmp_path, dirs_exist_ok=True)
    write(tmp_path, "runstore-9999-create-later", "CREATE TABLE runstore.later (id bigint);\n")
    succeed("apply", logins.yoyo_url(dbname), tmp_path)
    with psycopg.connect(logins.dsn("writer", dbname), autocommit=True) as writer:
        assert writer.execute("TABLE runstore.later").fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute("INSERT INTO runstore.later VALUES (1)")


def test_who_may_create_in_public_is_warned_of(server: Server, dbname: str, conn: Conn) -> None:
    conn.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
    warnings: list[str] = []
    conn.add_notice_handler(
        lambda notice: warnings.append(f"{notice.message_primary} {notice.message_hint}")
    )

    conn.execute(ROLES.read_bytes())

    assert [text for text in warnings if "REVOKE CREATE ON SCHEMA public FROM PUBLIC" in text]


def test_a_database_without_a_schema_for_yoyos_tables_is_refused(dbname: str, conn: Conn) -> None:
    conn.execute("DROP SCHEMA public")

    with pytest.raises(psycopg.errors.InvalidSchemaName, match="yoyo") as caught:
        conn.execute(ROLES.read_bytes())

    assert "CREATE SCHEMA" in str(caught.value.diag.message_hint)
    conn.execute("ROLLBACK")


def test_yoyos_tables_may_lie_in_a_schema_of_their_own(
    server: Server, logins: Logins, dbname: str, conn: Conn
) -> None:
    conn.execute("DROP SCHEMA public; CREATE SCHEMA ops")
    with_ops = replace(server, options=f"{server.options} -csearch_path=ops")

    apply_roles(with_ops.dsn(dbname))
    deploy(replace(logins, server=with_ops), dbname)
    apply_roles(with_ops.dsn(dbname))

    assert conn.execute("SELECT to_regclass('ops._yoyo_migration') IS NULL").fetchone() == (False,)
    use(replace(logins, server=with_ops), dbname)


def test_a_run_that_fails_leaves_nothing(server: Server, dbname: str, conn: Conn) -> None:
    broken = ROLES.read_text().replace("COMMIT;", "SELECT 1 / 0;\n\nCOMMIT;")
    assert broken != ROLES.read_text()
    before = conn.execute("SELECT datacl FROM pg_database WHERE datname = %s", [dbname]).fetchone()

    # As psql does it: one statement after the other, whatever came of the one before.
    done = psql(server, server.dsn(dbname), broken)

    assert "division by zero" in done.stderr
    assert (
        before
        == conn.execute("SELECT datacl FROM pg_database WHERE datname = %s", [dbname]).fetchone()
    )


def psql(server: Server, dsn: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run `scripts/roles.sql`, or this text in its place, as a DBA does."""
    program = (server.bindir or Path()) / "psql"
    found = str(program) if program.exists() else shutil.which("psql")
    if found is None:
        pytest.skip("there is no psql")
    return subprocess.run(
        [found, "--no-psqlrc", "--quiet", f"--file={'-' if text else ROLES}", dsn],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


def test_psql_runs_it_in_silence(server: Server, dbname: str) -> None:
    for _ in range(2):
        done = psql(server, server.dsn(dbname))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Where nobody is a superuser


@pytest.fixture
def managed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A cluster without our roles, in which the account `dba` may make roles and databases."""
    monkeypatch.delenv("RUNSTORE_TEST_DSN", raising=False)
    with embedded.throwaway_server() as server:
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as conn:
            conn.execute("CREATE ROLE dba LOGIN CREATEROLE CREATEDB")
        with psycopg.connect(dsn_of(server, "dba", "postgres"), autocommit=True) as conn:
            conn.execute("CREATE DATABASE record")
        yield server


def dsn_of(server: Server, user: str, dbname: str = "record") -> str:
    return replace(server, user=user).dsn(dbname)


def test_a_dba_without_superuser_makes_the_roles_and_each_logs_in_by_its_name(
    managed: Server,
) -> None:
    apply_roles(dsn_of(managed, "dba"))
    # The plain URL of the migrator: its setting makes it the owner.
    succeed("apply", atomic_url(replace(managed, user="runstore_migrator"), "record"), MIGRATIONS)
    apply_roles(dsn_of(managed, "dba"))
    with psycopg.connect(managed.dsn("record"), autocommit=True) as conn:
        before = decided(conn)
        apply_roles(dsn_of(managed, "runstore_migrator"))
        apply_roles(dsn_of(managed, "dba"))
        assert decided(conn) == before
        assert {row[2] for row in before if row[0] == "table"} == {"runstore_owner"}

    with psycopg.connect(dsn_of(managed, "runstore_writer"), autocommit=True) as writer:
        assert check_schema(writer).ok
        create_feature_run(writer, new_feature_run())
    for role in ("runstore_reader", "runstore_janitor"):
        with psycopg.connect(dsn_of(managed, role), autocommit=True) as conn:
            assert check_schema(conn).ok
            assert len(list_runs(conn).items) == 1
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        psycopg.connect(dsn_of(managed, "runstore_owner"))


def test_a_dba_without_superuser_takes_over_what_it_migrated_itself(managed: Server) -> None:
    succeed("apply", atomic_url(replace(managed, user="dba"), "record"), MIGRATIONS)

    for _ in range(2):
        apply_roles(dsn_of(managed, "dba"))
    as_migrator = atomic_url(replace(managed, user="runstore_migrator"), "record")
    succeed("rollback", as_migrator, "--revision", IDS[-1], MIGRATIONS)
    succeed("apply", as_migrator, MIGRATIONS)
    apply_roles(dsn_of(managed, "runstore_migrator"))

    with psycopg.connect(managed.dsn("record"), autocommit=True) as conn:
        found = {(row[0], row[2]) for row in decided(conn) if row[0] in ("table", "function")}
    assert found == {
        ("table", "runstore_owner"),
        ("table", "dba"),
        ("function", "runstore_owner"),
    }


def test_databases_of_a_cluster_share_the_roles(
    server: Server, logins: Logins, new_database: NewDatabase
) -> None:
    names = [new_database(), new_database()]
    for name in names:
        apply_roles(server.dsn(name))
        deploy(logins, name)
        apply_roles(server.dsn(name))
    for name in names:
        use(logins, name)
