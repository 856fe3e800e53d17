from __future__ import annotations

import getpass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection
from pydantic import JsonValue

from command import runstore, stand_at_a_terminal
from runstore import (
    CtaEvent,
    NewCtaEvent,
    NewFeatureRun,
    Page,
    create_cta_event,
    create_feature_run,
    delete_run,
    fail_feature_run,
    get_cta_event,
    list_cta_events,
    run_of,
)


def ask(conn: Connection[Any], **values: Any) -> UUID:
    run = create_feature_run(conn, NewFeatureRun(name="release"))
    given: dict[str, Any] = {"kind": "approval", "request": {"question": "Release 2.1?"}, **values}
    return create_cta_event(conn, NewCtaEvent(run_id=run.id, **given)).id


def test_open_questions_are_listed_oldest_first(conn: Connection[Any], database: str) -> None:
    first = ask(conn, phase="approve", expires_at=datetime.now(UTC) + timedelta(hours=3))
    second = ask(conn, kind="choice", expires_at=datetime.now(UTC) - timedelta(hours=1))

    lines = runstore("pending", "--dsn", database).out.splitlines()

    assert lines[0].startswith(f"{first}  approval  asked 0 s ago, due in 2 h 59 min")
    assert lines[1].rstrip() == f"  run   {str(first)[:23]} approve"
    assert lines[2].rstrip() == "  asks  Release 2.1?"
    assert lines[3].startswith(f"{second}  choice  asked 0 s ago, 1 h")
    assert lines[3].endswith(" overdue")


@pytest.mark.owner
def test_a_run_that_is_deleted_meanwhile_is_still_told(
    conn: Connection[Any], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The questions and their runs are those of one moment."""
    question = ask(conn)
    run_id = get_cta_event(conn, question).run_id
    fail_feature_run(conn, run_id, error="it broke")

    def list_then_delete(reader: Connection[Any], **arguments: Any) -> Page[CtaEvent]:
        page = list_cta_events(reader, **arguments)
        delete_run(conn, run_id)
        return page

    monkeypatch.setattr("runstore.cli._questions.list_cta_events", list_then_delete)
    said = runstore("pending", "--json", "--dsn", database)

    assert said.status == 0, said.err
    [told] = said.json["questions"]
    assert (told["id"], told["run_status"]) == (str(question), "failed")


def test_no_open_question_is_said(database: str) -> None:
    assert runstore("pending", "--dsn", database).out == "No question is open.\n"


def test_machines_get_one_document(conn: Connection[Any], database: str) -> None:
    ids = [ask(conn), ask(conn)]

    first = runstore("pending", "-n", 1, "--json", "--dsn", database).json
    rest = runstore("pending", "--cursor", first["next_cursor"], "--json", "--dsn", database).json

    found = [question["id"] for question in first["questions"] + rest["questions"]]
    assert found == [str(id) for id in ids]
    assert rest["next_cursor"] is None
    [question, _] = list_cta_events(conn).items
    assert first["questions"] == [{**question.model_dump(mode="json"), "run_status": "running"}]
    assert "--cursor" in runstore("pending", "-n", 1, "--dsn", database).out


@pytest.mark.parametrize(
    ("arguments", "response"),
    [
        (["yes"], "yes"),
        (["--", "--no"], "--no"),
        (["--data", '{"yes": [1, null]}'], {"yes": [1, None]}),
        (["--data", "null"], None),
    ],
)
def test_a_question_is_answered(
    conn: Connection[Any], database: str, arguments: list[str], response: JsonValue
) -> None:
    id = ask(conn)

    said = runstore("answer", id, "--by", "mia", "--dsn", database, *arguments)

    assert (said.status, said.out) == (0, "The question is answered.\n")
    stored = get_cta_event(conn, id)
    assert (stored.status, stored.response_data, stored.resolved_by) == (
        "completed",
        response,
        "mia",
    )
    again = runstore("answer", id, "no", "--dsn", database)
    assert (again.status, again.err) == (6, f"Question {id} is completed.\n")


def test_a_question_whose_run_has_ended_is_marked(conn: Connection[Any], database: str) -> None:
    """It is still open, and may be answered; but nobody acts on it any more."""
    id = ask(conn)
    fail_feature_run(conn, run_of(id), error="it broke")

    lines = runstore("pending", "--dsn", database).out.splitlines()
    assert lines[1].rstrip() == f"  run   {str(id)[:23]}  ✗ failed: nobody waits any more"
    [question] = runstore("pending", "--json", "--dsn", database).json["questions"]
    assert question["run_status"] == "failed"

    said = runstore("answer", id, "yes", "--dsn", database)
    assert said.out == "The question is answered. Its run is failed: nobody waits any more.\n"
    assert get_cta_event(conn, id).response_data == "yes"


def test_a_question_is_withdrawn(conn: Connection[Any], database: str) -> None:
    id = ask(conn)

    document = runstore("answer", id, "--cancel", "--json", "--dsn", database).json

    stored = get_cta_event(conn, id)
    assert (stored.status, stored.resolved_by) == ("cancelled", getpass.getuser())
    assert document["status"] == "cancelled"
    assert document["id"] == str(id)


def test_an_answer_is_asked_for_at_a_terminal(
    conn: Connection[Any], database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = ask(conn)
    stand_at_a_terminal(monkeypatch)

    said = runstore("answer", id, "--dsn", database, input="go ahead\n", NO_COLOR="1")

    assert "Release 2.1?" in said.err
    assert get_cta_event(conn, id).response_data == "go ahead"
