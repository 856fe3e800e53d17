"""Transactions that are run again, each reason for it tried for real."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from connections import Connect, Kind
from deploys import MIGRATIONS, succeed
from invariants import broken
from runstore import (
    NewChatRun,
    NewRunEvent,
    NotFound,
    append_run_events,
    complete_run,
    create_run,
    get_run,
    heartbeat_run,
    iter_run_events,
    list_runs,
    new_run_id,
    open_pool,
    open_pool_async,
    run_transaction,
    start_run,
)
from runstore.embedded import Server, persistent_server
from sessions import open_session
from wire_proxy import Losing, wire_proxy

# Sessions are ended and wires cut: each has to be the server's own.
pytestmark = pytest.mark.direct

Work = Callable[[Any], Generator[Any, Any, Any]]
"""What to do with a connection of either kind: it yields what it calls and gets the answers."""


def run(kind: Kind, dsn: str, work: Work, *, attempts: int = 5) -> Any:
    """Run work in a transaction, on a pool of this kind that is opened for it."""
    if kind == "blocking":
        with open_pool(dsn, min_size=0) as pool:
            return run_transaction(pool, lambda conn: answered(work(conn)), attempts=attempts)

    async def run_async() -> Any:
        async with await open_pool_async(dsn, min_size=0) as pool:
            return await run_transaction(pool, lambda conn: awaited(work(conn)), attempts=attempts)

    return asyncio.run(run_async())


def answered(steps: Generator[Any, Any, Any]) -> Any:
    answer = None
    try:
        while True:
            answer = steps.send(answer)
    except StopIteration as stop:
        return stop.value


async def awaited(steps: Generator[Any, Any, Any]) -> Any:
    answer = None
    try:
        while True:
            answer = await steps.send(answer)
    except StopIteration as stop:
        return stop.value


class Chat:
    """A whole run, its ids made before the first attempt; `attempts` counts them."""

    def __init__(self) -> None:
        self.data = NewChatRun()
        self.start_id, self.append_id = uuid4(), uuid4()
        self.attempts = 0

    def record(self, conn: Any) -> Generator[Any, Any, Any]:
        self.attempts += 1
        event = NewRunEvent(type="token", payload={"text": "Hello"})
        yield create_run(conn, self.data)
        yield start_run(conn, self.data.id, start_id=self.start_id)
        yield append_run_events(conn, self.data.id, [event], append_id=self.append_id)
        return (yield complete_run(conn, self.data.id, output="Hello"))

    def is_recorded_once(self, conn: psycopg.Connection[Any]) -> bool:
        log = [event.type for event in iter_run_events(conn, self.data.id)]
        return log == ["run.started", "token", "run.completed"]


def at_once(kind: Kind, dsn: str, *works: Work) -> None:
    """Run several works, each in a transaction and a thread of its own."""
    with ThreadPoolExecutor(len(works)) as threads:
        running = [threads.submit(run, kind, dsn, work) for work in works]
        for each in running:
            each.result(timeout=30)


def test_a_deadlock_is_run_again(connection_kind: Kind, database: str, connect: Connect) -> None:
    ids = [create_run(connect(), NewChatRun()).id for _ in range(2)]
    both, attempts = threading.Barrier(2), dict.fromkeys(ids, 0)

    def lock(first: UUID, second: UUID) -> Work:
        def work(conn: Any) -> Generator[Any, Any, None]:
            attempts[first] += 1
            yield heartbeat_run(conn, first)
            if attempts[first] == 1:
                both.wait(10)
            yield heartbeat_run(conn, second)

        return work

    at_once(connection_kind, database, lock(*ids), lock(*ids[::-1]))
    assert sorted(attempts.values()) == [1, 2]


def test_a_failure_to_serialize_is_run_again(
    connection_kind: Kind, database: str, connect: Connect
) -> None:
    """Each counts the runs and makes as many as there are: one after the other that is 1, 2, 4."""
    create_run(connect(), NewChatRun())
    both, attempts = threading.Barrier(2), [0, 0]
    isolation: LiteralString = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"

    def double(number: int) -> Work:
        def work(conn: Any) -> Generator[Any, Any, None]:
            attempts[number] += 1
            yield conn.execute(isolation)
            runs = yield list_runs(conn)
            if attempts[number] == 1:
                both.wait(10)
            for _ in runs.items:
                yield create_run(conn, NewChatRun())

        return work

    at_once(connection_kind, database, double(0), double(1))
    assert len(list_runs(connect()).items) == 4
    assert sorted(attempts) == [1, 2]


@pytest.mark.parametrize("what", ["request", "answer"])
def test_a_transaction_whose_commit_is_lost_is_written_once(
    connection_kind: Kind, database: str, connect: Connect, what: Literal["request", "answer"]
) -> None:
    judge = Losing("COMMIT", what=what)
    judge.losses = 1
    chat = Chat()
    with wire_proxy(database, judge) as proxy:
        state = run(connection_kind, proxy.dsn, chat.record)
    conn = connect()
    assert (judge.lost, chat.attempts) == (1, 2)
    assert (state.status, state.last_seq) == ("completed", 3)
    assert state.updated_at == get_run(conn, chat.data.id).updated_at
    assert chat.is_recorded_once(conn)


def test_a_session_that_the_server_ends_is_replaced(
    connection_kind: Kind, database: str, connect: Connect
) -> None:
    chat, killer = Chat(), connect()

    def work(conn: Any) -> Generator[Any, Any, Any]:
        state = yield from chat.record(conn)
        if chat.attempts < 4:
            killer.execute("SELECT pg_terminate_backend(%s)", [conn.info.backend_pid])
        return state

    assert run(connection_kind, database, work).last_seq == 3
    assert chat.attempts == 4


def test_a_connection_to_what_is_a_standby_by_now_is_replaced(
    connection_kind: Kind, server: Server, migrated_dbname: str, database: str
) -> None:
    chat = Chat()
    read_only: Any = f"ALTER DATABASE {migrated_dbname} SET default_transaction_read_only = on"
    writable: Any = f"ALTER DATABASE {migrated_dbname} RESET default_transaction_read_only"
    with psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as superuser:
        superuser.execute(read_only)

        def work(conn: Any) -> Generator[Any, Any, Any]:
            # New sessions may write, this one never.
            superuser.execute(writable)
            return (yield from chat.record(conn))

        assert run(connection_kind, database, work).last_seq == 3
    assert chat.attempts == 2


def test_what_would_fail_again_is_raised_at_once(
    connection_kind: Kind, database: str, connect: Connect
) -> None:
    chat = Chat()

    def work(conn: Any) -> Generator[Any, Any, None]:
        yield from chat.record(conn)
        yield get_run(conn, new_run_id())

    with pytest.raises(NotFound, match="does not exist"):
        run(connection_kind, database, work)
    assert chat.attempts == 1
    with pytest.raises(NotFound):
        get_run(connect(), chat.data.id)


def test_what_is_given_up_is_not_written(
    connection_kind: Kind, database: str, connect: Connect
) -> None:
    chat = Chat()

    def work(conn: Any) -> Generator[Any, Any, None]:
        yield from chat.record(conn)
        raise psycopg.Rollback

    with pytest.raises(psycopg.Rollback):
        run(connection_kind, database, work)
    assert chat.attempts == 1
    with pytest.raises(NotFound):
        get_run(connect(), chat.data.id)


@pytest.mark.parametrize("attempts", [1, 3])
def test_after_so_many_attempts_the_error_is_raised(
    connection_kind: Kind, database: str, attempts: int
) -> None:
    chat = Chat()

    def work(conn: Any) -> Generator[Any, Any, None]:
        yield from chat.record(conn)
        raise psycopg.errors.SerializationFailure("once more")

    with pytest.raises(psycopg.errors.SerializationFailure, match="once more"):
        run(connection_kind, database, work, attempts=attempts)
    assert chat.attempts == attempts


def test_a_crash_and_a_move_to_another_server_lose_and_double_nothing(folder: Path) -> None:
    """A backend is killed, on which the server restarts; then the server ends and another starts.

    The second one has the first one's data and another address, which the proxy stands for. Both
    happen in the middle of a transaction, while others go on.
    """
    ending = threading.Event()
    recorded: list[Chat] = []

    def keep_recording(kind: Kind, dsn: str) -> None:
        while not ending.is_set():
            record(kind, dsn, lambda _: None)

    def record(kind: Kind, dsn: str, disturb: Callable[[Any], None]) -> Chat:
        chat = Chat()

        def work(conn: Any) -> Generator[Any, Any, Any]:
            state = yield from chat.record(conn)
            if chat.attempts == 1:
                disturb(conn)
            return state

        assert run(kind, dsn, work, attempts=20).last_seq == 3
        recorded.append(chat)
        return chat

    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        server = first.enter_context(persistent_server(folder / "data"))
        succeed("apply", server.yoyo_url("postgres"), MIGRATIONS)
        proxy = stack.enter_context(wire_proxy(server.dsn("postgres")))

        def kill(conn: Any) -> None:
            os.kill(conn.info.backend_pid, signal.SIGKILL)

        def move(_: Any) -> None:
            first.close()
            other = stack.enter_context(persistent_server(folder / "data"))
            proxy.server = other.dsn("postgres")

        threads = stack.enter_context(ThreadPoolExecutor(2))
        kinds: list[Kind] = ["blocking", "asyncio"]
        working = [threads.submit(keep_recording, kind, proxy.dsn) for kind in kinds]
        try:
            for kind in kinds:
                assert record(kind, proxy.dsn, kill).attempts > 1
            assert record("blocking", proxy.dsn, move).attempts > 1
        finally:
            ending.set()
        for each in working:
            each.result(timeout=60)
        with open_session("blocking", proxy.server) as observer:
            assert all(chat.is_recorded_once(observer.conn) for chat in recorded)
            assert len(recorded) == observer.execute("SELECT count(*) FROM runstore.runs")[0][0]
            assert broken(observer) == {}
