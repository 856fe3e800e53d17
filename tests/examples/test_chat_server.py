"""The chat server, on a real port: it answers, resumes, stops, and keeps to the budget."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import httpx
import pytest

import chat_server
from connections import Connect
from runstore import fail_run, get_run, get_usage, verify_usage
from servers import client_of
from streams import wait_until

WORDS = "one two three four five six seven eight nine ten"


@pytest.fixture
def client(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setenv("DATABASE_URL", database)
    with client_of(chat_server.app) as client:
        yield client


def ask(
    client: httpx.Client, text: str = WORDS, thread: str = "t", **headers: str
) -> httpx.Response:
    return client.post(
        f"/threads/{thread}/messages", json={"text": text}, headers={"x-user": "zoe", **headers}
    )


def started(client: httpx.Client, text: str = WORDS, thread: str = "t", **headers: str) -> UUID:
    response = ask(client, text, thread, **headers)
    assert response.status_code == 202, response.text
    return UUID(response.json()["run"])


def events(client: httpx.Client, run_id: UUID, last_seen: int = 0) -> list[tuple[str, str]]:
    headers = {"last-event-id": str(last_seen)}
    text = client.get(f"/runs/{run_id}/events", headers=headers).text
    frames = [frame.splitlines() for frame in text.split("\n\n") if frame]
    return [(id.removeprefix("id: "), type.removeprefix("event: ")) for id, type, _ in frames]


def test_an_answer_streams_and_is_charged(client: httpx.Client, connect: Connect) -> None:
    run_id = started(client)

    seen = events(client, run_id)

    assert [type for _, type in seen] == ["run.started", *["token"] * 10, "run.completed"]
    conn = connect()
    assert get_run(conn, run_id).output == f"{WORDS} "
    [usage] = get_usage(conn, "zoe")
    assert (usage.used, usage.held) == (10, 0)


def test_a_lost_connection_goes_on_where_it_was(client: httpx.Client) -> None:
    run_id = started(client)
    whole = events(client, run_id)

    assert events(client, run_id, last_seen=4) == whole[4:]


def test_a_thread_has_one_answer_at_a_time(client: httpx.Client) -> None:
    run_id = started(client, "word " * 50)
    assert ask(client).status_code == 409
    assert ask(client, thread="another").status_code == 202

    events(client, run_id)
    assert ask(client).status_code == 202


def test_asking_again_with_the_same_key_finds_the_same_run(client: httpx.Client) -> None:
    key = {"idempotency-key": "message-1"}
    run_id = started(client, **key)

    again = ask(client, **key)
    assert (again.status_code, again.json()) == (200, {"run": str(run_id)})


def test_an_answer_that_is_stopped_costs_what_it_said(
    client: httpx.Client, connect: Connect
) -> None:
    run_id = started(client, "word " * 90)
    assert client.post(f"/runs/{run_id}/cancel").status_code == 204

    seen = events(client, run_id)

    said = [type for _, type in seen].count("token")
    assert seen[-1][1] == "run.cancelled"
    assert 0 < said < 90
    [usage] = get_usage(connect(), "zoe")
    assert (usage.used, usage.held) == (said, 0)
    # Asked twice, it is answered as the first time.
    assert client.post(f"/runs/{run_id}/cancel").status_code == 204


def test_an_answer_that_is_over_cannot_be_stopped(client: httpx.Client) -> None:
    run_id = started(client)
    events(client, run_id)

    assert client.post(f"/runs/{run_id}/cancel").status_code == 409


def test_a_budget_that_is_spent_refuses_the_next_question(
    client: httpx.Client, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_server, "LIMIT", 105)
    events(client, started(client))

    refused = ask(client, thread="another")

    assert refused.status_code == 429
    conn = connect()
    assert conn.execute("SELECT count(*) FROM runstore.runs").fetchall() == [(1,)]
    assert verify_usage(conn).items == []


def test_a_model_that_fails_leaves_a_run_that_says_so(
    client: httpx.Client, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: str) -> None:
        raise ConnectionError("the model is gone")

    monkeypatch.setattr(chat_server, "model", fails)
    run_id = started(client)

    conn = connect()
    wait_until(lambda: get_run(conn, run_id).finished_at is not None)
    run = get_run(conn, run_id)
    assert (run.status, run.error) == ("failed", "ConnectionError")


def test_an_answer_that_somebody_else_ends_is_charged_and_harms_no_other(
    client: httpx.Client, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    conn = connect()
    ended = started(client, "word " * 90)
    other = ask(client, WORDS, thread="another").json()["run"]
    fail_run(conn, ended, error="an operator")

    seen = events(client, UUID(other))
    assert seen[-1][1] == "run.completed"
    wait_until(lambda: get_usage(conn, "zoe")[0].held == 0)

    assert get_run(conn, ended).error == "an operator"
    assert verify_usage(conn).items == []
    assert f"run {ended} is failed" in caplog.text
    assert events(client, started(client, thread="yet another"))[-1][1] == "run.completed"


def test_an_answer_that_cannot_be_recorded_harms_no_other(
    client: httpx.Client,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails(*_: object) -> None:
        raise ConnectionError("the database is gone")

    with monkeypatch.context() as patched:
        patched.setattr("runstore.settle_usage", fails)
        run_id = started(client)
        wait_until(lambda: "the database is gone" in caplog.text)

    assert get_run(connect(), run_id).status == "running"
    assert events(client, started(client, thread="another"))[-1][1] == "run.completed"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"hello", "Expecting value"),
        (b"\xff", "decode"),
        (b"[" * 100_000, "not a question"),
        (b"[]", "text"),
        (b"{}", "text"),
        (b'{"text": 7}', "text"),
        (b'{"text": "a\\u0000b"}', "NUL"),
    ],
    ids=["no JSON", "no UTF-8", "deep", "list", "no text", "a number", "NUL"],
)
def test_a_question_that_is_none_is_refused(
    client: httpx.Client, connect: Connect, body: bytes, reason: str
) -> None:
    refused = client.post("/threads/t/messages", content=body, headers={"x-user": "zoe"})

    assert refused.status_code == 400
    assert reason in refused.text
    assert connect().execute("SELECT count(*) FROM runstore.runs").fetchall() == [(0,)]


@pytest.mark.parametrize("header", ["x-user", "idempotency-key"])
def test_a_header_that_says_nothing_is_refused(client: httpx.Client, header: str) -> None:
    refused = ask(client, **{header: ""})

    assert refused.status_code == 400
    assert "at least 1 character" in refused.text


def test_a_key_that_was_used_for_another_question_is_told(client: httpx.Client) -> None:
    key = {"idempotency-key": "message-1"}
    run_id = started(client, **key)

    refused = ask(client, "something else", **key)

    assert refused.status_code == 409
    assert f"run {run_id}" in refused.text
    assert "input" in refused.text
