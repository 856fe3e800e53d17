"""The watch that an event loop keeps over a connection's socket.

To wait for an answer psycopg has the loop watch the socket, and a timer beside it, and takes both
back when it has come: a good part of what a call costs its client. Here the socket stays watched,
and what arrives goes on with the exchange at once, in the loop's own callback.

What is watched is a duplicate of the socket's descriptor. psycopg watches the connection's own
wherever it waits itself, and libpq may close it at any time; and a loop that still watches a closed
descriptor is deaf to the next one of that number. The duplicate is closed by nobody but us.

Only asyncio's own loop does so. uvloop's tells of an error once, and then watches no longer: there,
and on Windows, whose sockets have no descriptors, psycopg waits.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from psycopg import AsyncConnection
from psycopg.pq import ConnStatus
from psycopg.waiting import READY_R, WAIT_R

from ._interruptions import Begun

if TYPE_CHECKING:
    from psycopg.abc import PQGen

R = TypeVar("R")

_SLOT: Final = "_runstore_watch"

_POSIX: Final = os.name == "posix"

_UNSENT: Final = object()


async def wait(connection: AsyncConnection[Any], exchange: PQGen[R]) -> R:
    """Take an exchange to its end and answer what it answers, as the connection's `wait` does.

    Nobody but who holds the connection's lock may wait.
    """
    try:
        wanted = next(exchange)
    except StopIteration as done:
        return cast(R, done.value)
    loop = asyncio.get_running_loop()
    if wanted != WAIT_R or not _POSIX or not isinstance(loop, asyncio.SelectorEventLoop):
        # Or there is more to be sent than the socket takes.
        return await connection.wait(Begun(exchange))
    watch: _Watch | None = connection.__dict__.get(_SLOT)
    if watch is None or watch.loop is not loop:
        watch = connection.__dict__[_SLOT] = _Watch(connection, loop)
    end = watch.begin(exchange)
    try:
        answer: R | object = await end
    except asyncio.CancelledError as interruption:
        watch.leave_off()
        # psycopg has the server cancel it, and waits for that.
        return await connection.wait(Begun(exchange, interruption))
    return await connection.wait(Begun(exchange)) if answer is _UNSENT else cast(R, answer)


class _Watch:
    """Goes on with a connection's exchange whenever there is something to read."""

    def __init__(self, connection: AsyncConnection[Any], loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        # The loop holds the watch, and must not hold a connection that nobody else does.
        self._connection = weakref.ref(connection)
        self._exchange: PQGen[Any] | None = None
        self._end: asyncio.Future[Any] = loop.create_future()
        self._socket = os.dup(connection.fileno())
        self._close = weakref.finalize(self, os.close, self._socket)
        loop.add_reader(self._socket, self._go_on)

    def begin(self, exchange: PQGen[Any]) -> asyncio.Future[Any]:
        """Go on with an exchange from now on; its answer is that of the future.

        The answer `_UNSENT` says that it has something to send first.
        """
        self._exchange = exchange
        self._end = self.loop.create_future()
        return self._end

    def leave_off(self) -> None:
        """Go on with nothing, since nobody waits any longer."""
        self._exchange = None
        if not self._end.cancelled():
            # It ended in the same moment, and nobody else will ask how.
            self._end.exception()

    def _go_on(self) -> None:
        if self._exchange is None or self._end.done():
            # A notification, the end of the connection, or what psycopg waits for by itself.
            self._stop()
            return
        try:
            wanted = self._exchange.send(READY_R)
        except StopIteration as done:
            self._exchange = None
            self._end.set_result(done.value)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is for who waits.
            self._exchange = None
            connection = self._connection()
            if connection is None or connection.pgconn.status != ConnStatus.OK:
                self._stop()
            self._end.set_exception(error)
        else:
            if wanted != WAIT_R:
                self._exchange = None
                self._end.set_result(_UNSENT)

    def _stop(self) -> None:
        """Watch no longer: the next wait sees to it that another one does."""
        self.loop.remove_reader(self._socket)
        self._close()
        connection = self._connection()
        if connection is not None and connection.__dict__.get(_SLOT) is self:
            del connection.__dict__[_SLOT]
