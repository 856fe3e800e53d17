"""Calls of event loops, of which asyncio's keeps watching their connections' sockets."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

import psycopg
import pytest
import uvloop
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from connections import Connect
from factories import new_feature_run
from runstore import (
    NewRunEvent,
    append_run_events,
    complete_feature_run,
    create_feature_run,
    get_run,
    read_run_events,
)

pytestmark = pytest.mark.direct(reason="it listens, and ends its own session")


@pytest.fixture
def run_id(connect: Connect) -> UUID:
    return create_feature_run(connect(), new_feature_run()).id


DELETED = pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")


async def open_connection(dsn: str) -> AsyncConnection[TupleRow]:
    return await AsyncConnection.connect(dsn, autocommit=True)


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


async def wait_until_closed(before: int) -> None:
    """Return once there are no more descriptors than before: the server closes its end first."""
    deadline = time.monotonic() + 10
    while descriptors() != before:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


async def test_calls_of_ours_and_statements_of_psycopg_take_turns(
    database: str, run_id: UUID
) -> None:
    async with await open_connection(database) as conn:
        for number in range(20):
            run = await get_run(conn, run_id)
            cursor = await conn.execute("SELECT %s", (number,))
            assert await cursor.fetchone() == (number,)
            async with conn.transaction():
                assert await get_run(conn, run_id) == run


async def test_what_nobody_waits_for_costs_the_loop_nothing(
    database: str, run_id: UUID, connect: Connect
) -> None:
    """A socket that has something to read wakes the loop again and again until it is read."""
    async with await open_connection(database) as conn:
        await conn.execute("LISTEN news")
        await get_run(conn, run_id)
        connect().execute("NOTIFY news")
        await asyncio.sleep(0.1)
        began = time.process_time()
        await asyncio.sleep(0.5)
        assert time.process_time() - began < 0.2
        await get_run(conn, run_id)
        assert [notice.channel async for notice in conn.notifies(timeout=0)] == ["news"]


async def test_a_connection_that_the_server_ends_leaves_nothing_behind(
    database: str, run_id: UUID, connect: Connect
) -> None:
    """The next connection gets its descriptor, and is heard."""
    observer = connect()
    before = descriptors()
    for number in range(20):
        conn = await open_connection(database)
        await get_run(conn, run_id)
        observer.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
        if number % 2:
            # Else the call finds out, with its socket still watched or no more.
            await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            with pytest.raises(psycopg.OperationalError):
                await get_run(conn, run_id)
            await conn.close()
        del conn
    await wait_until_closed(before)


async def test_closed_connections_leave_nothing_behind(database: str, run_id: UUID) -> None:
    before = descriptors()
    for _ in range(20):
        async with await open_connection(database) as conn:
            await get_run(conn, run_id)
        del conn
    await wait_until_closed(before)


@DELETED
async def test_nobody_holds_a_connection_that_its_caller_has_dropped(
    database: str, run_id: UUID
) -> None:
    before = descriptors()
    conn = await open_connection(database)
    await get_run(conn, run_id)
    del conn
    await wait_until_closed(before)


def test_a_connection_may_go_from_one_loop_to_another(database: str, run_id: UUID) -> None:
    before = descriptors()
    with asyncio.Runner() as first, asyncio.Runner() as second:
        conn = first.run(open_connection(database))
        for runner in [first, second, second, first, second]:
            assert runner.run(_get(conn, run_id)) == run_id
        second.run(conn.close())
    del conn
    assert descriptors() == before


async def _get(conn: AsyncConnection[TupleRow], run_id: UUID) -> UUID:
    return (await get_run(conn, run_id)).id


def test_a_connection_may_outlive_its_loop(database: str, run_id: UUID) -> None:
    before = descriptors()
    with asyncio.Runner() as runner:
        conn = runner.run(open_connection(database))
        runner.run(_get(conn, run_id))
    with asyncio.Runner() as runner:
        assert runner.run(_get(conn, run_id)) == run_id
        runner.run(conn.close())
    del conn
    assert descriptors() == before


async def test_more_than_a_socket_takes_is_sent(database: str, run_id: UUID) -> None:
    """As what a statement is, and as what is prepared and sent by its name."""
    texts = ["x" * 500_000] * 20
    events = [NewRunEvent(type="token", payload={"text": text}) for text in texts]
    async with await open_connection(database) as conn:
        for _ in range(3):
            await append_run_events(conn, run_id, events)
        page = await read_run_events(conn, run_id, page_size=100)
        stored = [event.payload for event in page.events[1:]]
        assert stored == [{"text": text} for text in texts] * 3


async def test_a_task_is_cancelled_while_its_answer_comes(database: str, run_id: UUID) -> None:
    """Whatever came first, the connection is whole, and the next call gets its own answer."""
    async with await open_connection(database) as conn:
        cancelled = 0
        for number in range(200):
            task = asyncio.create_task(get_run(conn, run_id))
            # A call takes a fraction of a millisecond.
            await asyncio.sleep(number % 20 / 20_000)
            task.cancel()
            await asyncio.wait([task])
            cancelled += task.cancelled()
            assert (await get_run(conn, run_id)).id == run_id
        assert cancelled


async def test_a_call_may_be_given_a_time(database: str, run_id: UUID, connect: Connect) -> None:
    holder = connect()
    async with await open_connection(database) as conn:
        with holder.transaction():
            holder.execute("SELECT FROM runstore.runs WHERE id = %s FOR UPDATE", (run_id,))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await complete_feature_run(conn, run_id)
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        assert (await complete_feature_run(conn, run_id)).status == "completed"


@DELETED
@pytest.mark.parametrize(
    "test",
    [
        test_calls_of_ours_and_statements_of_psycopg_take_turns,
        test_what_nobody_waits_for_costs_the_loop_nothing,
        test_a_connection_that_the_server_ends_leaves_nothing_behind,
        test_closed_connections_leave_nothing_behind,
        test_nobody_holds_a_connection_that_its_caller_has_dropped,
        test_more_than_a_socket_takes_is_sent,
        test_a_task_is_cancelled_while_its_answer_comes,
        test_a_call_may_be_given_a_time,
    ],
)
def test_the_same_holds_in_the_loop_that_many_servers_take(
    database: str, run_id: UUID, connect: Connect, test: Callable[..., Coroutine[Any, Any, None]]
) -> None:
    given = {"database": database, "run_id": run_id, "connect": connect}
    arguments = {name: given[name] for name in inspect.signature(test).parameters}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test(**arguments))
