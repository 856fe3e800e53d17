"""W1 with the library: append one event, or create one step, each in a commit of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import runstore
from contestants import Sampler, Sizes, Work, sampler
from payloads import events
from preparation import new_invocation, new_run, new_run_async
from runstore import NewAgentStep, NewRunEvent


@contextmanager
def append(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    given = events(sizes.operations)
    with runstore.connect(dsn) as conn:

        def prepare() -> Work:
            run_id = new_run(conn)

            def work() -> None:
                for type, payload in given:
                    event = NewRunEvent(type=type, payload=payload)
                    assert runstore.append_run_events(conn, run_id, [event])

            return work

        yield sampler(prepare, len(given))


@contextmanager
def append_through_pool(
    dsn: str, sizes: Sizes, pool_settings: dict[str, Any] | None = None
) -> Generator[Sampler]:
    given = events(sizes.operations)
    with runstore.open_pool(dsn, pool_settings=pool_settings) as pool:

        def prepare() -> Work:
            with pool.connection() as conn:
                run_id = new_run(conn)

            def work() -> None:
                for type, payload in given:
                    event = NewRunEvent(type=type, payload=payload)
                    with pool.connection() as conn:
                        assert runstore.append_run_events(conn, run_id, [event])

            return work

        yield sampler(prepare, len(given))


@contextmanager
def append_through_unchecked_pool(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with append_through_pool(dsn, sizes, {"check": None}) as sample:
        yield sample


@contextmanager
def append_through_async_pool(
    dsn: str, sizes: Sizes, pool_settings: dict[str, Any] | None = None
) -> Generator[Sampler]:
    given = events(sizes.operations)
    with asyncio.Runner() as runner:
        pool = runner.run(runstore.open_pool_async(dsn, pool_settings=pool_settings))

        async def create() -> UUID:
            async with pool.connection() as conn:
                return await new_run_async(conn)

        async def work(run_id: UUID) -> None:
            for type, payload in given:
                event = NewRunEvent(type=type, payload=payload)
                async with pool.connection() as conn:
                    assert await runstore.append_run_events(conn, run_id, [event])

        def prepare() -> Work:
            run_id = runner.run(create())
            return lambda: runner.run(work(run_id))

        yield sampler(prepare, len(given))
        runner.run(pool.close())


@contextmanager
def append_through_unchecked_async_pool(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with append_through_async_pool(dsn, sizes, {"check": None}) as sample:
        yield sample


@contextmanager
def step(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    given = events(sizes.operations)
    with runstore.connect(dsn) as conn:

        def prepare() -> Work:
            _, invocation_id = new_invocation(conn)

            def work() -> None:
                for kind, content in given:
                    data = NewAgentStep(
                        invocation_id=invocation_id, kind=kind, content=content, tokens=96
                    )
                    runstore.create_agent_step(conn, data)

            return work

        yield sampler(prepare, len(given))
