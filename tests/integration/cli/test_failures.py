"""Whatever a user does wrong is told in one clear line, with its exit status."""

from __future__ import annotations

import json
from typing import Any

import pytest
from psycopg import Connection

from command import runstore
from runstore import (
    NewFeatureRun,
    RunstoreError,
    create_feature_run,
    new_child_id,
)
from runstore.cli import _failures, main
from runstore.cli._statuses import MEANINGS, Status
from runstore.embedded import Server

# The same in each of several processes, which must find the same tests.
RUN = "0199e4f0-0000-7000-8000-000000000000"
CHILD = "0199e4f0-0000-7000-8000-00000000c001"

# Every command that reads or writes the tables, with arguments that are well formed.
COMMANDS: list[list[str]] = [
    ["runs"],
    ["show", RUN],
    ["events", RUN],
    ["tail", RUN],
    ["report", CHILD],
    ["usage", "mia"],
    ["pending"],
    ["answer", CHILD, "yes"],
    ["verify"],
    ["purge", "--before", "1d"],
    ["export", RUN],
]
ALL = [*COMMANDS, ["check"], ["migrate"], ["import", __file__]]


def by_name(arguments: list[str]) -> str:
    return arguments[0]


def test_these_are_all_commands() -> None:
    assert {arguments[0] for arguments in ALL} | {"demo", "completion", "purge"} >= set(
        main.commands
    )


@pytest.mark.parametrize("arguments", ALL, ids=by_name)
def test_a_server_that_is_down_is_said_to_be(arguments: list[str]) -> None:
    said = runstore(*arguments, "--dsn", "postgresql://me:secret@/app?host=/nowhere")

    assert (said.status, said.out) == (Status.UNANSWERED, "")
    assert said.err.startswith("The database did not answer:")
    assert said.err.count("\n") == 1
    assert "secret" not in said.err


@pytest.mark.parametrize("arguments", ALL, ids=by_name)
def test_a_malformed_dsn_is_refused_without_its_password(arguments: list[str]) -> None:
    for dsn in ("postgresql://me:secret%zz@/app", "postgresql+atomic://me:secret@/app"):
        said = runstore(*arguments, RUNSTORE_DSN=dsn)

        assert (said.status, said.out) == (Status.USAGE, "")
        assert "not a connection string of libpq" in said.err
        assert "secret" not in said.err
    assert "starts with postgresql://" in said.err


def test_where_no_dsn_was_given_that_is_said() -> None:
    said = runstore("runs", PGHOST="/nowhere", PGUSER="me")

    assert said.status == Status.UNANSWERED
    assert said.err.endswith(
        "Is the server running locally and accepting connections on that socket?"
        " (No DSN was given, by --dsn, RUNSTORE_DSN or DATABASE_URL.)\n"
    )
    assert "No such file or directory. Is the server" in said.err


@pytest.mark.parametrize("arguments", COMMANDS, ids=by_name)
def test_a_database_without_the_schema_is_named_as_such(
    arguments: list[str], server: Server, empty_dbname: str
) -> None:
    said = runstore(*arguments, "--dsn", server.dsn(empty_dbname))

    assert (said.status, said.out) == (Status.UNMIGRATED, "")
    assert said.err == (
        "The database lacks the schema that this version needs:"
        " `runstore check` says what is missing, `runstore migrate` applies it.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", RUN], f"Run {RUN} does not exist.\n"),
        (["show", "latest"], "The latest run does not exist.\n"),
        (["show", "0198"], "Run 0198… does not exist.\n"),
        (["events", RUN], f"Run {RUN} does not exist.\n"),
        (["tail", RUN], f"Run {RUN} does not exist.\n"),
        (["export", RUN], f"Run {RUN} does not exist.\n"),
        (["report", CHILD], f"Report {CHILD} does not exist.\n"),
        (["report", CHILD, "--version", "2"], f"Version 2 of report {CHILD} does not exist.\n"),
        (["answer", CHILD, "yes"], f"Question {CHILD} does not exist.\n"),
        (["runs", "--parent", "0198"], "Run 0198… does not exist.\n"),
    ],
)
def test_what_is_absent_is_said_to_be(database: str, arguments: list[str], message: str) -> None:
    said = runstore(*arguments, "--dsn", database)

    assert (said.status, said.out, said.err) == (Status.ABSENT, "", message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "0-1"], "'0-1' is neither an id, the beginning of one, nor 'latest'."),
        (["events", "x" * 36], "is neither an id, the beginning of one, nor 'latest'."),
        (["report", "12"], "'12' is not a valid UUID."),
        (["answer", "12", "yes"], "'12' is not a valid UUID."),
        (["answer", CHILD, "yes", "--cancel"], "Give one of RESPONSE, --data and --cancel."),
        (["answer", CHILD, "--data", "{"], "is not JSON"),
        (["answer", CHILD], "nobody at a terminal"),
        (["usage", "mia", "--since", "soon"], "'soon' is neither a time like 2026-01-31"),
        (["verify", "--silent-for", "soon"], "'soon' is no duration like 90s"),
        (["verify", "--silent-for", "9" * 40 + "w"], "is too long."),
        (["import", "/nowhere/run.jsonl"], "No such file or directory"),
        (["nothing"], "No such command 'nothing'."),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: list[str], message: str) -> None:
    said = runstore(*arguments)

    assert (said.status, said.out) == (Status.USAGE, "")
    assert message in said.err
    assert "Traceback" not in said.err


