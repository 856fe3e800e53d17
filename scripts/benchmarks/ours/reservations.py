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

Reserve = Callable[[NewReservation], Awaitable[object]]


@contextmanager
def reserve(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    """Give every worker a connection of its own."""

    async def connect() -> list[AsyncConnection[Any]]:
        return [await runstore.connect_async(dsn) for _ in range(sizes.workers)]

    def with_connection(conn: AsyncConnection[Any]) -> Reserve:
        return lambda data: runstore.reserve_usage(conn, data)

    with asyncio.Runner() as runner:
        conns = runner.run(connect())
        with _sampler(runner, dsn, sizes, [with_connection(conn) for conn in conns]) as sample:
            yield sample
        for conn in conns:
            runner.run(conn.close())


@contextmanager
def reserve_through_pool(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with asyncio.Runner() as runner:
        pool = runner.run(runstore.open_pool_async(dsn, max_size=sizes.workers))

        async def with_pool(data: NewReservation) -> None:
            async with pool.connection() as conn:
                await runstore.reserve_usage(conn, data)

        with _sampler(runner, dsn, sizes, [with_pool] * sizes.workers) as sample:
            yield sample
        runner.run(pool.close())


@contextmanager
def reserve_through_gate(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with asyncio.Runner() as runner:
        pool, gate = runner.run(runstore.open_pool_async(dsn, max_size=sizes.workers)), QuotaGate()

        def with_gate(data: NewReservation) -> Awaitable[object]:
            return gate.reserve_usage(pool, data)

        with _sampler(runner, dsn, sizes, [with_gate] * sizes.workers) as sample:
            yield sample
        runner.run(pool.close())


@contextmanager
def _sampler(
    runner: asyncio.Runner, dsn: str, sizes: Sizes, workers: list[Reserve]
) -> Generator[Sampler]:
    limit = limit_of(sizes.reservations)
    with psycopg.connect(dsn, autocommit=True) as conn:

        async def work(reserve: Reserve, subject_id: str) -> int:
            granted = 0
            for _ in range(sizes.reservations // sizes.workers):
                try:
                    await reserve(NewReservation(subject_id=subject_id, amounts={"tokens": AMOUNT}))
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
