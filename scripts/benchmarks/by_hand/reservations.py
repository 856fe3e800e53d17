"""W5 by hand: many workers take from one limit with a conditional UPDATE."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

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


@contextmanager
def reserve(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    limit = limit_of(sizes.reservations)

    async def connect() -> list[AsyncConnection[Any]]:
        return [await AsyncConnection.connect(dsn, autocommit=True) for _ in range(sizes.workers)]

    with asyncio.Runner() as runner, psycopg.connect(dsn, autocommit=True) as conn:
        workers = runner.run(connect())

        async def work(worker: AsyncConnection[Any], subject_id: str, quota_id: UUID) -> int:
            granted = 0
            for _ in range(sizes.reservations // sizes.workers):
                cursor = await worker.execute(TAKE, (AMOUNT, subject_id, quota_id, AMOUNT, limit))
                granted += await cursor.fetchone() is not None
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
        for worker in workers:
            runner.run(worker.close())