def test_the_options_of_all_commands_may_stand_before_the_command(database: str) -> None:
    before = runstore("--json", "--dsn", database, "-v", "show", RUN)
    after = runstore("show", RUN, "--dsn", database, "--json", "--verbose")

    assert before == after
    assert before.status == Status.ABSENT
    # The variable is for whoever names none.
    assert runstore("--dsn", database, "--json", "runs", RUNSTORE_DSN="host=/nowhere").json == {
        "runs": [],
        "next_cursor": None,
    }
    elsewhere = runstore("--dsn", "host=/nowhere", "runs", "--dsn", database)
    assert elsewhere.status == Status.DONE
    said = runstore("--json", "completion", "bash")
    assert (said.status, said.out) == (Status.USAGE, "")
    assert json.loads(said.err)["message"].startswith("No such option '--json'.")


def test_machines_are_told_in_json(database: str) -> None:
    said = runstore("show", RUN, "--json", "--dsn", database)

    assert said.out == ""
    assert json.loads(said.err) == {
        "error": "NotFound",
        "message": f"Run {RUN} does not exist.",
        "status": Status.ABSENT,
    }


def test_verbose_says_where(database: str) -> None:
    said = runstore("show", RUN, "--verbose", "--dsn", database)

    assert said.err.startswith(f"Run {RUN} does not exist.\n")
    assert "in show\n" in said.err
    assert said.err.endswith("  runstore.errors.NotFound\n")
    said = runstore("runs", "-v", "--dsn", f"{database}&options=-cstatement_timeout%3D1")
    assert said.status in (Status.DONE, Status.UNANSWERED)


@pytest.mark.owner
def test_what_the_server_quotes_is_not_passed_on(conn: Connection[Any], database: str) -> None:
    conn.execute(
        "CREATE FUNCTION public.runs_secret() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION 'refused' USING DETAIL = 'secret', HINT = 'ask'; END $$"
    )
    conn.execute(
        "CREATE TRIGGER secret BEFORE UPDATE ON runstore.cta_events"
        " FOR EACH ROW EXECUTE FUNCTION public.runs_secret()"
    )
    run = create_feature_run(conn, NewFeatureRun(name="x"))
    question = new_child_id(run.id)
    conn.execute(
        "INSERT INTO runstore.cta_events (run_id, id, kind) VALUES (%s, %s, 'k')",
        [run.id, question],
    )

    said = runstore("answer", question, "yes", "--verbose", "--dsn", database)

    assert said.status == Status.UNANSWERED
    assert said.err.startswith("The database refused: refused\n")
    assert "SQLSTATE P0001: refused; ask" in said.err
    assert "secret" not in said.err


def test_a_fault_of_our_own_is_no_stack_trace(
    monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("runstore.cli._runs.list_runs", fail)
    said = runstore("runs", "--dsn", database)

    assert said.status == Status.BROKEN
    assert said.err == "A fault of runstore itself (ZeroDivisionError).\n"


@pytest.mark.parametrize("options", [[], ["--json"], ["--verbose"]], ids=" ".join)
def test_an_error_cannot_command_the_terminal(
    monkeypatch: pytest.MonkeyPatch, database: str, options: list[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RunstoreError("no such \x1b]0;title\x07 format\u009b31m\u202e")

    monkeypatch.setattr("runstore.cli._runs.list_runs", fail)
    said = runstore("runs", *options, "--dsn", database)

    assert said.status == Status.REFUSED
    assert all(char.isprintable() or char == "\n" for char in said.err)
    assert "No such \ufffd]0;title\ufffd format\ufffd31m\ufffd." in said.err


def test_the_help_names_every_status() -> None:
    said = runstore("--help")

    for status in Status:
        assert f"{status.value:>3}  {MEANINGS[status]}" in said.out


def test_an_error_of_the_system_names_its_file() -> None:
    failure = _failures.explain(PermissionError(13, "Permission denied", "/a/file"), "")

    assert (failure.status, failure.message) == (
        Status.REFUSED,
        "Cannot use /a/file: Permission denied.",
    )
