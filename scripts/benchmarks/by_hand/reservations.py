"""W5 by hand: many workers take from one limit with a conditional UPDATE."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
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


async def take(conn: AsyncConnection[Any], parameters: Parameters) -> bool:
    cursor = await conn.execute(TAKE, parameters)
    return await cursor.fetchone() is not None


@contextmanager
def reserve(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    """Give every worker a connection of its own."""

    async def connect() -> list[AsyncConnection[Any]]:
        return [await AsyncConnection.connect(dsn, autocommit=True) for _ in range(sizes.workers)]

    with asyncio.Runner() as runner:
        conns = runner.run(connect())
        with _sampler(runner, dsn, sizes, [partial(take, conn) for conn in conns]) as sample:
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

        with _sampler(runner, dsn, sizes, [with_pool] * sizes.workers) as sample:
            yield sample
        runner.run(pool.close())


@contextmanager
def _sampler(
    runner: asyncio.Runner, dsn: str, sizes: Sizes, workers: list[Take]
) -> Generator[Sampler]:
    limit = limit_of(sizes.reservations)
    with psycopg.connect(dsn, autocommit=True) as conn:

        async def work(take: Take, subject_id: str, quota_id: UUID) -> int:
            granted = 0
            for _ in range(sizes.reservations // sizes.workers):
                granted += await take((AMOUNT, subject_id, quota_id, AMOUNT, limit))
            return granted

        async def all_workers(subject_id: str, quota_id: UUID) -> int:
            return sum(
                await asyncio.gather(*(work(worker, subject_id, quota_id) for worker in workers))
            )

        def prepare() -> Work:
            subject_id, quota_id = new_quota(conn, limit)

            def measured() -> None:
                granted = runner.run(all_workers(subject_id, quota_id))
                assert granted * AMOUNT == held(conn, quota_id) == limit

            return measured

        yield sampler(prepare, sizes.reservations)
