"""Tasks cancelled wherever they wait: the connection is usable or closed, and the pool whole."""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool

import runstore
from batched_writes import BATCHED_WRITES, BatchedWrite, course_of, make_batches_small
from connections import Caller
from invariants import broken
from laboratory import arrange, await_rollback, repeat, shape, stored
from reads import OTHERS, reads
from runstore import (
    AsyncioEventWriter,
    EventWriter,
    NewChatRun,
    NewRunEvent,
    QuotaGate,
    append_run_events,
    connect_async,
    create_run,
    get_run_head,
    open_pool_async,
    pipeline,
    read_run_events,
    run_transaction,
    transaction,
)
from sessions import open_session
from streams import tokens
from suspensions import Suspensions
from usage_factories import new_reservation
from writes import WRITERS, WRITES, Arguments, Write, public_functions, public_writes

POOLED = 2

Pool = AsyncConnectionPool[AsyncConnection[Any]]
Act = Callable[[], Coroutine[Any, Any, Any]]


@pytest.fixture
async def pool(laboratory: str) -> AsyncIterator[Pool]:
    async with await open_pool_async(
        laboratory, min_size=POOLED, max_size=POOLED, application_name="cancelled"
    ) as pool:
        await pool.wait()
        yield pool


async def call(
    pool: Pool, function: Callable[..., Any], arguments: Arguments, *, in_block: bool = False
) -> Any:
    """Call a function on a connection of the pool, and take all that it gives."""
    args, kwargs = arguments
    async with pool.connection() as conn, transaction(conn) if in_block else nullcontext():
        given = function(conn, *args, **kwargs)
        return await given if inspect.isawaitable(given) else [each async for each in given]


async def cancelled_at(suspension: int, act: Act) -> bool:
    """Cancel an act at one of its suspensions; say whether it came that far."""
    suspensions = Suspensions(act(), suspension)

    async def run() -> None:
        await suspensions

    async with asyncio.timeout(30):
        [done], _ = await asyncio.wait([asyncio.create_task(run())])
    if not done.cancelled():
        # The cancellation came too late to be heard, or did not come.
        assert done.exception() is None
    return suspensions.count >= suspension


async def check(pool: Pool) -> None:
    """Take all connections of the pool at once: there are as many as before, and all work."""
    async with asyncio.timeout(10):
        async with pool.connection() as first, pool.connection() as second:
            for conn in (first, second):
                assert conn.info.transaction_status is TransactionStatus.IDLE
                await (await conn.execute("SELECT 1")).fetchall()
    assert pool.get_stats()["pool_size"] == POOLED


def test_every_public_function_is_here(observer: Caller) -> None:
    writes = {write.public_name for write in [*WRITES, *BATCHED_WRITES]} | WRITERS
    here = reads(observer).keys() | writes
    assert here | OTHERS == public_functions().keys() | public_writes()


@pytest.mark.parametrize("write", WRITES, ids=str)
async def test_a_write_that_is_cancelled_anywhere_is_done_once_when_it_is_repeated(
    observer: Caller, pool: Pool, laboratory: str, write: Write
) -> None:
    in_block = not write.alone
    arguments = arrange(observer, write)
    before = stored(observer, write)
    await call(pool, write.function, arguments, in_block=in_block)
    done = shape(before, stored(observer, write))

    with open_session("blocking", laboratory) as healthy:
        suspension, reached = 0, True
        while reached:
            suspension += 1
            arguments = arrange(observer, write)
            before, wrong = stored(observer, write), broken(observer)

            def act(arguments: Arguments = arguments) -> Coroutine[Any, Any, Any]:
                return call(pool, write.function, arguments, in_block=in_block)

            reached = await cancelled_at(suspension, act)
            await check(pool)
            await_rollback(observer)
            left = stored(observer, write)
            happened = left != before
            assert shape(before, left) in ({}, done)
            assert broken(observer) == ({} if happened else wrong)
            repeat(healthy, write, arguments, happened=happened)
            assert shape(before, stored(observer, write)) == done
    # The wait for BEGIN, for a statement and for COMMIT; or a gate's for others and its statement.
    assert suspension > (2 if write.alone else 3)


