"""Retries: which errors are worth another attempt, and transactions that are run again."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from enum import Enum
from typing import Any, Final, TypeVar, overload

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout, TooManyRequests

from ._outages import is_outage
from .connections import transaction
from .errors import InvalidPayload

R = TypeVar("R")

# What the server says when it has undone the transaction, or has not begun with it.
_UNDONE: Final = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "55P03",  # lock_not_available
        "25006",  # read_only_sql_transaction: this server is a standby by now
        "53200",  # out_of_memory
        "53300",  # too_many_connections
        "57P03",  # cannot_connect_now
        "08001",  # sqlclient_unable_to_establish_sqlconnection
        "08004",  # sqlserver_rejected_establishment_of_sqlconnection
    }
)
_READ_ONLY: Final = "25006"

_NO_CONNECTION: Final = (psycopg.errors.ConnectionTimeout, PoolTimeout, TooManyRequests)

# Attempts wait for a random part of these seconds, which double each time up to the last.
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0


class Retry(Enum):
    """What another attempt would be; `NO` is false."""

    SAFE = "safe"
    """Nothing was written: run the whole transaction again."""

    UNKNOWN = "unknown"
    """It was written, or it was not; who repeats the same calls with the same ids is safe."""

    NO = "no"
    """It would fail again, or its failure is an answer."""

    def __bool__(self) -> bool:
        """Say whether to try again."""
        return self is not Retry.NO


def is_retryable(error: BaseException) -> Retry:
    """Tell whether what raised an error is worth another attempt, and what it left.

    By SQLSTATE, never by class: psycopg's `OperationalError` holds both a deadlock and a full disk.
    Among what it calls `NO` are the statement that was cancelled (57014), by hand or by a time-out,
    and the transaction that was idle or ran for too long (25P03, 25P04): they would be again. The
    library's own errors are answers, and `NO`.
    """
    if not isinstance(error, psycopg.Error):
        return Retry.NO
    # psycopg gives the connection that could not be had along with the error.
    if error.pgconn is not None or isinstance(error, _NO_CONNECTION):
        return Retry.SAFE
    if error.sqlstate in _UNDONE:
        return Retry.SAFE
    return Retry.UNKNOWN if is_outage(error) else Retry.NO


@overload
def run_transaction(
    pool: ConnectionPool[Any], fn: Callable[[Connection[Any]], R], *, attempts: int = 5
) -> R: ...
@overload
def run_transaction(
    pool: AsyncConnectionPool[Any],
    fn: Callable[[AsyncConnection[Any]], Awaitable[R]],
    *,
    attempts: int = 5,
) -> Coroutine[Any, Any, R]: ...
def run_transaction(
    pool: ConnectionPool[Any] | AsyncConnectionPool[Any],
    fn: Callable[[Any], Any],
    *,
    attempts: int = 5,
) -> Any:
    """Run a function of a connection in one transaction, again while its error is retryable.

    `run_transaction(pool, fn)` calls `fn(conn)` within `transaction(conn)` on a connection of the
    pool, and returns what it returned; with an asyncio pool both are awaited. Each attempt is a
    transaction of its own on a connection that works. Between two of them it waits for a random
    part of 0.05 seconds, then of twice as much each time, at most of 2 seconds, so that those who
    failed together do not meet again. After `attempts` it raises the last error as it is.

    `fn` may run more than once, and also once more after a commit whose answer was lost. Make the
    inputs with their ids before, outside of it, and leave to it nothing but calls of the database.
    """
    if attempts < 1:
        raise InvalidPayload("attempts", "must be 1 or more")
    if isinstance(pool, AsyncConnectionPool):
        return _run_async(pool, fn, attempts)
    return _run(pool, fn, attempts)


def _run(pool: ConnectionPool[Any], fn: Callable[[Connection[Any]], R], attempts: int) -> R:
    for attempt in range(1, attempts):
        try:
            return _attempt(pool, fn)
        except psycopg.Error as error:
            if not is_retryable(error):
                raise
        time.sleep(_pause_after(attempt))
    return _attempt(pool, fn)


async def _run_async(
    pool: AsyncConnectionPool[Any],
    fn: Callable[[AsyncConnection[Any]], Awaitable[R]],
    attempts: int,
) -> R:
    for attempt in range(1, attempts):
        try:
            return await _attempt_async(pool, fn)
        except psycopg.Error as error:
            if not is_retryable(error):
                raise
        await asyncio.sleep(_pause_after(attempt))
    return await _attempt_async(pool, fn)


def _attempt(pool: ConnectionPool[Any], fn: Callable[[Connection[Any]], R]) -> R:
    conn: Connection[Any]
    with pool.connection() as conn:
        try:
            with transaction(conn):
                return fn(conn)
        except psycopg.Error as error:
            # A server that became a standby takes writes on none of its old connections.
            if error.sqlstate == _READ_ONLY:
                conn.close()
            raise
    # The block has swallowed it, and there is nothing to return.
    raise psycopg.Rollback


async def _attempt_async(
    pool: AsyncConnectionPool[Any], fn: Callable[[AsyncConnection[Any]], Awaitable[R]]
) -> R:
    conn: AsyncConnection[Any]
    async with pool.connection() as conn:
        try:
            async with transaction(conn):
                return await fn(conn)
        except psycopg.Error as error:
            if error.sqlstate == _READ_ONLY:
                await conn.close()
            raise
    raise psycopg.Rollback


def _pause_after(attempt: int) -> float:
    longest = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (attempt - 1))
    return secrets.SystemRandom().uniform(0, longest)
