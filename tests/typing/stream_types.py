"""What type checkers make of streams: nothing here runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any, assert_type
from uuid import UUID

from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from runstore import (
    AsyncioEventWriter,
    BlockingEventWriter,
    EventWriter,
    NewRunEvent,
    RunEvent,
    RunListener,
    RunNotifier,
    iter_run_events,
    listen_run_events,
    notify_run_events,
    open_pool,
    open_pool_async,
    tail_run_events,
)

Events = Generator[RunEvent, None, None]
AsyncEvents = AsyncGenerator[RunEvent, None]


def blocking(
    conn: Connection[Any], pool: ConnectionPool[Connection[Any]], id: UUID, event: NewRunEvent
) -> None:
    assert_type(iter_run_events(conn, id), Events)
    assert_type(tail_run_events(conn, id), Events)
    assert_type(tail_run_events(pool, id, after=3), Events)
    assert_type(tail_run_events(open_pool("dsn"), id), Events)
    assert_type(EventWriter(conn, id), BlockingEventWriter)
    with EventWriter(pool, id, max_events=10) as writer:
        writer.append(event)
        assert_type(writer.last_seq, int | None)
    with notify_run_events("dsn") as notifier, listen_run_events(conn) as listener:
        assert_type(notifier, RunNotifier)
        assert_type(listener, RunListener)


async def asyncio(
    conn: AsyncConnection[Any],
    pool: AsyncConnectionPool[AsyncConnection[Any]],
    id: UUID,
    event: NewRunEvent,
) -> None:
    assert_type(iter_run_events(conn, id), AsyncEvents)
    assert_type(tail_run_events(conn, id), AsyncEvents)
    assert_type(tail_run_events(pool, id, after=3), AsyncEvents)
    assert_type(tail_run_events(await open_pool_async("dsn"), id), AsyncEvents)
    assert_type(EventWriter(conn, id), AsyncioEventWriter)
    async with EventWriter(pool, id, max_events=10) as writer:
        await writer.append(event)
        assert_type(writer.last_seq, int | None)
    async with notify_run_events("dsn") as notifier, listen_run_events(conn) as listener:
        assert_type(notifier, RunNotifier)
        assert_type(listener, RunListener)
