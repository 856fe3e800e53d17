"""Tails, walks and writers of every kind of source, as blocking tests use them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import UUID

import pytest
from psycopg import AsyncConnection, Connection
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from connections import Kind
from runstore import (
    AsyncioEventWriter,
    EventWriter,
    NewRunEvent,
    RunEvent,
    connect,
    connect_async,
    iter_run_events,
    open_pool,
    open_pool_async,
    tail_run_events,
)
from runstore.run_events import EventLike

T = TypeVar("T")

SECONDS = 60


@dataclass(frozen=True)
class Source:
    """What a tail or a writer is given."""

    kind: Kind
    pooled: bool

    def __str__(self) -> str:
        return f"{self.kind}-{'pool' if self.pooled else 'connection'}"


POOLS = [Source("blocking", pooled=True), Source("asyncio", pooled=True)]
CONNECTIONS = [Source("blocking", pooled=False), Source("asyncio", pooled=False)]
SOURCES = POOLS + CONNECTIONS


class Writer(Protocol):
    @property
    def last_seq(self) -> int | None: ...
    @property
    def unwritten(self) -> int: ...
    def append(self, event: EventLike) -> None: ...
    def flush(self) -> None: ...


class Streams(Protocol):
    """One connection or pool, and what is done with it."""

    source: Any

    def iterate(self, run_id: UUID, **options: Any) -> Generator[RunEvent, None, None]: ...
    def tail(self, run_id: UUID, **options: Any) -> Generator[RunEvent, None, None]: ...
    def writing(self, run_id: UUID, **options: Any) -> AbstractContextManager[Writer]: ...
    def enter(self, block: Any) -> AbstractContextManager[Any]:
        """Enter a notifier or a listener."""
        ...

    def execute(self, sql: str) -> list[Any]:
        """Run a statement on the source, which must be usable and outside a transaction."""
        ...

    def close(self) -> None:
        """Close the source."""
        ...

    def after_each_loan(self, monkeypatch: pytest.MonkeyPatch, call: Callable[[], None]) -> None:
        """Do something whenever a connection is back in the pool, before its user goes on."""
        ...


class BlockingStreams:
    def __init__(self, source: Connection[Any] | ConnectionPool[Any]) -> None:
        self.source = source

    def iterate(self, run_id: UUID, **options: Any) -> Generator[RunEvent, None, None]:
        assert isinstance(self.source, Connection)
        return iter_run_events(self.source, run_id, **options)

    def tail(self, run_id: UUID, **options: Any) -> Generator[RunEvent, None, None]:
        return tail_run_events(self.source, run_id, **options)

    def writing(self, run_id: UUID, **options: Any) -> AbstractContextManager[Writer]:
        return EventWriter(self.source, run_id, **options)

    def enter(self, block: AbstractContextManager[T]) -> AbstractContextManager[T]:
        return block

    def execute(self, sql: Any) -> list[Any]:
        if isinstance(self.source, Connection):
            assert self.source.info.transaction_status is TransactionStatus.IDLE
            return self.source.execute(sql).fetchall()
        conn: Connection[Any]
        with self.source.connection(timeout=10) as conn:
            assert conn.info.transaction_status is TransactionStatus.IDLE
            return conn.execute(sql).fetchall()

    def close(self) -> None:
        self.source.close()

    def after_each_loan(self, monkeypatch: pytest.MonkeyPatch, call: Callable[[], None]) -> None:
        pool: Any = self.source
        lend = pool.connection

        @contextmanager
        def connection(**options: Any) -> Generator[Any]:
            with lend(**options) as conn:
                yield conn
            call()

        monkeypatch.setattr(pool, "connection", connection)


class Loop:
    """An event loop that runs in a thread of its own all the time, as it does in a server."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS)

    def close(self) -> None:
        self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class AsyncioWriter:
    def __init__(self, writer: AsyncioEventWriter, loop: Loop) -> None:
        self._writer = writer
        self._loop = loop

    @property
    def last_seq(self) -> int | None:
        return self._writer.last_seq

    @property
    def unwritten(self) -> int:
        return self._writer.unwritten

    def append(self, event: EventLike) -> None:
        self._loop.run(self._writer.append(event))

    def flush(self) -> None:
        self._loop.run(self._writer.flush())


