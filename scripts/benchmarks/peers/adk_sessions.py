"""Google's ADK: the events of a session in its DatabaseSessionService."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

import orjson
from google.adk.events import Event
from google.adk.sessions import DatabaseSessionService, Session
from google.genai.types import Content, Part

from contestants import Sampler, Sizes, Work, sampler
from payloads import LIFE, events, payload
from peers.urls import sqlalchemy_url

APP = "bench"
USER = "user"


def event_of(given: object) -> Event:
    text = orjson.dumps(given).decode()
    return Event(author="model", content=Content(role="model", parts=[Part(text=text)]))


async def new_session(service: DatabaseSessionService) -> Session:
    return await service.create_session(app_name=APP, user_id=USER)


async def fill(service: DatabaseSessionService, session: Session, count: int) -> None:
    for _, given in events(count):
        await service.append_event(session, event_of(given))


@contextmanager
def append(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with asyncio.Runner() as runner:
        service = DatabaseSessionService(sqlalchemy_url(dsn, "asyncpg"))

        def prepare() -> Work:
            session = runner.run(new_session(service))
            return lambda: runner.run(fill(service, session, sizes.operations))

        yield sampler(prepare, sizes.operations)
        runner.run(service.close())


@contextmanager
def replay(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    # Filling it takes so long that a tenth has to do.
    count = max(sizes.replayed // 10, 1)
    with asyncio.Runner() as runner:
        service = DatabaseSessionService(sqlalchemy_url(dsn, "asyncpg"))
        session = runner.run(new_session(service))
        runner.run(fill(service, session, count))

        async def read() -> None:
            found = await service.get_session(app_name=APP, user_id=USER, session_id=session.id)
            assert found
            assert len(found.events) == count

        yield sampler(lambda: lambda: runner.run(read()), count)
        runner.run(service.close())


@contextmanager
def live(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    """Let a life be a session and each of its other operations an event."""
    with asyncio.Runner() as runner:
        service = DatabaseSessionService(sqlalchemy_url(dsn, "asyncpg"))

        async def client(number: int) -> None:
            for life in range(number, sizes.lives, sizes.clients):
                given = payload(life)
                session = await new_session(service)
                for _ in range(LIFE - 1):
                    await service.append_event(session, event_of(given))

        async def work() -> None:
            await asyncio.gather(*map(client, range(sizes.clients)))

        yield sampler(lambda: lambda: runner.run(work()), sizes.lives)
        runner.run(service.close())
