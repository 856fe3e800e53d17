"""OpenAI Agents' SQLAlchemySession: the items of a conversation."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import orjson
from agents.extensions.memory import SQLAlchemySession
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from contestants import Sampler, Sizes, Work, sampler
from payloads import LIFE, events, payload
from peers.urls import sqlalchemy_url


def engine_of(dsn: str) -> AsyncEngine:
    return create_async_engine(sqlalchemy_url(dsn, "asyncpg"))


def new_session(engine: AsyncEngine) -> SQLAlchemySession:
    return SQLAlchemySession(str(uuid4()), engine=engine, create_tables=True)


def items(given: Sequence[tuple[str, dict[str, Any]]]) -> list[Any]:
    return [
        {"role": "assistant", "content": orjson.dumps(content).decode()} for _, content in given
    ]


@contextmanager
def append(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with written(dsn, sizes.operations, 1) as sample:
        yield sample


@contextmanager
def ingest(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with written(dsn, sizes.ingested, sizes.batch) as sample:
        yield sample


@contextmanager
def written(dsn: str, count: int, batch: int) -> Generator[Sampler]:
    given = events(count)
    with asyncio.Runner() as runner:
        engine = engine_of(dsn)

        async def work(session: SQLAlchemySession) -> None:
            for start in range(0, count, batch):
                await session.add_items(items(given[start : start + batch]))

        def prepare() -> Work:
            session = new_session(engine)
            return lambda: runner.run(work(session))

        yield sampler(prepare, count)
        runner.run(engine.dispose())


@contextmanager
def replay(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with asyncio.Runner() as runner:
        engine = engine_of(dsn)
        session = new_session(engine)
        given = items(events(sizes.replayed))
        for start in range(0, len(given), sizes.batch):
            runner.run(session.add_items(given[start : start + sizes.batch]))

        async def read() -> None:
            assert len(await session.get_items()) == sizes.replayed

        yield sampler(lambda: lambda: runner.run(read()), sizes.replayed)
        runner.run(engine.dispose())


@contextmanager
def live(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    """Let each operation of a life be an item."""
    with asyncio.Runner() as runner:
        engine = engine_of(dsn)

        async def client(number: int) -> None:
            for life in range(number, sizes.lives, sizes.clients):
                session = new_session(engine)
                for _ in range(LIFE):
                    await session.add_items(items([("message", payload(life))]))

        async def work() -> None:
            await asyncio.gather(*map(client, range(sizes.clients)))

        yield sampler(lambda: lambda: runner.run(work()), sizes.lives)
        runner.run(engine.dispose())
