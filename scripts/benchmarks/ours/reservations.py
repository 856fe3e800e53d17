"""W5 with the library: many workers reserve from one limit, each for itself or through a gate."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import psycopg
from psycopg import AsyncConnection

import runstore
from contestants import Sampler, Sizes, Work, sampler
from preparation import AMOUNT, held, limit_of, new_quota
from runstore import NewReservation, QuotaExceeded, QuotaGate

Reserve = Callable[[NewReservation], Awaitable[object]]
ReserveAll = Callable[[str], int]
"""Has all workers reserve what a subject may use, and says how often one did."""


def new_reservation(subject_id: str) -> NewReservation:
    return NewReservation(subject_id=subject_id, amounts={"tokens": AMOUNT})


@contextmanager
def reserve(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    """Give every worker, a task, a connection of its own."""

    async def connect() -> list[AsyncConnection[Any]]:
        return [await runstore.connect_async(dsn) for _ in range(sizes.workers)]

    def with_connection(conn: AsyncConnection[Any]) -> Reserve:
        return lambda data: runstore.reserve_usage(conn, data)

    with asyncio.Runner() as runner:
        conns = runner.run(connect())
        workers = [with_connection(conn) for conn in conns]
        with _sampler(dsn, sizes, _tasks(runner, sizes, workers)) as sample:
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

        with _sampler(dsn, sizes, _tasks(runner, sizes, [with_pool] * sizes.workers)) as sample:
            yield sample
        runner.run(pool.close())


@contextmanager
def reserve_through_gate(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with asyncio.Runner() as runner:
        pool, gate = runner.run(runstore.open_pool_async(dsn, max_size=sizes.workers)), QuotaGate()

        def with_gate(data: NewReservation) -> Awaitable[object]:
            return gate.reserve_usage(pool, data)

        with _sampler(dsn, sizes, _tasks(runner, sizes, [with_gate] * sizes.workers)) as sample:
            yield sample
        runner.run(pool.close())


@contextmanager
def reserve_in_threads(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    """Give every worker, a thread, a connection of its own."""
    with ExitStack() as stack:
        conns = [stack.enter_context(runstore.connect(dsn)) for _ in range(sizes.workers)]
        workers = [partial(runstore.reserve_usage, conn) for conn in conns]
        yield stack.enter_context(_sampler_in_threads(dsn, sizes, workers))


@contextmanager
def reserve_through_gate_in_threads(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with runstore.open_pool(dsn, max_size=sizes.workers) as pool:
        workers = [partial(QuotaGate().reserve_usage, pool)] * sizes.workers
        with _sampler_in_threads(dsn, sizes, workers) as sample:
            yield sample


def _tasks(runner: asyncio.Runner, sizes: Sizes, workers: list[Reserve]) -> ReserveAll:
    async def work(reserve: Reserve, subject_id: str) -> int:
        granted = 0
        for _ in range(sizes.reservations // sizes.workers):
            try:
                await reserve(new_reservation(subject_id))
            except QuotaExceeded:
                continue
            granted += 1
        return granted

    async def reserve_all(subject_id: str) -> int:
        return sum(await asyncio.gather(*(work(worker, subject_id) for worker in workers)))

    return lambda subject_id: runner.run(reserve_all(subject_id))


@contextmanager
def _sampler_in_threads(
    dsn: str, sizes: Sizes, workers: Sequence[Callable[[NewReservation], object]]
) -> Generator[Sampler]:
    with ThreadPoolExecutor(sizes.workers) as threads:

        def reserve_all(subject_id: str) -> int:
            def work(reserve: Callable[[NewReservation], object]) -> int:
                granted = 0
                for _ in range(sizes.reservations // sizes.workers):
                    try:
                        reserve(new_reservation(subject_id))
                    except QuotaExceeded:
                        continue
                    granted += 1
                return granted

            return sum(threads.map(work, workers))

        with _sampler(dsn, sizes, reserve_all) as sample:
            yield sample


@contextmanager
def _sampler(dsn: str, sizes: Sizes, reserve_all: ReserveAll) -> Generator[Sampler]:
    limit = limit_of(sizes.reservations)
    with psycopg.connect(dsn, autocommit=True) as conn:

        def prepare() -> Work:
            subject_id, quota_id = new_quota(conn, limit)

            def measured() -> None:
                granted = reserve_all(subject_id)
                assert granted * AMOUNT == held(conn, quota_id) == limit

            return measured

        yield sampler(prepare, sizes.reservations)
