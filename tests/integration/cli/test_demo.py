from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import psycopg
from psycopg import Connection

from command import runstore, start
from logins import Logins
from runstore import verify_run_events, verify_usage
from runstore.embedded import Server


def test_the_demonstration_gives_every_command_something(
    conn: Connection[Any], database: str
) -> None:
    made = runstore("demo", "--pace", 0, "--json", "--dsn", database).json

    assert len(runstore("runs", "--json", "--dsn", database).json["runs"]) == 3
    assert "Which blue for links?" in runstore("show", made["pipeline"], "--dsn", database).out
    assert "delta Settings," in runstore("events", made["chat"], "--dsn", database).out
    assert "Dark mode" in runstore("report", made["report"], "--dsn", database).out
    assert "per day" in runstore("usage", made["subject"], "--dsn", database).out
    assert made["question"] in runstore("pending", "--dsn", database).out
    assert verify_usage(conn).items == []
    assert verify_run_events(conn).items == []
    assert runstore("verify", "--silent-for", "0s", "--dsn", database).status == 0


def test_what_is_recorded_is_told_with_what_to_try(database: str) -> None:
    said = runstore("demo", "--pace", 0, "--dsn", database)

    for line in said.out.split("To try:\n")[1].splitlines():
        command, *arguments = line.split()[1:]
        if command != "export":
            assert runstore(command, *arguments, "--dsn", database).status == 0, line


def test_the_demonstration_writes_into_no_database_that_was_not_named(database: str) -> None:
    with start("demo", "--pace", 0, "--stop", "--json") as process:
        out, err = process.communicate(timeout=120)

    assert (process.returncode, err) == (0, "")
    assert json.loads(out).keys() >= {"pipeline", "chat", "waiting", "question", "report"}
    said = runstore("demo", "--pace", 0, "--stop", DATABASE_URL=database)
    assert said.status == 0
    assert runstore("runs", "--json", "--dsn", database).json["runs"] == []


def test_the_demonstration_starts_a_server_of_its_own_beside_a_running_one(server: Server) -> None:
    with psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as conn:
        names = "SELECT array_agg(datname ORDER BY datname) FROM pg_database"
        before = conn.execute(names).fetchone()

        dsn = server.dsn(server.maintenance_dbname)
        said = runstore("demo", "--pace", 0, "--stop", RUNSTORE_TEST_DSN=dsn)

        assert said.status == 0
        assert conn.execute(names).fetchone() == before


def test_what_is_stopped_is_not_to_be_tried() -> None:
    said = runstore("demo", "--pace", 0, "--stop")

    assert said.status == 0
    assert "To try" not in said.out
    assert "runstore show" not in said.out


def test_the_demonstrations_server_ends_at_ctrl_c() -> None:
    with start("demo", "--pace", 0, stdin=subprocess.DEVNULL) as process:
        assert process.stderr is not None
        told = next(line for line in process.stderr if "export RUNSTORE_DSN=" in line)
        dsn = told.split("'")[1]
        assert runstore("runs", "--dsn", dsn).status == 0
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert runstore("runs", "--dsn", dsn).status == 4


def test_a_machine_without_a_server_is_told_so(tmp_path: Any) -> None:
    said = runstore("demo", "--stop", RUNSTORE_PG_BINDIR=str(tmp_path))

    assert said.status == 4
    assert "install runstore[embedded]" in said.err


def test_the_readers_role_is_enough_to_look(
    database: str, logins: Logins, migrated_dbname: str
) -> None:
    made = runstore("demo", "--pace", 0, "--json", "--dsn", database).json
    reader = logins.dsn("reader", migrated_dbname)

    for arguments in (
        ["runs"],
        ["show", made["pipeline"]],
        ["events", made["chat"]],
        ["tail", made["chat"]],
        ["report", made["report"]],
        ["usage", made["subject"]],
        ["pending"],
        ["verify"],
        ["export", made["pipeline"], "--usage"],
    ):
        assert runstore(*arguments, "--dsn", reader).status == 0, arguments
    refused = runstore("answer", made["question"], "yes", "--dsn", reader)
    assert refused.status == 4
    assert refused.err.startswith("The database refused: permission denied")
