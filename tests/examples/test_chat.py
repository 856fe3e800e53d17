"""The demonstration's chat: followed live, forked, and written up."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

import runstore
from chat import (
    ENDING,
    NAME,
    OPENING,
    OTHER_ENDING,
    QUESTION,
    Chat,
    answer_of,
    close_interrupted_chats,
    run_chat,
)
from connections import Connect
from runstore import (
    NewChatRun,
    create_run,
    get_branch_report,
    get_report,
    get_run,
    iter_run_events,
    list_runs,
    start_run,
)
from runstore.embedded import persistent_server

DEMONSTRATION = Path(__file__).parents[2] / "examples" / "pipeline.py"
ANSWER = "".join(OPENING + ENDING)
OTHER_ANSWER = "".join(OPENING + OTHER_ENDING)


def ignore(_: str) -> None:
    """Take a report of the chat."""


def run_at_once(connect: Connect, report: Callable[[str], None] = ignore) -> Chat:
    return run_chat(connect, report=report, pace=0)


def test_the_second_connection_reads_the_whole_log(connect: Connect) -> None:
    conn = connect()

    chat = run_at_once(connect)

    assert chat.followed == [*iter_run_events(conn, chat.run_id)]
    types = [event.type for event in chat.followed]
    tokens = ["delta"] * len(OPENING + ENDING)
    assert types == ["run.started", "message", *tokens, "message", "run.completed"]


def test_the_second_connection_reads_while_the_run_goes_on(connect: Connect) -> None:
    observer = connect()
    seen: list[tuple[str, str]] = []
    writer = threading.current_thread()

    def look(text: str) -> None:
        if threading.current_thread() is not writer and "delta: " in text:
            run = list_runs(observer).items[-1]
            seen.append((text.partition("delta: ")[2], run.status))

    run_at_once(connect, look)

    # The writer goes on to the ending when these have been read, and not before.
    assert seen[: len(OPENING)] == [(repr(token), "running") for token in OPENING]


def test_the_fork_shares_the_opening_and_ends_otherwise(connect: Connect) -> None:
    conn = connect()

    chat = run_at_once(connect)

    fork = get_run(conn, chat.fork_id)
    shared = fork.forked_at_seq
    assert shared
    assert fork.forked_from_run_id == chat.run_id
    assert answer_of(conn, chat.run_id) == ANSWER
    assert answer_of(conn, chat.fork_id) == OTHER_ANSWER
    events = [*iter_run_events(conn, chat.fork_id)]
    assert events[:shared] == chat.followed[:shared]
    assert events[shared:] != chat.followed[shared:]
    assert [event.seq for event in events] == [*range(1, len(events) + 1)]
    stored = conn.execute("SELECT seq FROM runstore.run_events WHERE run_id = %s", [fork.id])
    assert min(seq for (seq,) in stored) == shared + 1


def test_the_branch_is_merged_into_the_report(connect: Connect) -> None:
    conn = connect()

    chat = run_at_once(connect)

    document = get_report(conn, chat.report_id)
    sections = {section.slug: section for section in document.sections}
    assert document.report.run_id == chat.run_id
    assert list(sections) == ["question", "answer", "reason"]
    assert [section.version for section in sections.values()] == [1, 2, 1]
    assert sections["question"].content == QUESTION
    assert sections["answer"].content == OTHER_ANSWER
    assert get_branch_report(conn, chat.branch_id).branch.status == "merged"


def test_the_answer_cites_its_events(connect: Connect) -> None:
    conn = connect()

    chat = run_at_once(connect)

    answer = get_report(conn, chat.report_id).sections[1]
    [citation] = cast("list[dict[str, Any]]", answer.citations)
    events = {event.seq: event.payload for event in iter_run_events(conn, chat.fork_id)}
    assert citation["run_id"] == str(chat.fork_id)
    assert events[citation["from_seq"]] == {"text": OPENING[0]}
    assert events[citation["to_seq"]] == {"text": OTHER_ENDING[-1]}


def test_the_report_changes_when_the_branch_is_merged_and_not_before(connect: Connect) -> None:
    said: list[str] = []

    run_at_once(connect, said.append)

    last = {
        text: said[index + 1 : index + 4]
        for index, text in enumerate(said)
        if text.endswith(("reads:", "merged:"))
    }
    branch, report, merged = last.values()
    assert branch == merged
    assert OTHER_ANSWER in merged[1]
    assert ANSWER in report[1]


def test_it_says_that_no_model_is_called(connect: Connect) -> None:
    said: list[str] = []

    run_at_once(connect, said.append)

    assert "no model is called" in said[0]


@pytest.mark.parametrize("error", [RuntimeError("the lights went out"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    "moment",
    ["  tail:  1", "  tail:  7", "the tail has read", "  tail: 13", "a fork", "a report"],
)
def test_an_error_leaves_no_run_open(connect: Connect, error: BaseException, moment: str) -> None:
    conn = connect()

    def fail(text: str) -> None:
        if text.startswith(moment):
            raise error

    with pytest.raises(type(error)):
        run_at_once(connect, fail)

    runs = list_runs(conn).items
    assert runs
    assert {run.status for run in runs} <= {"completed", "failed"}


def test_an_error_in_the_middle_is_the_runs_error(connect: Connect) -> None:
    conn = connect()

    def fail(text: str) -> None:
        if text.startswith("the tail has read"):
            raise RuntimeError("the lights went out")

    with pytest.raises(RuntimeError, match="the lights went out"):
        run_at_once(connect, fail)

    [run] = list_runs(conn).items
    assert (run.status, run.error) == ("failed", "RuntimeError: the lights went out")


@pytest.mark.direct(reason="it ends all sessions but its own")
def test_a_connection_that_broke_does_not_keep_a_run_open(connect: Connect) -> None:
    observer = connect()

    def break_connections(text: str) -> None:
        if text.startswith("the tail has read"):
            observer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    with pytest.raises(psycopg.OperationalError):
        run_at_once(connect, break_connections)

    [run] = list_runs(observer).items
    assert run.status == "failed"


def test_chats_that_were_killed_are_closed(connect: Connect) -> None:
    conn = connect()
    pending, running, foreign = (
        create_run(conn, NewChatRun(name=name)) for name in (NAME, NAME, "another chat")
    )
    start_run(conn, running.id)

    close_interrupted_chats(conn)

    assert get_run(conn, pending.id).status == "cancelled"
    assert get_run(conn, running.id).status == "cancelled"
    assert get_run(conn, foreign.id).status == "pending"


def test_the_demonstration_ends_with_a_chat(folder: Path) -> None:
    options = ["--data-dir", str(folder / "data"), "--patience", "0"]
    done = subprocess.run(
        [sys.executable, str(DEMONSTRATION), *options], capture_output=True, text=True, check=True
    )

    _, _, said = done.stdout.partition("chat (no model is called")
    assert f"  the run:  {ANSWER}" in said
    assert f"  the fork: {OTHER_ANSWER}" in said
    assert "the branch is merged" in said
    with (
        persistent_server(folder / "data") as server,
        runstore.connect(server.dsn("runstore")) as conn,
    ):
        fork, run = list_runs(conn, kind="chat").items
        assert fork.forked_from_run_id == run.id
        assert {fork.status, run.status} == {"completed"}
