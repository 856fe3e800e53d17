"""Notifiers and listeners: tails wake at once, and nothing depends on it."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import Notify

from connections import Connect
from runstore import (
    InvalidPayload,
    NewChatRun,
    append_run_events,
    complete_run,
    create_run,
    listen_run_events,
    new_run_id,
    notify_run_events,
)
from runstore._sql import directory, parse
from runstore.run_notifications import send_run_notifications
from streams import (
    CONNECTIONS,
    POOLS,
    SOURCES,
    Follower,
    Source,
    Streams,
    numbers,
    streams,
    tokens,
    wait_until,
)

EVERY_SOURCE = pytest.mark.parametrize("source", SOURCES, ids=str)
POOL = pytest.mark.parametrize("source", POOLS, ids=str)
EITHER_KIND = pytest.mark.parametrize("source", CONNECTIONS, ids=str)

# A test fails long before a tail with this would look by itself.
NEVER: dict[str, float] = {"min_poll": 3600, "max_poll": 3600}

Conn = psycopg.Connection[Any]


@pytest.fixture
def opened(source: Source, database: str) -> Iterator[Streams]:
    with streams(source, database) as opened:
        yield opened


@pytest.fixture
def conn(connect: Connect) -> Conn:
    return connect()


def kill(conn: Conn, query: str) -> int:
    """End the sessions whose last statement looks like this, and return how many they were."""
    return conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE %s",
        (query,),
    ).rowcount


def heard(conn: Conn, *, count: int) -> list[Notify]:
    """Wait for so many notifications."""
    return list(conn.notifies(timeout=30, stop_after=count))


# What is sent


def test_only_the_statement_that_notifies_does() -> None:
    notifying = [
        sql.name
        for path in sorted(directory("sql").glob("*.sql"))
        if path.name != "schema.sql"
        for sql in parse(path).values()
        if re.search("notify", re.sub("--.*", "", sql.text), re.IGNORECASE)
    ]
    assert notifying == ["send_run_notifications"]
    (sql,) = parse(directory("sql") / "run_notifications.sql").values()
    assert not re.search("INSERT|UPDATE|DELETE", sql.text)


@pytest.mark.direct(reason="it listens on its connection")
def test_a_payload_holds_ids_as_many_as_it_can(conn: Conn, connect: Connect) -> None:
    listening = connect()
    listening.execute("LISTEN runstore_run_events")
    run_ids = [new_run_id() for _ in range(450)]

    assert send_run_notifications(conn, run_ids) == 3

    payloads = [notify.payload for notify in heard(listening, count=3)]
    assert [UUID(id) for payload in payloads for id in payload.split(",")] == run_ids
    assert send_run_notifications(conn, []) == 0


@EITHER_KIND
@pytest.mark.direct(reason="it listens on its connection")
def test_marks_are_gathered_into_few_statements(opened: Streams, database: str, conn: Conn) -> None:
    conn.execute("LISTEN runstore_run_events")
    run_ids = [new_run_id() for _ in range(10)]

    with opened.enter(notify_run_events(database, interval=0.5)) as notifier:
        started = time.monotonic()
        for _ in range(1000):
            notifier.mark(*run_ids)
        # At its end the block sends what is marked.
    passed = time.monotonic() - started

    assert 1 <= notifier.sent <= 2 + passed / 0.5
    assert notifier.dropped == 0
    payloads = [notify.payload for notify in heard(conn, count=notifier.sent)]
    assert {UUID(id) for payload in payloads for id in payload.split(",")} == set(run_ids)


def test_a_mark_outside_the_block_is_counted_as_dropped(database: str) -> None:
    notifier = notify_run_events(database)
    notifier.mark(new_run_id())
    with notifier:
        pass
    notifier.mark(new_run_id(), new_run_id())
    assert (notifier.sent, notifier.dropped) == (0, 3)


@EITHER_KIND
@pytest.mark.direct(reason="it ends a session by what it did last")
def test_a_notifier_survives_its_connection(opened: Streams, database: str, conn: Conn) -> None:
    run_id = new_run_id()
    with opened.enter(notify_run_events(database, interval=0.001)) as notifier:
        notifier.mark(run_id)
        wait_until(lambda: notifier.sent == 1)
        assert kill(conn, "-- name: send_run_notifications%") == 1

        notifier.mark(run_id)
        wait_until(lambda: notifier.dropped == 1)

        def is_sent() -> bool:
            notifier.mark(run_id)
            return bool(notifier.sent >= 2)

        wait_until(is_sent)


@EITHER_KIND
def test_a_notifier_survives_what_the_library_refuses(opened: Streams) -> None:
    def speak(encoding: str) -> None:
        opened.execute(f"SELECT set_config('client_encoding', '{encoding}', false)")

    run_id = new_run_id()
    with opened.enter(notify_run_events(opened.source, interval=0.001)) as notifier:
        speak("LATIN1")
        notifier.mark(run_id)
        wait_until(lambda: notifier.dropped == 1)
        speak("UTF8")
        notifier.mark(run_id)
        wait_until(lambda: notifier.sent == 1)


# What is heard


@EVERY_SOURCE
@pytest.mark.parametrize("listening", CONNECTIONS, ids=str)
def test_a_notified_tail_wakes_at_once(
    opened: Streams, listening: Source, database: str, direct_database: str, conn: Conn
) -> None:
    run_ids = [create_run(conn, NewChatRun()).id for _ in range(3)]
    with (
        streams(listening, database) as other,
        other.enter(listen_run_events(direct_database)) as listener,
        other.enter(notify_run_events(database)) as notifier,
        streams(Source(listening.kind, pooled=True), database, max_size=4) as pool,
    ):
        # Tails of either kind share a listener of either kind.
        followers = [Follower(pool, id, listener=listener, **NEVER) for id in run_ids[1:]]
        followers.append(Follower(opened, run_ids[0], listener=listener, **NEVER))

        def have_seen(count: int) -> bool:
            return all(len(follower.seen) == count for follower in followers)

        for count in range(1, 11):
            for run_id in run_ids:
                append_run_events(conn, run_id, tokens(1))
                notifier.mark(run_id)
            wait_until(partial(have_seen, count))
        for run_id in run_ids:
            complete_run(conn, run_id)
            notifier.mark(run_id)

        for follower in followers:
            assert numbers(follower.all()) == list(range(1, 12))
        assert notifier.dropped == 0


class Waker:
    """A listener whose notifications the test makes."""

    wake: Callable[[], object]

    @contextmanager
    def waking(self, _: UUID, wake: Callable[[], object]) -> Generator[None]:
        self.wake = wake
        yield


@POOL
def test_what_is_told_while_a_tail_reads_wakes_it(
    opened: Streams, conn: Conn, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = create_run(conn, NewChatRun()).id
    waker, answered = Waker(), 0

    def grow() -> None:
        # When the tail has its first answer, and before it waits.
        nonlocal answered
        answered += 1
        if answered == 1:
            complete_run(conn, run_id)
            waker.wake()

    opened.after_each_loan(monkeypatch, grow)
    assert numbers(Follower(opened, run_id, listener=waker, **NEVER).all()) == [1]


@EITHER_KIND
def test_a_listener_that_lost_its_connection_listens_again_and_wakes_everybody(
    opened: Streams, source: Source, database: str, direct_database: str, conn: Conn
) -> None:
    run_id = create_run(conn, NewChatRun()).id
    with (
        opened.enter(listen_run_events(direct_database)) as listener,
        streams(Source(source.kind, pooled=True), database) as pool,
    ):
        wait_until(lambda: listener.connected)
        follower = Follower(pool, run_id, listener=listener, **NEVER)
        append_run_events(conn, run_id, tokens(1))
        # Nobody notifies: the tail hears of the event because the listener reconnects.
        assert kill(conn, "LISTEN%") == 1
        wait_until(lambda: len(follower.seen) == 1)

        wait_until(lambda: listener.connected)
        complete_run(conn, run_id)
        send_run_notifications(conn, [run_id])
        assert numbers(follower.all()) == [1, 2]


@EITHER_KIND
@pytest.mark.direct(reason="it listens on its connection")
def test_without_its_listener_a_tail_ends_by_polling(
    opened: Streams, source: Source, database: str, conn: Conn
) -> None:
    run_id = create_run(conn, NewChatRun()).id
    # A connection and not a DSN, so that the listener cannot come back.
    with (
        opened.enter(listen_run_events(opened.source)) as listener,
        streams(source, database) as tailing,
    ):
        wait_until(lambda: listener.connected)
        follower = Follower(tailing, run_id, listener=listener, min_poll=0.005, max_poll=0.05)
        assert kill(conn, "LISTEN%") == 1
        wait_until(lambda: not listener.connected)
        append_run_events(conn, run_id, tokens(3))
        complete_run(conn, run_id)
        assert numbers(follower.all()) == [1, 2, 3, 4]


# Blocks and connections


@EITHER_KIND
def test_a_connection_that_was_given_is_given_back(opened: Streams) -> None:
    with opened.enter(notify_run_events(opened.source)) as notifier:
        notifier.mark(new_run_id())
    assert notifier.sent == 1
    assert opened.execute("SELECT 1") == [(1,)]

    with opened.enter(listen_run_events(opened.source)) as listener:
        wait_until(lambda: listener.connected)
    assert opened.execute("SELECT pg_listening_channels()") == []


def test_a_block_ends_the_thread_that_it_started(database: str) -> None:
    def threads() -> list[str]:
        names = [thread.name for thread in threading.enumerate()]
        return [name for name in names if name.startswith("runstore-")]

    with listen_run_events(database) as listener:
        assert threads() == ["runstore-listener"]
        wait_until(lambda: listener.connected)
    assert threads() == []
    assert not listener.connected

    with notify_run_events(database) as notifier:
        assert threads() == ["runstore-notifier"]
        notifier.mark(new_run_id())
    assert threads() == []
    assert notifier.sent == 1


async def test_a_block_ends_the_task_that_it_started(database: str) -> None:
    def tasks() -> list[str]:
        names = [task.get_name() for task in asyncio.all_tasks()]
        return [name for name in names if name.startswith("runstore-")]

    async with listen_run_events(database) as listener:
        assert tasks() == ["runstore-listener"]
        await asyncio.sleep(0)
        assert listener.connected
    assert tasks() == []
    assert not listener.connected

    async with notify_run_events(database) as notifier:
        assert tasks() == ["runstore-notifier"]
        notifier.mark(new_run_id())
    assert tasks() == []
    assert notifier.sent == 1


def test_a_connection_must_fit_its_block(database: str, connect: Connect) -> None:
    blocks: list[Any] = [notify_run_events, listen_run_events]
    for block in blocks:
        with pytest.raises(TypeError, match="async with"):
            asyncio.run(block(connect()).__aenter__())
        with (
            psycopg.connect(database) as transacting,
            pytest.raises(psycopg.ProgrammingError, match="autocommit"),
            block(transacting),
        ):
            pass


async def test_an_asyncio_connection_must_fit_its_block(database: str) -> None:
    blocks: list[Any] = [notify_run_events, listen_run_events]
    async with await psycopg.AsyncConnection.connect(database) as transacting:
        for block in blocks:
            with pytest.raises(TypeError, match="async with"), block(transacting):
                pass
            with pytest.raises(psycopg.ProgrammingError, match="autocommit"):
                await block(transacting).__aenter__()


@EITHER_KIND
def test_a_block_is_entered_again_only_after_it_was_left(opened: Streams, database: str) -> None:
    blocks: list[Any] = [notify_run_events(database), listen_run_events(database)]
    for block in blocks:
        for _ in range(2):
            with (
                opened.enter(block),
                pytest.raises(RuntimeError, match="is in use"),
                opened.enter(block),
            ):
                pass


def test_a_wrong_dsn_is_an_error_at_once() -> None:
    blocks: list[Any] = [notify_run_events, listen_run_events]
    for block in blocks:
        wrong = block("host=/nowhere")
        for _ in range(2):
            with pytest.raises(psycopg.OperationalError), wrong:
                pass


@pytest.mark.parametrize("interval", [0, -1, float("inf")])
def test_an_interval_must_be_a_time(interval: float) -> None:
    with pytest.raises(InvalidPayload, match="interval"):
        notify_run_events("", interval=interval)