@pytest.mark.parametrize("write", BATCHED_WRITES, ids=str)
async def test_a_batched_write_that_is_cancelled_anywhere_is_finished_when_it_is_repeated(
    observer: Caller,
    pool: Pool,
    laboratory: str,
    write: BatchedWrite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_batches_small(monkeypatch)
    course = course_of(write, observer, "blocking", laboratory)

    def act() -> Coroutine[Any, Any, Any]:
        return call(pool, write.function, course.arguments)

    with open_session("blocking", laboratory) as healthy:
        suspension, reached = 0, True
        while reached:
            suspension += 1
            course.begin_again()
            reached = await cancelled_at(suspension, act)
            await check(pool)
            await_rollback(observer)
            left = course.left()
            assert left in course.states
            course.finish(left, healthy)
    # Some answers are there before they are waited for.
    assert suspension > len(course.states) / 2


async def test_a_read_that_is_cancelled_anywhere_leaves_the_pool_whole(
    observer: Caller, pool: Pool
) -> None:
    arrange(observer, WRITES[0])
    for name, arguments in reads(observer).items():

        def act(name: str = name, arguments: Arguments = arguments) -> Coroutine[Any, Any, Any]:
            return call(pool, getattr(runstore, name), arguments)

        suspension = 1
        while await cancelled_at(suspension, act):
            await check(pool)
            suspension += 1
        assert suspension > 1, name


GIVEN = tokens(8)


async def give(writer: AsyncioEventWriter, told: list[str], *, goes_on: bool) -> None:
    """Give events that are written because they are many, by a flush, and at the block's end.

    Who goes on gives an event again that the writer has not taken when its append is cancelled.
    """
    borne = [asyncio.CancelledError] if goes_on else []
    try:
        async with writer:
            for place, event in enumerate(GIVEN):
                while (writer.last_seq or 0) + writer.unwritten == place:
                    with suppress(*borne):
                        await writer.append(event)
                if place == 4:
                    with suppress(*borne):
                        await writer.flush()
    except asyncio.CancelledError as error:
        told += getattr(error, "__notes__", ())
        raise


@pytest.mark.parametrize("goes_on", [False, True], ids=["leaves", "goes on"])
@pytest.mark.parametrize("pooled", [True, False], ids=["pool", "connection"])
async def test_a_writer_that_is_cancelled_anywhere_says_what_it_does_not_know(
    observer: Caller, pool: Pool, *, pooled: bool, goes_on: bool
) -> None:
    suspension, reached = 0, True
    while reached:
        suspension += 1
        run_id = observer(create_run, NewChatRun()).id
        told: list[str] = []
        async with nullcontext(pool) if pooled else pool.connection() as source:
            writer = EventWriter(source, run_id, max_delay=3600, max_events=2)
            act = partial(give, writer, told, goes_on=goes_on)
            reached = await cancelled_at(suspension, act)
        await check(pool)
        await_rollback(observer)

        known, unknown = writer.last_seq or 0, writer.unwritten
        written = len(log(observer, run_id))
        assert known <= written <= known + unknown
        assert not unknown or f"not known to be written: {unknown}" in " ".join(told)
        assert log(observer, run_id) == [event.payload for event in GIVEN[:written]]

        async with EventWriter(pool, run_id) as another:
            for event in GIVEN[written:]:
                await another.append(event)
        assert log(observer, run_id) == [event.payload for event in GIVEN]
    assert suspension > 5


def log(observer: Caller, run_id: UUID) -> list[Any]:
    return [event.payload for event in observer(read_run_events, run_id).events]


async def others(pool: Pool, dsn: str, run_id: Any) -> dict[str, Act]:
    """Return what else is awaited, by its name."""
    gate = QuotaGate()

    async def connects() -> None:
        # psycopg's own block is not safe: cancelled while it commits, it does not close.
        await (await connect_async(dsn, application_name="cancelled")).close()

    async def opens_a_pool() -> None:
        async with await open_pool_async(dsn, application_name="cancelled") as other:
            await other.wait()

    async def sends_in_a_pipeline() -> None:
        async with pool.connection() as conn, pipeline(conn) as calls:
            await calls.send(create_run, NewChatRun())
            await calls.send(create_run, NewChatRun())

    async def runs_a_transaction() -> None:
        async def work(conn: AsyncConnection[Any]) -> None:
            await create_run(conn, NewChatRun())
            await create_run(conn, NewChatRun())

        await run_transaction(pool, work)

    async def reserves_through_a_gate() -> None:
        await gate.reserve_usage(pool, new_reservation())

    async def imports() -> None:
        events = [NewRunEvent(type="token")] * 3
        async with pool.connection() as conn:
            await runstore.import_run_events(conn, run_id, events)

    return {
        act.__name__: act
        for act in (
            connects,
            opens_a_pool,
            sends_in_a_pipeline,
            runs_a_transaction,
            reserves_through_a_gate,
            imports,
        )
    }


async def test_what_else_is_awaited_may_be_cancelled_anywhere(
    observer: Caller, pool: Pool, laboratory: str
) -> None:
    arrange(observer, WRITES[0])
    run_id = observer(create_run, NewChatRun()).id
    before = await held(observer, pool)
    for name, act in (await others(pool, laboratory, run_id)).items():
        suspension = 1
        while await cancelled_at(suspension, act):
            await check(pool)
            assert broken(observer) == {}
            suspension += 1
        assert suspension > 1, name
    assert await held(observer, pool) == before


async def test_a_thousand_cancellations_leak_nothing(observer: Caller, pool: Pool) -> None:
    arrange(observer, WRITES[0])
    run_id = observer(create_run, NewChatRun()).id
    before = await held(observer, pool)

    async def append(number: int) -> int:
        async with pool.connection() as conn:
            return await append_run_events(
                conn, run_id, [NewRunEvent(type="token", payload={"n": number})]
            )

    numbers = itertools.count()

    async def cancel_in_turn(times: int) -> None:
        while times:
            number = next(numbers)
            task = asyncio.create_task(append(number))
            for _ in range(number % 13):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            # Of some, the cancellation came too late.
            times -= task.cancelled()

    async with asyncio.timeout(60):
        await asyncio.gather(*(cancel_in_turn(1000 // POOLED) for _ in range(POOLED)))
    await check(pool)

    assert await held(observer, pool) == before
    assert broken(observer) == {}
    last_seq = observer(get_run_head, run_id).last_seq
    counts = observer.execute(
        "SELECT count(*), count(DISTINCT payload) FROM runstore.run_events WHERE run_id = %s",
        (run_id,),
    )
    assert counts == [(last_seq, last_seq)]


async def held(observer: Caller, pool: Pool) -> dict[str, int]:
    """Count what could leak, once the server has noticed what was closed."""
    # An attempt to connect that was cancelled is closed when it is collected.
    gc.collect()
    deadline = time.monotonic() + 10
    while sessions(observer) != POOLED:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    return {
        "connections of the pool": pool.get_stats()["pool_size"],
        "free connections": pool.get_stats()["pool_available"],
        "tasks": len(asyncio.all_tasks()),
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
    }


def sessions(observer: Caller) -> int:
    answer = observer.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'cancelled'"
    )
    return int(answer[0][0])
