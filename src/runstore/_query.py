"""One definition per query, for blocking and for asyncio connections.

A `Statement` says what to send and how to read the answer; it does no I/O. `@query`
and `@operation` turn its definition into a function of a connection, and two thin drivers,
one of them blocking, send it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.pq import PipelineStatus, TransactionStatus

from ._cursors import keep, take, take_async
from ._interruptions import finish, finish_async
from ._parameters import checked
from ._sql import Sql
from ._watches import wait
from ._wire import wire_of
from .errors import InvalidPayload, RunstoreError, translate

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
DefinitionT = TypeVar("DefinitionT", bound="Callable[..., Statement[Any]]")

Rows = Sequence[tuple[Any, ...]]


# It never changes, but one that is frozen takes four times as long to make, for every call.
@dataclass(slots=True)
class Statement(Generic[R_co]):
    """One SQL statement, its parameters, and the reader of its rows.

    `absent` says what no row means: it may send further statements to find out, and
    answers or raises. Without it no row is read like any other answer. `refused` says the
    same of an error that has a name; the statement then runs in a savepoint when a
    transaction is open, so that its failure does not end the caller's transaction. In a
    pipeline of psycopg's without one the error is raised as it is: it undoes what the
    pipeline has sent since it was synchronized, and nothing can be asked before the next time.

    `meanwhile` may be called once the statement is sent, to do something of ours while the server
    works: it uses no connection and raises nothing, and nobody may count on the call.
    """

    sql: Sql
    parameters: Mapping[str, Any] = field(repr=False)
    read: Callable[[Rows], R_co]
    absent: Callable[[], Steps[R_co]] | None = None
    refused: Callable[[RunstoreError], Steps[R_co]] | None = None
    prepare: bool | None = True
    meanwhile: Callable[[], None] | None = None

    def __iter__(self) -> Steps[R_co]:
        """Let an operation write `value = yield from statement`."""
        result: R_co = yield self
        return result


Steps = Generator[Statement[Any], Any, R]


class Function(Protocol[P, R_co]):
    """A function of a connection: it blocks on one kind, and is awaited on the other."""

    @overload
    def __call__(self, conn: Connection[Any], *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(
        self, conn: AsyncConnection[Any], *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R_co]: ...


class Query(Function[P, R_co], Protocol[P, R_co]):
    """A function that sends one statement."""

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Statement[R_co]:
        """Return the statement that the call would send."""
        ...


class Operation(Function[P, R_co], Protocol[P, R_co]):
    """A function that sends several statements in one transaction."""

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> Steps[R_co]:
        """Return the steps that the call would take."""
        ...


def query(define: Callable[P, Statement[R]]) -> Query[P, R]:
    """Make a function of a connection from the definition of one statement.

    Its arguments are checked by the definition's annotations: `InvalidPayload` names the first one
    that is something else.
    """
    define = checked(define)

    @functools.wraps(define)
    def call(
        conn: Connection[Any] | AsyncConnection[Any], *args: P.args, **kwargs: P.kwargs
    ) -> Any:
        statement = define(*args, **kwargs)
        if isinstance(conn, AsyncConnection):
            return _run_async(conn, statement)
        return _run(blocking(conn), statement)

    return cast("Query[P, R]", publish(call, define))


def reads(*row: Any) -> Callable[[DefinitionT], DefinitionT]:
    """Say what the rows of a definition hold, where its call answers something else.

    They are models and types of single columns, one after the other; `Model | None` is a model
    whose columns an outer join may leave NULL, all of them. Nothing but the proof of the
    queries in `runstore.testing` reads it, so a call costs no more.
    """

    def mark(define: DefinitionT) -> DefinitionT:
        vars(define)["reads"] = row
        return define

    return mark


def operation(define: Callable[P, Steps[R]]) -> Operation[P, R]:
    """Make a function of a connection from several statements, run in one transaction.

    Its arguments are checked like those of a `query`.
    """
    define = checked(define)

    @functools.wraps(define)
    def call(
        conn: Connection[Any] | AsyncConnection[Any], *args: P.args, **kwargs: P.kwargs
    ) -> Any:
        steps = define(*args, **kwargs)
        if isinstance(conn, AsyncConnection):
            return transact_async(conn, steps)
        return transact(blocking(conn), steps)

    return cast("Operation[P, R]", publish(call, define))


def blocking(conn: Connection[Any] | AsyncConnection[Any]) -> Connection[Any]:
    """Return a blocking connection as it is, and refuse what is none."""
    if isinstance(conn, Connection):
        return conn
    raise InvalidPayload("conn", f"must be a connection of psycopg, not a {type(conn).__name__}")


def publish(call: Any, define: Callable[..., Any]) -> Any:
    """Give the function that makes a call its signature, and its definition as `bind`."""
    signature = inspect.signature(define)
    conn = inspect.Parameter("conn", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    call.__signature__ = signature.replace(parameters=[conn, *signature.parameters.values()])
    call.bind = define
    return call


def _send(conn: Connection[Any], statement: Statement[Any]) -> Rows:
    try:
        with conn.lock:
            try:
                rows = conn.wait(wire_of(conn).exchange(statement))
            except BaseException:
                finish(conn)
                raise
        return _send_by_cursor(conn, statement) if rows is None else rows
    except (psycopg.Error, UnicodeEncodeError) as error:
        raise translate(error) from None


async def _send_async(conn: AsyncConnection[Any], statement: Statement[Any]) -> Rows:
    try:
        # Without the two coroutines of `async with`.
        await conn.lock.acquire()
        try:
            rows = await wait(conn, wire_of(conn).exchange(statement))
        except GeneratorExit:
            # Nothing more is awaited.
            raise
        except BaseException:
            await finish_async(conn)
            raise
        finally:
            conn.lock.release()
        return await _send_by_async_cursor(conn, statement) if rows is None else rows
    except (psycopg.Error, UnicodeEncodeError) as error:
        raise translate(error) from None


def _send_by_cursor(conn: Connection[Any], statement: Statement[Any]) -> Rows:
    sql = statement.sql.text
    cursor = take(conn, sql)
    cursor.execute(sql, statement.parameters, prepare=statement.prepare, binary=True)
    rows = cursor.fetchall()
    keep(conn, sql, cursor)
    return rows


async def _send_by_async_cursor(conn: AsyncConnection[Any], statement: Statement[Any]) -> Rows:
    sql = statement.sql.text
    cursor = take_async(conn, sql)
    await cursor.execute(sql, statement.parameters, prepare=statement.prepare, binary=True)
    rows = await cursor.fetchall()
    keep(conn, sql, cursor)
    return rows


def _run(conn: Connection[Any], statement: Statement[R]) -> R:
    refused = statement.refused
    within = refused is not None and conn.pgconn.transaction_status == TransactionStatus.INTRANS
    try:
        if within:
            with conn.transaction():
                rows = _send(conn, statement)
        else:
            rows = _send(conn, statement)
    except RunstoreError as error:
        if refused is None or conn.pgconn.pipeline_status == PipelineStatus.ABORTED:
            raise
        # Without autocommit the statement has opened the transaction, and is all that is in it.
        if not within and not conn.autocommit:
            conn.rollback()
        return drive(conn, refused(error))
    if not rows and statement.absent is not None:
        return drive(conn, statement.absent())
    return statement.read(rows)


async def _run_async(conn: AsyncConnection[Any], statement: Statement[R]) -> R:
    refused = statement.refused
    within = refused is not None and conn.pgconn.transaction_status == TransactionStatus.INTRANS
    try:
        if within:
            async with conn.transaction():
                rows = await _send_async(conn, statement)
        else:
            rows = await _send_async(conn, statement)
    except RunstoreError as error:
        if refused is None or conn.pgconn.pipeline_status == PipelineStatus.ABORTED:
            raise
        # Without autocommit the statement has opened the transaction, and is all that is in it.
        if not within and not conn.autocommit:
            await conn.rollback()
        return await drive_async(conn, refused(error))
    if not rows and statement.absent is not None:
        return await drive_async(conn, statement.absent())
    return statement.read(rows)


def drive(conn: Connection[Any], steps: Steps[R]) -> R:
    """Take steps on a blocking connection, and answer what they answer."""
    try:
        statement = next(steps)
        while True:
            try:
                result = _run(conn, statement)
            except Exception as error:  # noqa: BLE001 - whatever it is, the steps may answer it.
                statement = steps.throw(error)
            else:
                statement = steps.send(result)
    except StopIteration as stop:
        return cast(R, stop.value)


async def drive_async(conn: AsyncConnection[Any], steps: Steps[R]) -> R:
    """Take steps on an asyncio connection, and answer what they answer."""
    try:
        statement = next(steps)
        while True:
            try:
                result = await _run_async(conn, statement)
            except Exception as error:  # noqa: BLE001 - whatever it is, the steps may answer it.
                statement = steps.throw(error)
            else:
                statement = steps.send(result)
    except StopIteration as stop:
        return cast(R, stop.value)


def transact(conn: Connection[Any], steps: Steps[R]) -> R:
    """Take steps on a blocking connection in one transaction."""
    with conn.transaction():
        return drive(conn, steps)


async def transact_async(conn: AsyncConnection[Any], steps: Steps[R]) -> R:
    """Take steps on an asyncio connection in one transaction."""
    async with conn.transaction():
        return await drive_async(conn, steps)
