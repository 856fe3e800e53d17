"""psycopg's pools, whose loans cost their client less.

`connection()` of a pool is a generator around a second block, which commits by a call to the
connection's driver even where nothing is to be committed, as on an idle connection with autocommit.
With a statement for each loan that is a tenth of what the client does, in asyncio more. And a pool
of psycopg's lends its connections in turn, where one that was in use just now costs less.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from time import monotonic
from types import TracebackType
from typing import Any, Final

from psycopg import AsyncConnection, Connection
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from psycopg_pool.base import BasePool

_IDLE: Final = TransactionStatus.IDLE
_OFF: Final = PipelineStatus.OFF

# What the pools' statistics call the time for which connections were lent.
_USAGE: Final = "usage_ms"


def _has_nothing_to_end(conn: Connection[Any] | AsyncConnection[Any]) -> bool:
    pgconn = conn.pgconn
    return conn.autocommit and pgconn.transaction_status == _IDLE and pgconn.pipeline_status == _OFF


class _Lender(BasePool):
    """What both pools have in common: they count for how long their connections were lent."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.lent_seconds = 0.0
        self._told_ms = 0
        super().__init__(*args, **kwargs)

    def get_stats(self) -> dict[str, int]:
        """Return the statistics of the base."""
        return {**super().get_stats(), _USAGE: self._lent_ms() - self._told_ms}

    def pop_stats(self) -> dict[str, int]:
        """Return the statistics of the base, and set the counters to zero."""
        told, self._told_ms = self._told_ms, self._lent_ms()
        return {**super().pop_stats(), _USAGE: self._told_ms - told}

    def _lent_ms(self) -> int:
        return int(self.lent_seconds * 1000)

    def _put_latest_first(self) -> None:
        """Move the connection that was given back last to where the base takes the next one from.

        The base lends all in turn, so that each of them finds its session's memory cold, in client
        and server. PgBouncer lends the latest too, unless `server_round_robin` is set. What nobody
        needs stays at the other end, where the base takes what it closes.
        """
        self._pool.rotate(1)


class BlockingPool(_Lender, ConnectionPool[Connection[Any]]):
    """A pool of blocking connections, of which the one that was given back last is lent first."""

    def _get_ready_connection(self, timeout: float | None) -> Connection[Any] | None:
        self._put_latest_first()
        return super()._get_ready_connection(timeout)

    # The base says the class of what contextmanager() makes, of which nobody needs more.
    def connection(  # type: ignore[override]
        self, timeout: float | None = None
    ) -> AbstractContextManager[Connection[Any]]:
        """Lend a connection, and end its transaction when it is given back, like the base."""
        return _Loan(self, timeout)


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
            self._pool.lent_seconds += monotonic() - self._start


class AsyncioPool(_Lender, AsyncConnectionPool[AsyncConnection[Any]]):
    """A pool of asyncio connections, of which the one that was given back last is lent first."""

    # The base has the timeout.
    async def _get_ready_connection(
        self,
        timeout: float | None,  # noqa: ASYNC109
    ) -> AsyncConnection[Any] | None:
        self._put_latest_first()
        return await super()._get_ready_connection(timeout)

    # As above.
    def connection(  # type: ignore[override]
        self, timeout: float | None = None
    ) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """Lend a connection, and end its transaction when it is given back, like the base."""
        return _AsyncLoan(self, timeout)


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
            self._pool.lent_seconds += monotonic() - self._start