class AsyncioStreams:
    def __init__(self, source: AsyncConnection[Any] | AsyncConnectionPool[Any], loop: Loop) -> None:
        self.source = source
        self._loop = loop

    def iterate(self, run_id: UUID, **options: Any) -> Generator[RunEvent, None, None]:
        assert isinstance(self.source, AsyncConnection)
        return self._each(iter_run_events(self.source, run_id, **options))

    def tail(self, run_id: UUID, **options: Any) -> Generator[RunEvent, None, None]:
        return self._each(tail_run_events(self.source, run_id, **options))

    def _each(self, events: Any) -> Generator[RunEvent, None, None]:
        async def following() -> RunEvent | None:
            return await anext(events, None)

        try:
            while event := self._loop.run(following()):
                yield event
        finally:
            self._loop.run(events.aclose())

    @contextmanager
    def writing(self, run_id: UUID, **options: Any) -> Generator[Writer]:
        with self.enter(EventWriter(self.source, run_id, **options)) as writer:
            yield AsyncioWriter(writer, self._loop)

    @contextmanager
    def enter(self, block: AbstractAsyncContextManager[T]) -> Generator[T]:
        async def enter() -> T:
            return await block.__aenter__()

        async def leave(error: BaseException | None) -> None:
            await block.__aexit__(type(error) if error else None, error, None)

        entered = self._loop.run(enter())
        try:
            yield entered
        except BaseException as error:
            self._loop.run(leave(error))
            raise
        self._loop.run(leave(None))

    def execute(self, sql: Any) -> list[Any]:
        async def execute(conn: AsyncConnection[Any]) -> list[Any]:
            assert conn.info.transaction_status is TransactionStatus.IDLE
            return await (await conn.execute(sql)).fetchall()

        async def borrow(pool: AsyncConnectionPool[Any]) -> list[Any]:
            async with pool.connection(timeout=10) as conn:
                return await execute(conn)

        if isinstance(self.source, AsyncConnection):
            return self._loop.run(execute(self.source))
        return self._loop.run(borrow(self.source))

    def close(self) -> None:
        self._loop.run(self.source.close())

    def after_each_loan(self, monkeypatch: pytest.MonkeyPatch, call: Callable[[], None]) -> None:
        pool: Any = self.source
        lend = pool.connection

        @asynccontextmanager
        async def connection(**options: Any) -> AsyncGenerator[Any]:
            async with lend(**options) as conn:
                yield conn
            call()

        monkeypatch.setattr(pool, "connection", connection)


@contextmanager
def streams(
    source: Source, dsn: str, connections: Any = None, **settings: Any
) -> Generator[Streams]:
    """Open a source. A pool has one connection, so that a tail that held it would be noticed.

    It does not check connections before it lends them: what dies is found by who uses it.
    `connections` is a class of them.
    """
    open_one: Any = connect if source.kind == "blocking" else connect_async
    if source.pooled:
        open_one = open_pool if source.kind == "blocking" else open_pool_async
        pool_settings = {"check": None} | ({"connection_class": connections} if connections else {})
        settings = {"max_size": 1, "pool_settings": pool_settings} | settings
    elif connections:
        open_one = partial(connections.connect, autocommit=True)
    if source.kind == "blocking":
        with open_one(dsn, **settings) as opened:
            yield BlockingStreams(opened)
        return
    loop = Loop()
    try:
        open_it: Coroutine[Any, Any, Any] = open_one(dsn, **settings)
        opened_async = AsyncioStreams(loop.run(open_it), loop)
        try:
            yield opened_async
        finally:
            opened_async.close()
    finally:
        loop.close()


class Follower:
    """A tail in a thread of its own, and what it has seen so far."""

    def __init__(self, streams: Streams, run_id: UUID, **options: Any) -> None:
        self.seen: list[RunEvent] = []
        self._end: Future[None] = Future()
        tail = streams.tail(run_id, **options)
        threading.Thread(target=self._follow, args=(tail,), daemon=True).start()

    def _follow(self, tail: Generator[RunEvent, None, None]) -> None:
        try:
            for event in tail:
                self.seen.append(event)
        except BaseException as error:  # noqa: BLE001 - `all` raises it in the test's thread.
            self._end.set_exception(error)
        else:
            self._end.set_result(None)

    @property
    def ended(self) -> bool:
        return self._end.done()

    def all(self) -> list[RunEvent]:
        """Wait for the tail's end, and return all that it has seen or raise its error."""
        self._end.result(SECONDS)
        return self.seen


def numbers(events: list[RunEvent]) -> list[int]:
    return [event.seq for event in events]


def tokens(count: int, start: int = 0) -> list[NewRunEvent]:
    return [NewRunEvent(type="token", payload={"n": start + n}) for n in range(count)]


def wait_until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.002)
