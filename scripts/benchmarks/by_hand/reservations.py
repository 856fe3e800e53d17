"""W5 by hand: many workers take from one limit with a conditional UPDATE."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool

from contestants import Sampler, Sizes, Work, sampler
from preparation import AMOUNT, held, limit_of, new_quota

TAKE: Final = """
UPDATE runstore.usage_counters
SET held = held + %s
WHERE tenant_id = 'default'
    AND subject_id = %s
    AND quota_id = %s
    AND window_start = '-infinity'
    AND used + held + %s <= %s
RETURNING held
"""


Parameters = tuple[int, str, UUID, int, int]
Take = Callable[[Parameters], Awaitable[bool]]
"""Says whether the amount was taken."""
TakeAll = Callable[[Parameters], int]
"""Has all workers take what they can, and says how often the amount was taken."""


async def take(conn: AsyncConnection[Any], parameters: Parameters) -> bool:
    cursor = await conn.execute(TAKE, parameters)
    return await cursor.fetchone() is not None


@contextmanager
def reserve(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    """Give every worker, a task, a connection of its own."""

    async def connect() -> list[AsyncConnection[Any]]:
        return [await AsyncConnection.connect(dsn, autocommit=True) for _ in range(sizes.workers)]

    with asyncio.Runner() as runner:
        conns = runner.run(connect())
        with _sampler(
            dsn, sizes, _tasks(runner, sizes, [partial(take, conn) for conn in conns])
        ) as sample:
            yield sample
        for conn in conns:
            runner.run(conn.close())


@contextmanager
def reserve_through_pool(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    async def open_pool() -> AsyncConnectionPool[AsyncConnection[Any]]:
        pool = AsyncConnectionPool[AsyncConnection[Any]](
            dsn, kwargs={"autocommit": True}, min_size=1, max_size=sizes.workers, open=False
        )
        await pool.open()
        return pool

    with asyncio.Runner() as runner:
        pool = runner.run(open_pool())

        async def with_pool(parameters: Parameters) -> bool:
            async with pool.connection() as conn:
                return await take(conn, parameters)

        with _sampler(dsn, sizes, _tasks(runner, sizes, [with_pool] * sizes.workers)) as sample:
            yield sample
        runner.run(pool.close())


@contextmanager
def reserve_in_threads(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    """Give every worker, a thread, a connection of its own."""
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(sizes.workers))
        conns = [
            stack.enter_context(psycopg.connect(dsn, autocommit=True)) for _ in range(sizes.workers)
        ]

        def take_all(parameters: Parameters) -> int:
            def work(conn: Connection[Any]) -> int:
                return sum(
                    conn.execute(TAKE, parameters).fetchone() is not None
                    for _ in range(sizes.reservations // sizes.workers)
                )

            return sum(threads.map(work, conns))

        yield stack.enter_context(_sampler(dsn, sizes, take_all))


def _tasks(runner: asyncio.Runner, sizes: Sizes, workers: list[Take]) -> TakeAll:
    async def work(take: Take, parameters: Parameters) -> int:
        granted = 0
        for _ in range(sizes.reservations // sizes.workers):
            granted += await take(parameters)
        return granted

    async def take_all(parameters: Parameters) -> int:
        return sum(await asyncio.gather(*(work(worker, parameters) for worker in workers)))

    return lambda parameters: runner.run(take_all(parameters))


@contextmanager
def _sampler(dsn: str, sizes: Sizes, take_all: TakeAll) -> Generator[Sampler]:
    limit = limit_of(sizes.reservations)
    with psycopg.connect(dsn, autocommit=True) as conn:

        def prepare() -> Work:
            subject_id, quota_id = new_quota(conn, limit)

            def measured() -> None:
                granted = take_all((AMOUNT, subject_id, quota_id, AMOUNT, limit))
                assert granted * AMOUNT == held(conn, quota_id) == limit

            return measured

        yield sampler(prepare, sizes.reservations)
