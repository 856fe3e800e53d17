"""Mistakes on the command line: told in one document with --json, and never a fault of runstore."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection

from command import runstore
from runstore import (
    NewFeatureRun,
    NewReport,
    SectionDraft,
    complete_feature_run,
    create_feature_run,
    create_report,
    put_report_section,
)
from runstore.cli._statuses import Status

HUGE = "9" * 20


@pytest.fixture
def run_id(conn: Connection[Any]) -> UUID:
    run = create_feature_run(conn, NewFeatureRun(name="x"))
    complete_feature_run(conn, run.id)
    return run.id


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("show zzzz", "Invalid value for 'RUN': 'zzzz' is neither an id"),
        ("runs --nothing", "No such option"),
        ("--nothing runs", "No such option"),
        ("runs --limit many", "Invalid value for '-n' / '--limit'"),
        ("runs --dsn postgresql://me:secret%zz@/app", "not a connection string of libpq"),
        ("purge --before 2999-01-01", "Give --yes to purge, or --dry-run to see what would go."),
        ("show", "Missing argument 'RUN'."),
        ("nothing", "No such command 'nothing'."),
        ("", "Missing command."),
    ],
)
@pytest.mark.parametrize("place", ["first", "last"])
def test_machines_are_told_in_one_document(
    database: str, run_id: UUID, words: str, message: str, place: str
) -> None:
    del run_id
    arguments = ["--json", *words.split()] if place == "first" else [*words.split(), "--json"]
    said = runstore(*arguments, RUNSTORE_DSN=database)

    assert (said.status, said.out) == (Status.USAGE, "")
    document = json.loads(said.err)
    assert document.keys() == {"error", "message", "status"}
    assert message in document["message"]
    assert document["status"] == Status.USAGE
    assert "secret" not in said.err


def test_machines_are_told_of_several_runs_that_begin_alike(
    conn: Connection[Any], database: str
) -> None:
    ids = [create_feature_run(conn, NewFeatureRun(name="x")).id for _ in range(2)]

    said = runstore("show", str(ids[0])[:4], "--json", "--dsn", database)

    assert said.status == Status.USAGE
    document = json.loads(said.err)
    assert document["error"] == "BadParameter"
    assert "begins the ids of several runs" in document["message"]


def test_people_are_told_how_a_command_is_used() -> None:
    said = runstore("show", "zzzz")

    assert said.err.startswith("Usage: ")
    # What follows is an answer, and no option.
    assert runstore("show", "zzzz", "--", "--json").err.startswith("Usage: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("usage x --until 0001-01-10", "no 30 days before it: give --since"),
        (f"events RUN --limit {1 << 63}", "is not in the range"),
        (f"show RUN --max-rows {HUGE}", "is not in the range"),
        (f"show RUN --html - --max-rows {HUGE}", "is not in the range"),
        ("runs --tenant \udcff", "is not UTF-8"),
        ("runs --name \udcff", "is not UTF-8"),
        ("events RUN --type a --type \udcff", "is not UTF-8"),
        ("usage \udcff", "is not UTF-8"),
        ("runs --dsn dbname=\udcff", "is not UTF-8"),
    ],
)
def test_a_mistake_is_no_fault_of_runstore(
    run_id: UUID, database: str, words: str, message: str
) -> None:
    arguments = [run_id if word == "RUN" else word for word in words.split()]

    said = runstore(*arguments, RUNSTORE_DSN=database)

    assert (said.status, said.out) == (Status.USAGE, ""), said
    assert message in said.err


@pytest.mark.parametrize("columns", [HUGE, "0", "", "many"])
def test_a_width_that_cannot_be_is_none(
    conn: Connection[Any], run_id: UUID, database: str, columns: str
) -> None:
    report = create_report(conn, NewReport(run_id=run_id, title="t"))
    put_report_section(conn, report.id, SectionDraft(slug="s", heading="h", content="---"))

    for arguments in (["runs"], ["show", run_id], ["usage", "x"], ["report", report.id]):
        said = runstore(*arguments, "--dsn", database, COLUMNS=columns)

        assert (said.status, said.err) == (0, ""), said.err
        assert len(said.out) < 50_000
