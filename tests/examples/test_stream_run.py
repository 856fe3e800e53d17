"""The streaming example, on a real server and read by a real HTTP client."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
import orjson
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

import stream_run
from connections import Connect
from runstore import (
    NewChatRun,
    RunEvent,
    append_run_events,
    complete_run,
    create_run,
    iter_run_events,
    new_run_id,
    notify_run_events,
    tail_run_events,
)
from servers import client_of
from streams import tokens

Conn = psycopg.Connection[Any]
Frame = tuple[int, str, Any]


@pytest.fixture
def conn(connect: Connect) -> Conn:
    return connect()


@pytest.fixture
def client(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """A client of the example."""
    monkeypatch.setenv("DATABASE_URL", database)
    with client_of(stream_run.app) as client:
        yield client


@contextmanager
def stream(client: httpx.Client, run_id: UUID, last_seen: int = 0) -> Generator[Iterator[Frame]]:
    """Open a stream as a browser does, which tells what it has seen when it reconnects."""
    headers = {"Last-Event-ID": str(last_seen)} if last_seen else {}
    with client.stream("GET", f"/runs/{run_id}/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield frames(response.iter_lines())


def frames(lines: Iterator[str]) -> Iterator[Frame]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, fields[name] = line.partition(": ")
        else:
            yield int(fields["id"]), fields["event"], orjson.loads(fields["data"])


def expected(conn: Conn, run_id: UUID) -> list[Frame]:
    return [(event.seq, event.type, event.payload) for event in iter_run_events(conn, run_id)]


def test_a_run_streams_while_it_is_written(client: httpx.Client, conn: Conn, database: str) -> None:
    run_id = create_run(conn, NewChatRun()).id
    with notify_run_events(database) as notifier, stream(client, run_id) as events:
        seen: list[Frame] = []
        for count in range(1, 6):
            append_run_events(conn, run_id, tokens(1, start=count))
            notifier.mark(run_id)
            seen.append(next(events))
            assert seen[-1] == (count, "token", {"n": count})
        complete_run(conn, run_id)
        notifier.mark(run_id)
        seen += events
    assert seen == expected(conn, run_id)


def test_a_browser_that_reconnects_sees_every_event_once(client: httpx.Client, conn: Conn) -> None:
    run_id = create_run(conn, NewChatRun()).id
    append_run_events(conn, run_id, tokens(50))
    seen: list[Frame] = []
    for _ in range(10):
        with stream(client, run_id, len(seen)) as events:
            seen += [next(events) for _ in range(3)]
    complete_run(conn, run_id)
    with stream(client, run_id, len(seen)) as events:
        seen += events

    assert seen == expected(conn, run_id)
    # Who has all of it is told not to come back.
    headers = {"Last-Event-ID": str(len(seen))}
    assert client.get(f"/runs/{run_id}/events", headers=headers).status_code == 204


def test_what_cannot_be_streamed_is_refused(client: httpx.Client, conn: Conn) -> None:
    run_id = create_run(conn, NewChatRun()).id
    assert client.get(f"/runs/{new_run_id()}/events").status_code == 404
    assert client.get("/runs/1/events").status_code == 404
    for wrong in (b"-1", b"x", b"1.5", b"9" * 19, b"\xb2"):
        headers = {b"Last-Event-ID": wrong}
        assert client.get(f"/runs/{run_id}/events", headers=headers).status_code == 400


def test_a_browser_that_leaves_ends_its_tail(
    client: httpx.Client, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = create_run(conn, NewChatRun()).id
    append_run_events(conn, run_id, tokens(1))
    ended = threading.Event()

    async def tail(
        pool: AsyncConnectionPool[Any], run_id: UUID, **options: Any
    ) -> AsyncGenerator[RunEvent, None]:
        try:
            async for event in tail_run_events(pool, run_id, **options):
                yield event
        finally:
            ended.set()

    monkeypatch.setattr("runstore.tail_run_events", tail)
    with stream(client, run_id) as events:
        next(events)
        assert not ended.is_set()
    assert ended.wait(30)
