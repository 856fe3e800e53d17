"""Work that goes on batch by batch, each of them a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.pq import TransactionStatus

from ._parameters import checked
from ._query import Function, Steps, blocking, publish, transact, transact_async

P = ParamSpec("P")
R = TypeVar("R")

Batches = Generator[Steps[Any], Any, R]
"""Yields the steps of one transaction after the other, and is sent what each answers."""


def in_batches(define: Callable[P, Batches[R]]) -> Function[P, R]:
    """Make a function of a connection from several transactions, one after the other.

    What a batch wrote is committed before the next one starts, so that it may be stopped at any
    point and called again. An error ends its own batch, and is thrown into the definition. In an
    open transaction nothing could be committed: `psycopg.ProgrammingError`.
    """
    define = checked(define)

    @wraps(define)
    def call(
        conn: Connection[Any] | AsyncConnection[Any], *args: P.args, **kwargs: P.kwargs
    ) -> Any:
        batches = define(*args, **kwargs)
        if isinstance(conn, AsyncConnection):
            return _work_async(conn, define.__name__, batches)
        return _work(blocking(conn), define.__name__, batches)

    return cast("Function[P, R]", publish(call, define))


def _work(conn: Connection[Any], name: str, batches: Batches[R]) -> R:
    _refuse_transaction(conn, name)
    try:
        steps = next(batches)
        while True:
            try:
                answer = transact(conn, steps)
            except psycopg.Error as error:
                steps = batches.throw(error)
            else:
                steps = batches.send(answer)
    except StopIteration as stop:
        return cast(R, stop.value)


async def _work_async(conn: AsyncConnection[Any], name: str, batches: Batches[R]) -> R:
    _refuse_transaction(conn, name)
    try:
        steps = next(batches)
        while True:
            try:
                answer = await transact_async(conn, steps)
            except psycopg.Error as error:
                steps = batches.throw(error)
            else:
                steps = batches.send(answer)
    except StopIteration as stop:
        return cast(R, stop.value)


def _refuse_transaction(conn: Connection[Any] | AsyncConnection[Any], name: str) -> None:
    if conn.info.transaction_status is not TransactionStatus.IDLE:
        raise psycopg.ProgrammingError(
            f"{name} commits batch by batch and cannot run in an open transaction"
        )
