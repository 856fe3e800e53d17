"""W5 with the library: many workers reserve from one limit, each for itself or through a gate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection

import runstore
from contestants import Sampler, Sizes, Work, sampler
from preparation import AMOUNT, held, limit_of, new_quota
from runstore import NewReservation, QuotaExceeded, QuotaGate

Reserve = Callable[[AsyncConnection[Any], NewReservation], Awaitable[object]]


@contextmanager
def reserve(
    dsn: str, sizes: Sizes, reserve: Reserve = runstore.reserve_usage
) -> Generator[Sampler]:
    limit = limit_of(sizes.reservations)

    async def connect() -> list[AsyncConnection[Any]]:
        return [await runstore.connect_async(dsn) for _ in range(sizes.workers)]

    with asyncio.Runner() as runner, psycopg.connect(dsn, autocommit=True) as conn:
        workers = runner.run(connect())

        async def work(worker: AsyncConnection[Any], subject_id: str) -> int:
            granted = 0
            for _ in range(sizes.reservations // sizes.workers):
                data = NewReservation(subject_id=subject_id, amounts={"tokens": AMOUNT})
                try:
                    await reserve(worker, data)
                except QuotaExceeded:
                    continue
                granted += 1
            return granted

        async def all_workers(subject_id: str) -> int:
            return sum(await asyncio.gather(*(work(worker, subject_id) for worker in workers)))

        def prepare() -> Work:
            subject_id, quota_id = new_quota(conn, limit)

            def measured() -> None:
                granted = runner.run(all_workers(subject_id))
                assert granted * AMOUNT == held(conn, quota_id) == limit

            return measured

        yield sampler(prepare, sizes.reservations)
        for worker in workers:
            runner.run(worker.close())


@contextmanager
def reserve_through_gate(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with reserve(dsn, sizes, QuotaGate().reserve_usage) as sample:
        yield sample
