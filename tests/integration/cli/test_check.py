from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest

from command import runstore
from deploys import IDS
from runstore.cli._statuses import Status
from runstore.embedded import Server

NEXT = "`runstore migrate` applies what is missing, as `yoyo apply` does.\n"


def check(*arguments: str, **environment: str) -> tuple[int, str]:
    """Check a database, and answer the exit status and all that was said."""
    said = runstore("check", *arguments, **environment)
    return said.status, said.out + said.err


@pytest.fixture
def conn(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database, autocommit=True) as conn:
        yield conn


def test_check_succeeds_on_a_migrated_database(database: str) -> None:
    expected = (0, f"The database has all {len(IDS)} migrations of this version.\n")

    assert check("--dsn", database) == expected
    assert check(DATABASE_URL=database) == expected


def test_check_answers_machines(database: str, conn: psycopg.Connection) -> None:
    assert runstore("check", "--dsn", database, "--json").json == {
        "ok": True,
        "message": f"The database has all {len(IDS)} migrations of this version.",
        "bookkeeping": "public",
        "applied": IDS,
        "missing": [],
        "unknown": [],
    }


def test_the_command_is_also_a_module_of_python(database: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "runstore", "check", "--dsn", database],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        f"The database has all {len(IDS)} migrations of this version.\n",
        "",
    )


def test_check_takes_libpqs_own_variables(server: Server, database: str) -> None:
    with psycopg.connect(database) as conn:
        dbname = conn.info.dbname
    where = {"PGHOST": server.host, "PGPORT": str(server.port), "PGUSER": server.user}

    status, _ = check(PGDATABASE=dbname, PGPASSWORD=server.password, **where)

    assert status == 0


@pytest.mark.owner
def test_check_fails_and_names_what_is_missing(database: str, conn: psycopg.Connection) -> None:
    conn.execute("DELETE FROM _yoyo_migration WHERE migration_id = %s", [IDS[-1]])
    conn.execute(
        "INSERT INTO _yoyo_migration (migration_hash, migration_id)"
        " VALUES ('a', 'runstore-9999-newer')"
    )

    assert check("--dsn", database) == (
        1,
        f"Missing: {IDS[-1]}. Unknown to this version: runstore-9999-newer.\n{NEXT}",
    )


@pytest.mark.owner
def test_check_tells_a_database_of_a_newer_version_apart(
    database: str, conn: psycopg.Connection
) -> None:
    conn.execute(
        "INSERT INTO _yoyo_migration (migration_hash, migration_id)"
        " VALUES ('a', 'runstore-9999-newer')"
    )

    assert check("--dsn", database) == (
        3,
        "Unknown to this version: runstore-9999-newer.\n",
    )


def test_check_says_that_a_database_was_never_migrated(server: Server, empty_dbname: str) -> None:
    status, said = check("--dsn", server.dsn(empty_dbname))

    assert status == 1
    assert said.startswith("No migration is recorded:")
    assert said.endswith(NEXT)


def test_check_says_why_the_database_did_not_answer(server: Server, empty_dbname: str) -> None:
    status, said = check("--dsn", server.dsn(f"{empty_dbname}_missing"))

    assert status == 4
    assert said.startswith("The database did not answer:")
    assert f'database "{empty_dbname}_missing" does not exist' in said


@pytest.mark.parametrize(
    ("dsn", "status"),
    [
        ("postgresql+atomic://user:secret@localhost/app", 2),
        ("postgresql://user:secret%zz@localhost/app", 2),
        ("postgresql://user:se@secret@localhost/app", 4),
        ("postgresql://%2Ftmp:secret/se@localhost/app", 4),
    ],
)
def test_check_never_shows_a_piece_of_a_password(dsn: str, status: int) -> None:
    found, said = check("--dsn", dsn)

    assert (found, "secret" in said) == (status, False)


def test_the_command_says_what_it_lacks_without_its_extra() -> None:
    program = "import sys; sys.modules['click'] = None; import runstore.cli"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    # 1 would say that the database lacks migrations.
    assert done.returncode == Status.REFUSED
    assert done.stderr == "the command runstore needs click: pip install 'runstore[cli]'\n"
