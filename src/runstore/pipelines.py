"""Pipelines: several calls sent without waiting for each answer, in one transaction."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from typing import Any, Generic, ParamSpec, TypeVar, overload

import psycopg
from psycopg import AsyncConnection, Connection

from ._cursors import AsyncioCursor, BlockingCursor
from ._query import Query, Statement, blocking, drive, drive_async
from .errors import RunstoreError, translate

P = ParamSpec("P")
R = TypeVar("R")
CursorT = TypeVar("CursorT", BlockingCursor, AsyncioCursor)

_PENDING: Any = object()


class Reply(Generic[R]):
    """The answer to a call in a pipeline: there once the pipeline's block has ended."""

    def __init__(self) -> None:
        self._value: R = _PENDING

    @property
    def value(self) -> R:
        """Return what the call would have returned. Raises `RuntimeError` before it is there."""
        if self._value is _PENDING:
            raise RuntimeError("the pipeline's block has not ended, or has failed")
        return self._value

    def arrive(self, value: R) -> None:
        """Take the answer."""
        self._value = value


class _Calls(Generic[CursorT]):
    def __init__(self) -> None:
        self._sent: list[tuple[Statement[Any], CursorT, Reply[Any]]] = []
        self._refusal: Exception | None = None
        self._has_ended = False

    def note(self, error: Exception) -> None:
        """Note that the server refused a call, if all of them can be made again one by one.

        Else raise the error. What is sent from then on waits for that.
        """
        self._refusal = translate(error)
        if not self._may_be_repetitions(self._refusal):
            raise self._refusal from None

    def end(self) -> None:
        """Take it that all calls are sent. Raises what one of them was refused with."""
        self._has_ended = True
        if self._refusal is not None:
            raise self._refusal

    def check(self, error: Exception) -> None:
        """Raise the error of a block whose calls need not be made once more."""
        refusal = translate(error)
        if not self._has_ended or not self._may_be_repetitions(refusal):
            raise refusal from None

    def _may_be_repetitions(self, refusal: Exception) -> bool:
        return isinstance(refusal, RunstoreError) and any(
            statement.refused is not None for statement, _, _ in self._sent
        )

    def arrive(self, answers: list[Any]) -> None:
        """Give the answers to who waits for them, when all of them are certain."""
        for (_, _, reply), answer in zip(self._sent, answers, strict=True):
            reply.arrive(answer)


class Pipeline(_Calls[BlockingCursor]):
    """Sends calls on a blocking connection."""

    def __init__(self, conn: Connection[Any]) -> None:
        super().__init__()
        self._conn = conn

    def send(self, function: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> Reply[R]:
        """Send a call without waiting, and return where its answer will be."""
        statement = function.bind(*args, **kwargs)
        cursor, reply = BlockingCursor(self._conn), Reply[R]()
        self._sent.append((statement, cursor, reply))
        if self._refusal is None:
            try:
                cursor.execute(
                    statement.sql.text, statement.parameters, prepare=statement.prepare, binary=True
                )
            except (psycopg.Error, UnicodeEncodeError) as error:
                self.note(error)
        return reply

    def receive(self) -> list[Any]:
        """Read the answers, in the order of the calls."""
        return [self._answer(statement, cursor) for statement, cursor, _ in self._sent]

    def call_one_by_one(self) -> list[Any]:
        """Call without a pipeline what was sent, and return the answers."""
        return [drive(self._conn, iter(statement)) for statement, _, _ in self._sent]

    def _answer(self, statement: Statement[R], cursor: BlockingCursor) -> R:
        rows = cursor.fetchall()
        if not rows and statement.absent is not None:
            return drive(self._conn, statement.absent())
        return statement.read(rows)


class AsyncPipeline(_Calls[AsyncioCursor]):
    """Sends calls on an asyncio connection."""

    def __init__(self, conn: AsyncConnection[Any]) -> None:
        super().__init__()
        self._conn = conn

    async def send(self, function: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> Reply[R]:
        """Send a call without waiting for its answer, and return where that will be."""
        statement = function.bind(*args, **kwargs)
        cursor, reply = AsyncioCursor(self._conn), Reply[R]()
        self._sent.append((statement, cursor, reply))
        if self._refusal is None:
            try:
                await cursor.execute(
                    statement.sql.text, statement.parameters, prepare=statement.prepare, binary=True
                )
            except (psycopg.Error, UnicodeEncodeError) as error:
                self.note(error)
        return reply

    async def receive(self) -> list[Any]:
        """Read the answers, in the order of the calls."""
        return [await self._answer(statement, cursor) for statement, cursor, _ in self._sent]

    async def call_one_by_one(self) -> list[Any]:
        """Call without a pipeline what was sent, and return the answers."""
        return [await drive_async(self._conn, iter(statement)) for statement, _, _ in self._sent]

    async def _answer(self, statement: Statement[R], cursor: AsyncioCursor) -> R:
        rows = await cursor.fetchall()
        if not rows and statement.absent is not None:
            return await drive_async(self._conn, statement.absent())
        return statement.read(rows)


@overload
def pipeline(conn: Connection[Any]) -> AbstractContextManager[Pipeline]: ...
@overload
def pipeline(conn: AsyncConnection[Any]) -> AbstractAsyncContextManager[AsyncPipeline]: ...
def pipeline(
    conn: Connection[Any] | AsyncConnection[Any],
) -> AbstractContextManager[Pipeline] | AbstractAsyncContextManager[AsyncPipeline]:
    """Send several calls without waiting for each answer; they commit together or not at all.

    `with pipeline(conn) as calls: reply = calls.send(create_agent_step, step)`, and after the
    block `reply.value`. However many calls there are, they cost three round trips to the server:
    BEGIN, the calls, COMMIT. A call that depends on another's answer goes into another block.
    The block raises the first error of a call, and then nothing of it is written. It may be
    repeated like its calls: where one is refused that may have been made before, they are made one
    by one.

    It pays for two calls and more, and the more the further away the server is: 20 calls take a
    sixth of the time at a distance of 1 ms, and half of it on the server's own machine
    (docs/performance.md). A single call is cheaper without it.
    """
    return _async_pipeline(conn) if isinstance(conn, AsyncConnection) else _pipeline(blocking(conn))


@contextmanager
def _pipeline(conn: Connection[Any]) -> Generator[Pipeline]:
    calls = Pipeline(conn)
    try:
        with conn.transaction():
            with conn.pipeline():
                yield calls
                calls.end()
            answers = calls.receive()
    except (psycopg.Error, RunstoreError) as error:
        calls.check(error)
    else:
        calls.arrive(answers)
        return
    # Outside of the handler: the first error quotes a row, and would be the context of another.
    with conn.transaction():
        answers = calls.call_one_by_one()
    calls.arrive(answers)


@asynccontextmanager
async def _async_pipeline(conn: AsyncConnection[Any]) -> AsyncGenerator[AsyncPipeline]:
    calls = AsyncPipeline(conn)
    try:
        async with conn.transaction():
            async with conn.pipeline():
                yield calls
                calls.end()
            answers = await calls.receive()
    except (psycopg.Error, RunstoreError) as error:
        calls.check(error)
    else:
        calls.arrive(answers)
        return
    # Outside of the handler: the first error quotes a row, and would be the context of another.
    async with conn.transaction():
        answers = await calls.call_one_by_one()
    calls.arrive(answers)
