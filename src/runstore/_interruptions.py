"""Exchanges that an interrupt breaks off: the connection is left as if their statement had failed.

psycopg's wait has the server cancel what is interrupted while it waits, and reads on. But Ctrl-C
comes at any moment, also while the exchange itself is at work, or what it does meanwhile. That ends
the exchange: nobody is left to read the answer, and the connection stays in the middle of it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from psycopg import AsyncConnection, Connection
from psycopg.generators import execute
from psycopg.pq import TransactionStatus
from psycopg.waiting import READY_NONE, WAIT_R, Ready, Wait

if TYPE_CHECKING:
    from psycopg.abc import PQGen

R = TypeVar("R")


class Begun(Generator[Wait, Ready | int, R]):
    """An exchange that psycopg is to go on with, or to break off.

    Its wait begins with `next`, for which an exchange that has begun has no place: it is asked once
    more what it waits for. An interruption is raised first, as if it had come in the wait: psycopg
    has the server cancel the statement, reads what it answers, and raises the interruption again.
    """

    def __init__(self, exchange: PQGen[R], interruption: BaseException | None = None) -> None:
        self._exchange = exchange
        self._interruption = interruption

    def send(self, value: Ready | int | None) -> Wait:
        """Go on with the exchange."""
        interruption, self._interruption = self._interruption, None
        if interruption is not None:
            raise interruption
        return self._exchange.send(READY_NONE if value is None else value)

    def throw(self, *error: Any) -> Wait:
        """Break off the exchange."""
        return self._exchange.throw(*error)


class _Unfinished(KeyboardInterrupt):
    """What psycopg's wait takes for an interruption, on a connection of either kind."""


def finish(connection: Connection[Any]) -> None:
    """End the statement whose exchange was broken off, or close the connection."""
    if _is_unfinished(connection):
        with suppress(_Unfinished):
            connection.wait(_rest(connection))


async def finish_async(connection: AsyncConnection[Any]) -> None:
    """End the statement whose exchange was broken off, or close the connection."""
    if _is_unfinished(connection):
        with suppress(_Unfinished):
            await connection.wait(_rest(connection))


def _is_unfinished(connection: Connection[Any] | AsyncConnection[Any]) -> bool:
    pgconn = connection.pgconn
    # In a pipeline of psycopg's it is psycopg that reads what was sent.
    return pgconn.transaction_status == TransactionStatus.ACTIVE and not pgconn.pipeline_status


def _rest(connection: Connection[Any] | AsyncConnection[Any]) -> Begun[None]:
    def read() -> PQGen[None]:
        yield WAIT_R
        yield from execute(connection.pgconn)

    rest = read()
    next(rest)
    return Begun(rest, _Unfinished())
