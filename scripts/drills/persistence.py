"""Calls that are repeated until they are answered, through a pool of either kind."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from runstore import is_retryable, open_pool, open_pool_async, tail_run_events, transaction
from runstore.run_events import RunEvent

PATIENCE_SECONDS = 60
PAUSE_SECONDS = 0.05
POOL_SECONDS = 2.0

Call = Callable[[Any], Any]
"""One function of the library on a connection; on an asyncio one it gives what is awaited."""


@dataclass
class Tally:
    """When calls were answered, and which errors they met before."""

    answered: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def silence(self, start: float, end: float) -> float:
        """Return the longest time between these two in which no call was answered."""
        times = [start, *(moment for moment in self.answered if start < moment < end), end]
        return max(after - before for before, after in itertools.pairwise(times))


class Source(Protocol):
    """A pool of either kind, as a thread uses it."""

    def once(self, calls: tuple[Call, ...]) -> Any: ...
    def tail(self, run_id: Any) -> list[RunEvent]: ...


class Persistent:
    """Makes calls, and makes them again with the same ids while their errors are retryable."""

    def __init__(self, source: Source, tally: Tally) -> None:
        self.source = source
        self._tally = tally

    def __call__(self, *calls: Call) -> Any:
        """Make one call, or several in one transaction, and return the answer of the last one."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = self.source.once(calls)
            except psycopg.Error as error:
                self._tally.errors[error.sqlstate or type(error).__name__] += 1
                if not is_retryable(error) or time.monotonic() > deadline:
                    raise
            else:
                self._tally.answered.append(time.monotonic())
                return answer
            time.sleep(PAUSE_SECONDS)


class BlockingSource:
    """A pool of blocking connections."""

    def __init__(self, pool: ConnectionPool[Any]) -> None:
        self._pool = pool

    def once(self, calls: tuple[Call, ...]) -> Any:
        with self._pool.connection() as conn:
            if len(calls) == 1:
                return calls[0](conn)
            with transaction(conn):
                return [call(conn) for call in calls][-1]

    def tail(self, run_id: Any) -> list[RunEvent]:
        return list(tail_run_events(self._pool, run_id, page_size=50))


class AsyncioSource:
    """A pool of asyncio connections, whose loop runs in another thread."""

    def __init__(self, pool: AsyncConnectionPool[Any], loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop

    def once(self, calls: tuple[Call, ...]) -> Any:
        return asyncio.run_coroutine_threadsafe(self._once(calls), self._loop).result()

    async def _once(self, calls: tuple[Call, ...]) -> Any:
        async with self._pool.connection() as conn:
            if len(calls) == 1:
                return await calls[0](conn)
            async with transaction(conn):
                return [await call(conn) for call in calls][-1]

    def tail(self, run_id: Any) -> list[RunEvent]:
        async def follow() -> list[RunEvent]:
            return [event async for event in tail_run_events(self._pool, run_id, page_size=50)]

        return asyncio.run_coroutine_threadsafe(follow(), self._loop).result()


@contextmanager
def blocking_source(dsn: str, size: int, **settings: Any) -> Generator[BlockingSource]:
    """Open a pool of blocking connections; `settings` are the pool's."""
    pool_settings = {"timeout": POOL_SECONDS, **settings}
    with open_pool(dsn, max_size=size, pool_settings=pool_settings) as pool:
        yield BlockingSource(pool)


@contextmanager
def asyncio_source(dsn: str, size: int) -> Generator[AsyncioSource]:
    """Open a pool of asyncio connections, and run its loop in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    settings = {"timeout": POOL_SECONDS}
    opening = open_pool_async(dsn, max_size=size, pool_settings=settings)
    try:
        pool = asyncio.run_coroutine_threadsafe(opening, loop).result()
        try:
            yield AsyncioSource(pool, loop)
        finally:
            asyncio.run_coroutine_threadsafe(pool.close(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
