"""What tests do with connections, of either kind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Literal, LiteralString, ParamSpec, Protocol, TypeVar

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow

from runstore._query import Function

P = ParamSpec("P")
R = TypeVar("R")

Kind = Literal["blocking", "asyncio"]
Connect = Callable[[], Connection[TupleRow]]
Parameters = Sequence[object] | Mapping[str, object]


class Caller(Protocol):
    """Calls a function of the library and answers its result, whatever the connection.

    A call that fails inside a transaction leaves that transaction usable.
    """

    def __call__(self, function: Function[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def execute(self, sql: LiteralString, parameters: Parameters | None = None) -> list[TupleRow]:
        """Run a statement and answer its rows, none where it returns nothing."""
        ...


class BlockingCaller:
    def __init__(self, conn: Connection[TupleRow], *, in_transaction: bool) -> None:
        self._conn = conn
        self._in_transaction = in_transaction

    def __call__(self, function: Function[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._savepoint():
            return function(self._conn, *args, **kwargs)

    def execute(self, sql: LiteralString, parameters: Parameters | None = None) -> list[TupleRow]:
        with self._savepoint():
            cursor = self._conn.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def _savepoint(self) -> Generator[None]:
        if self._in_transaction:
            with self._conn.transaction():
                yield
        else:
            yield


class AsyncioCaller:
    def __init__(
        self, conn: AsyncConnection[TupleRow], runner: asyncio.Runner, *, in_transaction: bool
    ) -> None:
        self._conn = conn
        self._runner = runner
        self._in_transaction = in_transaction

    def __call__(self, function: Function[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        async def call() -> R:
            async with self._savepoint():
                return await function(self._conn, *args, **kwargs)

        return self._runner.run(call())

    def execute(self, sql: LiteralString, parameters: Parameters | None = None) -> list[TupleRow]:
        async def execute() -> list[TupleRow]:
            async with self._savepoint():
                cursor = await self._conn.execute(sql, parameters)
                return await cursor.fetchall() if cursor.description else []

        return self._runner.run(execute())

    @asynccontextmanager
    async def _savepoint(self) -> AsyncGenerator[None]:
        if self._in_transaction:
            async with self._conn.transaction():
                yield
        else:
            yield


@contextmanager
def caller(kind: Kind, dsn: str, *, rolled_back: bool) -> Generator[Caller]:
    """Open a connection of this kind and call functions on it, for good or in a transaction."""
    make = _blocking_caller if kind == "blocking" else _asyncio_caller
    with make(dsn, rolled_back=rolled_back) as call:
        yield call


@contextmanager
def _blocking_caller(dsn: str, *, rolled_back: bool) -> Generator[BlockingCaller]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        if rolled_back:
            with conn.transaction(force_rollback=True):
                yield BlockingCaller(conn, in_transaction=True)
        else:
            yield BlockingCaller(conn, in_transaction=False)


@contextmanager
def _asyncio_caller(dsn: str, *, rolled_back: bool) -> Generator[AsyncioCaller]:
    stack = AsyncExitStack()

    async def enter() -> AsyncConnection[TupleRow]:
        conn = await AsyncConnection.connect(dsn, autocommit=True)
        await stack.enter_async_context(conn)
        if rolled_back:
            await stack.enter_async_context(conn.transaction(force_rollback=True))
        return conn

    with asyncio.Runner() as runner:
        try:
            yield AsyncioCaller(runner.run(enter()), runner, in_transaction=rolled_back)
        finally:
            runner.run(stack.aclose())


def wait_until_blocked(
    observer: Connection[Any], backends: int = 1, *, seconds: float = 10
) -> None:
    """Return once so many sessions on the observer's database wait for a lock.

    The observer must be outside a transaction: inside one the server repeats its first answer.
    """
    deadline = time.monotonic() + seconds
    while _blocked(observer) < backends:
        assert time.monotonic() < deadline, f"fewer than {backends} blocked after {seconds} s"
        time.sleep(0.002)


def _blocked(observer: Connection[Any]) -> int:
    answer = observer.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone()
    assert answer
    return int(answer[0])
