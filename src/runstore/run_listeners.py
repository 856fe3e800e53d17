"""Run listeners: hear that runs' logs have grown, and wake the process's tails of them."""

from __future__ import annotations

import asyncio
import selectors
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, Connection

from ._background import Block
from ._outages import pauses
from .run_notifications import LISTEN, UNLISTEN, Source, open_own, open_own_async

Wake = Callable[[], object]


def listen_run_events(source: Source) -> RunListener:
    """Wake tails in a block as soon as a notifier, in any process, tells of their runs.

    `with listen_run_events(dsn) as listener:`, then `tail_run_events(..., listener=listener)`,
    for any number of tails of either kind. `source` is an autocommit connection that nothing
    else uses meanwhile, or a DSN: then the block opens one. It must be a direct one: LISTEN does
    nothing through PgBouncer in transaction mode. `with` starts a thread, `async with` a task; it
    ends with the block.

    When its connection dies the tails go on by polling. With a DSN it opens another one, however
    long that takes, and then wakes every tail once, since what was told meanwhile is lost.
    """
    return RunListener(source)


class RunListener(Block["RunListener"]):
    """Made by `listen_run_events`. Any thread may use it."""

    def __init__(self, source: Source) -> None:
        super().__init__(self._serving, self._serving_async)
        self._source = source
        self._lock = threading.Lock()
        self._wakes: dict[str, set[Wake]] = {}
        self._connected = False

    @property
    def connected(self) -> bool:
        """Whether it hears notifications at the moment."""
        return self._connected

    @contextmanager
    def waking(self, run_id: UUID, wake: Wake) -> Generator[None]:
        """Call `wake`, in a block, at every notification of a run and whenever one may be lost.

        It is called from the thread that listens, and must not block.
        """
        key = str(run_id)
        with self._lock:
            self._wakes.setdefault(key, set()).add(wake)
        try:
            yield
        finally:
            with self._lock:
                self._wakes[key].discard(wake)
                if not self._wakes[key]:
                    del self._wakes[key]

    def _hear(self, payload: str) -> None:
        with self._lock:
            wakes = [wake for key in payload.split(",") for wake in self._wakes.get(key, ())]
        _call(wakes)

    def _start_hearing(self) -> None:
        self._connected = True
        with self._lock:
            wakes = [wake for wakes in self._wakes.values() for wake in wakes]
        _call(wakes)

    @contextmanager
    def _serving(self) -> Generator[RunListener]:
        conn = self._open()
        # The thread waits for its connection and for this pair at once, and so ends promptly.
        ending, end = socket.socketpair()
        with ending, end:
            # A daemon: an interpreter that ends without leaving the block has no use for it.
            thread = threading.Thread(
                target=self._serve, args=(conn, ending), name="runstore-listener", daemon=True
            )
            thread.start()
            try:
                yield self
            finally:
                end.send(b".")
                thread.join()

    def _serve(self, first: Connection[Any], ending: socket.socket) -> None:
        conn: Connection[Any] | None = first
        while conn is not None:
            try:
                self._start_hearing()
                self._receive(conn, ending)
            except psycopg.Error:
                lost = True
            else:
                lost = False
            finally:
                self._connected = False
                self._release(conn)
            conn = self._reopen(ending) if lost else None

    def _receive(self, conn: Connection[Any], ending: socket.socket) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(conn, selectors.EVENT_READ)
            selector.register(ending, selectors.EVENT_READ)
            while True:
                for notify in conn.notifies(timeout=0):
                    self._hear(notify.payload)
                if any(key.fileobj is ending for key, _ in selector.select()):
                    return

    def _open(self) -> Connection[Any]:
        conn = open_own(self._source)
        try:
            conn.execute(LISTEN)
        except BaseException:
            self._release(conn)
            raise
        return conn

    def _reopen(self, ending: socket.socket) -> Connection[Any] | None:
        """Open another connection, or return None when the block ends first."""
        if not isinstance(self._source, str):
            return None
        for pause in pauses():
            ending.settimeout(pause)
            try:
                ending.recv(1)
            except (TimeoutError, BlockingIOError):
                with suppress(psycopg.Error):
                    return self._open()
            else:
                return None
        return None

    def _release(self, conn: Connection[Any]) -> None:
        if conn is not self._source:
            conn.close()
            return
        with suppress(psycopg.Error):
            conn.execute(UNLISTEN)

    @asynccontextmanager
    async def _serving_async(self) -> AsyncGenerator[RunListener]:
        conn = await self._open_async()
        task = asyncio.create_task(self._serve_async(conn), name="runstore-listener")
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _serve_async(self, first: AsyncConnection[Any]) -> None:
        conn: AsyncConnection[Any] | None = first
        while conn is not None:
            try:
                self._start_hearing()
                async for notify in conn.notifies():
                    self._hear(notify.payload)
            except psycopg.Error:
                pass
            finally:
                self._connected = False
                await self._release_async(conn)
            conn = await self._reopen_async()

    async def _open_async(self) -> AsyncConnection[Any]:
        conn = await open_own_async(self._source)
        try:
            await conn.execute(LISTEN)
        except BaseException:
            await self._release_async(conn)
            raise
        return conn

    async def _reopen_async(self) -> AsyncConnection[Any] | None:
        if not isinstance(self._source, str):
            return None
        for pause in pauses():
            await asyncio.sleep(pause)
            with suppress(psycopg.Error):
                return await self._open_async()
        return None

    async def _release_async(self, conn: AsyncConnection[Any]) -> None:
        if conn is not self._source:
            await conn.close()
            return
        with suppress(psycopg.Error):
            await conn.execute(UNLISTEN)


def _call(wakes: Iterable[Wake]) -> None:
    for wake in wakes:
        # The event loop of a tail may be closed before the tail is.
        with suppress(RuntimeError):
            wake()
