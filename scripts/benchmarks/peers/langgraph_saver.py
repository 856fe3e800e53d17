"""LangGraph's PostgresSaver: a step of a graph is a checkpoint and the writes that follow it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from contestants import Sampler, Sizes, Work, sampler
from payloads import LIFE, events, payload

Config = dict[str, Any]


def new_thread() -> Config:
    return {"configurable": {"thread_id": str(uuid4()), "checkpoint_ns": ""}}


def checkpoint_of(number: int, given: Any) -> Checkpoint:
    """Return the checkpoint after a step that left something in one channel."""
    checkpoint = empty_checkpoint()
    checkpoint["id"] = str(uuid6(clock_seq=number))
    checkpoint["channel_values"] = {"messages": [given]}
    checkpoint["channel_versions"] = {"messages": str(number)}
    return checkpoint


def step(saver: PostgresSaver, config: Config, number: int, given: Any) -> Config:
    versions = {"messages": str(number)}
    metadata = {"source": "loop", "step": number}
    config = saver.put(config, checkpoint_of(number, given), metadata, versions)
    saver.put_writes(config, [("messages", given)], str(uuid4()))
    return config


@contextmanager
def append(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    given = events(sizes.operations)
    with PostgresSaver.from_conn_string(dsn) as saver:
        saver.setup()

        def work() -> None:
            config = new_thread()
            for number, (_, content) in enumerate(given, 1):
                config = step(saver, config, number, content)

        yield sampler(lambda: work, len(given))


@contextmanager
def ingest(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    given = events(sizes.ingested)
    with PostgresSaver.from_conn_string(dsn) as saver:
        saver.setup()

        def prepare() -> Work:
            config = saver.put(new_thread(), checkpoint_of(1, {}), {"step": 1}, {})

            def work() -> None:
                for start in range(0, len(given), sizes.batch):
                    batch = given[start : start + sizes.batch]
                    saver.put_writes(config, batch, str(uuid4()))

            return work

        yield sampler(prepare, len(given))


@contextmanager
def replay(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with PostgresSaver.from_conn_string(dsn) as saver:
        saver.setup()
        thread = config = new_thread()
        # Its list takes so long that a tenth has to do.
        given = events(max(sizes.replayed // 10, 1))
        for number, (_, content) in enumerate(given, 1):
            config = step(saver, config, number, content)

        def work() -> None:
            assert sum(1 for _ in saver.list(thread)) == len(given)

        yield sampler(lambda: work, len(given))


@contextmanager
def live(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    """Let each operation of a life be a step of a graph."""

    async def start() -> AsyncPostgresSaver:
        settings = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
        pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            dsn, min_size=sizes.clients, max_size=sizes.clients, kwargs=settings, open=False
        )
        await pool.open()
        saver = AsyncPostgresSaver(pool)
        await saver.setup()
        return saver

    async def one_life(saver: AsyncPostgresSaver, number: int) -> None:
        config = new_thread()
        given = payload(number)
        for place in range(1, LIFE + 1):
            checkpoint = checkpoint_of(place, given)
            versions = {"messages": str(place)}
            config = await saver.aput(config, checkpoint, {"step": place}, versions)
            await saver.aput_writes(config, [("messages", given)], str(uuid4()))

    async def client(saver: AsyncPostgresSaver, number: int) -> None:
        for life in range(number, sizes.lives, sizes.clients):
            await one_life(saver, life)

    async def work(saver: AsyncPostgresSaver) -> None:
        await asyncio.gather(*(client(saver, number) for number in range(sizes.clients)))

    with asyncio.Runner() as runner:
        saver = runner.run(start())
        yield sampler(lambda: lambda: runner.run(work(saver)), sizes.lives)
        runner.run(saver.conn.close())
