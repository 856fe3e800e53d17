"""The command that applies migrations: the files, in their order, by the backend that is atomic."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from yoyo.connections import parse_uri

from command import runstore
from deploys import IDS, MIGRATIONS, atomic_url, libpq_variables, succeed
from runstore import _sql
from runstore.cli._schema import yoyo_url
from runstore.cli._statuses import Status
from runstore.embedded import Server


def test_migrate_applies_what_is_missing(server: Server, empty_dbname: str) -> None:
    dsn = server.dsn(empty_dbname)

    first = runstore("migrate", RUNSTORE_DSN=dsn)
    second = runstore("migrate", RUNSTORE_DSN=dsn)

    assert first.out == f"Applied {len(IDS)} migrations, up to {IDS[-1]}.\n"
    assert (second.status, second.out) == (Status.DONE, "Nothing was pending.\n")
    assert runstore("check", RUNSTORE_DSN=dsn).status == Status.DONE


def test_migrate_answers_machines(server: Server, empty_dbname: str) -> None:
    dsn = server.dsn(empty_dbname)

    assert runstore("migrate", "--json", "--dsn", dsn).json == {"applied": IDS}
    assert runstore("migrate", "--json", "--dsn", dsn).json == {"applied": []}


def test_a_dry_run_prints_the_files_and_changes_nothing(server: Server, empty_dbname: str) -> None:
    dsn = server.dsn(empty_dbname)
    texts = [(_sql.directory("migrations") / f"{id}.sql").read_text("utf-8") for id in IDS]

    said = runstore("migrate", "--dry-run", "--dsn", dsn)
    document = runstore("migrate", "--dry-run", "--json", "--dsn", dsn).json

    assert said.out == "".join(f"{text}\n" for text in texts)
    assert document == {
        "pending": [{"id": id, "sql": text} for id, text in zip(IDS, texts, strict=True)]
    }
    with psycopg.connect(dsn) as conn:
        [tables] = conn.execute("SELECT count(*) FROM pg_tables WHERE tablename ~ 'yoyo'")
        assert tables == (0,)
        assert conn.execute("SELECT to_regnamespace('runstore') IS NULL").fetchone() == (True,)


def test_a_search_path_without_a_schema_is_told_before_anything_is_made(
    server: Server, empty_dbname: str
) -> None:
    dsn = server.dsn(empty_dbname)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("DROP SCHEMA public")

        for arguments in ([], ["--dry-run"]):
            said = runstore("migrate", *arguments, "--dsn", dsn)
            assert said.status == Status.REFUSED
            assert said.err.startswith("There is no schema for yoyo's tables: ")

        assert conn.execute("SELECT to_regnamespace('runstore') IS NULL").fetchone() == (True,)


@pytest.mark.parametrize("by_service", [False, True], ids=["variables", "service"])
def test_the_database_may_be_named_by_libpqs_environment(
    server: Server, empty_dbname: str, tmp_path: Path, by_service: bool
) -> None:
    dsn, variables = server.dsn(empty_dbname), libpq_variables(server, empty_dbname)
    if by_service:
        given = conninfo_to_dict(dsn).items()
        services = tmp_path / "services"
        services.write_text("\n".join(["[app]", *(f"{name}={value}" for name, value in given)]))
        variables = {"PGSERVICE": "app", "PGSERVICEFILE": str(services)}

    pending = runstore("migrate", "--dry-run", "--json", **variables).json["pending"]
    assert [migration["id"] for migration in pending] == IDS
    assert runstore("migrate", "--json", **variables).json == {"applied": IDS}

    assert runstore("check", "--dsn", dsn).status == Status.DONE
    assert runstore("migrate", "--dry-run", "--json", **variables).json == {"pending": []}


@pytest.mark.owner
def test_a_dry_run_prints_the_pending_files_alone(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("DELETE FROM _yoyo_migration WHERE migration_id = %s", [IDS[-1]])

    pending = runstore("migrate", "--dry-run", "--json", "--dsn", database).json["pending"]

    assert [migration["id"] for migration in pending] == [IDS[-1]]


def test_a_dry_run_with_nothing_to_do_prints_no_sql(database: str) -> None:
    said = runstore("migrate", "--dry-run", "--dsn", database)

    assert (said.status, said.out, said.err) == (Status.DONE, "", "Nothing is pending.\n")


@pytest.mark.owner
def test_a_migration_that_fails_is_told_and_leaves_what_was_applied(
    server: Server, empty_dbname: str
) -> None:
    dsn = server.dsn(empty_dbname)
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA runstore")

    said = runstore("migrate", "--dsn", dsn)

    assert said.status == Status.UNANSWERED
    assert said.err.endswith('The database refused: schema "runstore" already exists\n')
    assert runstore("check", "--json", "--dsn", dsn).json["applied"] == []


@pytest.mark.owner
def test_a_migration_that_lacks_what_it_builds_on_is_not_told_to_migrate(
    server: Server, empty_dbname: str
) -> None:
    succeed("mark", atomic_url(server, empty_dbname), "--revision", IDS[0], MIGRATIONS)

    said = runstore("migrate", "--dsn", server.dsn(empty_dbname))

    assert said.status == Status.UNANSWERED
    assert said.err.endswith('The database refused: schema "runstore" does not exist.\n')


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_the_encoding_of_the_environment_does_not_matter(
    server: Server, empty_dbname: str, encoding: str
) -> None:
    dsn = server.dsn(empty_dbname)

    said = runstore("migrate", "--json", "--dsn", dsn, PGCLIENTENCODING=encoding)

    assert said.json == {"applied": IDS}


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:p%40ss%2Fw%25rd@host:5433/app?sslmode=require&options=-c%20a%3Db",
        "postgresql://us%40er@/a%20b?host=/var/run/x&port=1",
        "host=one,two port=1,2 dbname='a b' user=me password='se cret' application_name=x+y",
        "dbname=app",
        "",
    ],
)
def test_every_parameter_of_a_dsn_reaches_yoyo(dsn: str) -> None:
    found = parse_uri(yoyo_url(dsn))

    given = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    assert found.scheme == "postgresql+atomic"
    assert (found.hostname, found.port, found.database) == (None, None, "")
    login = {"user": found.username, "password": found.password}
    assert found.args | {name: value for name, value in login.items() if value} == given
