from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection

from command import runstore, start
from runstore import (
    NewChatRun,
    NewRunEvent,
    NewRunFork,
    append_run_events,
    complete_run,
    create_run,
    fork_run,
    start_run,
)

TOKENS = [NewRunEvent(type="token", payload={"text": text}) for text in ("Hel", "lo", "!" * 300)]


@pytest.fixture
def run_id(conn: Connection[Any]) -> UUID:
    run = create_run(conn, NewChatRun())
    start_run(conn, run.id)
    append_run_events(conn, run.id, TOKENS)
    return run.id


@pytest.fixture(params=["events", "tail"])
def command(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_events_are_listed_in_their_order(
    conn: Connection[Any], run_id: UUID, database: str, command: str
) -> None:
    complete_run(conn, run_id, events=[NewRunEvent(type="message", payload=["a", 1])])

    said = runstore(command, run_id, "--dsn", database, COLUMNS="80")

    lines = said.out.splitlines()
    assert [re.sub(r" \d\d:\d\d:\d\d ", " TIME ", line) for line in lines] == [
        "  1 TIME run.started",
        "  2 TIME token Hel",
        "  3 TIME token lo",
        f"  4 TIME token {'!' * (80 - 4 - 9 - 6 - 1)}…",
        '  5 TIME message ["a",1]',
        "  6 TIME run.completed",
    ]
    assert said.err == ("The run has ended: ✓ completed\n" if command == "tail" else "")


def test_machines_get_a_line_for_each_event(
    conn: Connection[Any], run_id: UUID, database: str, command: str
) -> None:
    complete_run(conn, run_id)

    said = runstore(command, run_id, "--json", "--dsn", database)

    assert [event["seq"] for event in said.lines] == [1, 2, 3, 4, 5]
    assert said.lines[1].keys() == {"seq", "type", "payload", "created_at"}
    assert said.lines[1]["payload"] == {"text": "Hel"}
    assert datetime.fromisoformat(said.lines[1]["created_at"]).tzinfo is not None
    assert said.err == ""


def test_events_are_filtered(
    conn: Connection[Any], run_id: UUID, database: str, command: str
) -> None:
    complete_run(conn, run_id)

    def seqs(*options: object) -> list[int]:
        said = runstore(command, run_id, *options, "--json", "--dsn", database)
        return [event["seq"] for event in said.lines]

    assert seqs("--after", 3) == [4, 5]
    assert seqs("--type", "token") == [2, 3, 4]
    assert seqs("--type", "run.started", "--type", "run.completed") == [1, 5]
    assert seqs("--after", 2, "--type", "token") == [3, 4]


def test_a_list_ends_at_its_limit(run_id: UUID, database: str) -> None:
    said = runstore("events", run_id, "-n", 2, "--json", "--dsn", database)

    assert [event["seq"] for event in said.lines] == [1, 2]


def test_whole_payloads_are_shown_where_they_are_asked_for(run_id: UUID, database: str) -> None:
    said = runstore("events", run_id, "--full", "--dsn", database)

    assert f'{{"text":"{"!" * 300}"}}' in said.out


def test_a_forks_events_start_with_those_that_it_shares(
    conn: Connection[Any], run_id: UUID, database: str
) -> None:
    fork = fork_run(conn, run_id, 2, NewRunFork())

    said = runstore("events", fork.id, "--json", "--dsn", database)

    assert [event["seq"] for event in said.lines] == [1, 2]


def test_tail_prints_events_as_they_come(
    conn: Connection[Any], run_id: UUID, database: str
) -> None:
    with start("tail", run_id, "--after", 3, "--dsn", database) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "token !!!" in process.stdout.readline()
        append_run_events(conn, run_id, [NewRunEvent(type="token", payload="later")])
        assert process.stdout.readline().endswith(" token later\n")
        complete_run(conn, run_id)
        assert process.stdout.readline().endswith(" run.completed\n")
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == "The run has ended: ✓ completed\n"
