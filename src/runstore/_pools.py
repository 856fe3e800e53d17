"""psycopg's pools, whose loans cost their client less.

`connection()` of a pool is a generator around a second block, which commits by a call to the
connection's driver even where nothing is to be committed, as on an idle connection with autocommit.
With a statement for each loan that is a tenth of what the client does, in asyncio more.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from time import monotonic
from types import TracebackType
from typing import Any, Final

from psycopg import AsyncConnection, Connection
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool

_IDLE: Final = TransactionStatus.IDLE
_OFF: Final = PipelineStatus.OFF

# What the pools' statistics call the time for which connections were lent.
_USAGE: Final = "usage_ms"


def _has_nothing_to_end(conn: Connection[Any] | AsyncConnection[Any]) -> bool:
    pgconn = conn.pgconn
    return conn.autocommit and pgconn.transaction_status == _IDLE and pgconn.pipeline_status == _OFF


class _Usage:
    """For how many seconds a pool has lent its connections, and how many of them were told."""

    seconds = 0.0
    told_ms = 0

    def add_to(self, stats: dict[str, int], *, pop: bool = False) -> dict[str, int]:
        ms = int(self.seconds * 1000)
        stats[_USAGE] = ms - self.told_ms
        if pop:
            self.told_ms = ms
        return stats


class BlockingPool(ConnectionPool[Connection[Any]]):
    """A pool of blocking connections."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.usage = _Usage()
        super().__init__(*args, **kwargs)

    # The base says the class of what contextmanager() makes, of which nobody needs more.
    def connection(  # type: ignore[override]
        self, timeout: float | None = None
    ) -> AbstractContextManager[Connection[Any]]:
        """Lend a connection, and end its transaction when it is given back, like the base."""
        return _Loan(self, timeout)

    def get_stats(self) -> dict[str, int]:
        """Return the statistics of the base."""
        return self.usage.add_to(super().get_stats())

    def pop_stats(self) -> dict[str, int]:
        """Return the statistics of the base, and set the counters to zero."""
        return self.usage.add_to(super().pop_stats(), pop=True)


class _Loan(AbstractContextManager[Connection[Any]]):
    __slots__ = ("_conn", "_pool", "_start", "_timeout")

    def __init__(self, pool: BlockingPool, timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout

    def __enter__(self) -> Connection[Any]:
        self._conn = self._pool.getconn(self._timeout)
        self._start = monotonic()
        return self._conn

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc_type is not None or not _has_nothing_to_end(self._conn):
                self._conn.__exit__(exc_type, exc, traceback)
        finally:
            self._pool.putconn(self._conn)
            self._pool.usage.seconds += monotonic() - self._start


class AsyncioPool(AsyncConnectionPool[AsyncConnection[Any]]):
    """A pool of asyncio connections."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.usage = _Usage()
        super().__init__(*args, **kwargs)

    def connection(  # type: ignore[override]
        self, timeout: float | None = None
    ) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """Lend a connection, and end its transaction when it is given back, like the base."""
        return _AsyncLoan(self, timeout)

    def get_stats(self) -> dict[str, int]:
        """Return the statistics of the base."""
        return self.usage.add_to(super().get_stats())

    def pop_stats(self) -> dict[str, int]:
        """Return the statistics of the base, and set the counters to zero."""
        return self.usage.add_to(super().pop_stats(), pop=True)


class _AsyncLoan(AbstractAsyncContextManager[AsyncConnection[Any]]):
    __slots__ = ("_conn", "_pool", "_start", "_timeout")

    def __init__(self, pool: AsyncioPool, timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout

    async def __aenter__(self) -> AsyncConnection[Any]:
        self._conn = await self._pool.getconn(self._timeout)
        self._start = monotonic()
        return self._conn

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc_type is not None or not _has_nothing_to_end(self._conn):
                await self._conn.__aexit__(exc_type, exc, traceback)
        finally:
            await self._pool.putconn(self._conn)
            self._pool.usage.seconds += monotonic() - self._start
