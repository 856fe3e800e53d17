"""Run notifiers: tell the tails of other processes at once that a run's log has grown.

Off the write path: whoever appended marks the run after its commit, and every few milliseconds
one statement on the notifier's own connection wakes the tails of all the runs that were marked.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, Connection

from ._background import Block, is_set_within
from ._parameters import checked
from .errors import InvalidPayload, RunstoreError
from .run_notifications import Source, open_own, open_own_async, send_run_notifications

# The time between two attempts to open another connection, while notifications are dropped.
_RECONNECT_SECONDS: Final = 1.0


@checked
def notify_run_events(source: Source, *, interval: float = 0.02) -> RunNotifier:
    """Wake the tails of the runs that are marked in a block.

    `with notify_run_events(dsn) as notifier:`, then `notifier.mark(run_id)` after each append has
    committed. `source` is an autocommit connection that nothing else uses meanwhile, or a DSN:
    then the block opens one, and a new one when it dies. `with` starts a thread, `async with` a
    task; it ends with the block, after what was marked is sent.

    One statement in `interval` seconds at most, whatever the number of marks and runs. Nothing
    waits for it or fails with it: what cannot be sent is dropped and counted, since tails poll
    as well. It works through PgBouncer in transaction mode; listening does not.
    """
    return RunNotifier(source, interval)


class RunNotifier(Block["RunNotifier"]):
    """Made by `notify_run_events`. Any thread may use it."""

    def __init__(self, source: Source, interval: float) -> None:
        if not 0 < interval < float("inf"):
            raise InvalidPayload("interval", "must be more than 0 seconds")
        super().__init__(self._serving, self._serving_async)
        self._source = source
        self._interval = interval
        self._lock = threading.Lock()
        self._marked: set[UUID] = set()
        self._wake: Callable[[], object] | None = None
        self._connect_at = 0.0
        self._sent = 0
        self._dropped = 0

    @property
    def sent(self) -> int:
        """The number of statements that were sent."""
        return self._sent

    @property
    def dropped(self) -> int:
        """How often a marked run was left for its tails to find by polling."""
        return self._dropped

    def mark(self, *run_ids: UUID) -> None:
        """Have the tails of these runs woken. It does not wait, and it never fails.

        Call it after the commit: a tail that is woken before finds nothing. Outside the block it
        only counts what it drops.
        """
        with self._lock:
            wake = self._wake
            if wake is None:
                self._dropped += len(set(run_ids))
                return
            first = not self._marked
            self._marked.update(run_ids)
        if first:
            wake()

    @contextmanager
    def _serving(self) -> Generator[RunNotifier]:
        conn = open_own(self._source)
        marked, ending = threading.Event(), threading.Event()
        # A daemon: an interpreter that ends without leaving the block has no use for it.
        thread = threading.Thread(
            target=self._serve, args=(conn, marked, ending), name="runstore-notifier", daemon=True
        )
        thread.start()
        self._wake = marked.set
        try:
            yield self
        finally:
            self._stop_marks()
            ending.set()
            marked.set()
            thread.join()

    def _serve(
        self, conn: Connection[Any], marked: threading.Event, ending: threading.Event
    ) -> None:
        while not ending.is_set():
            marked.wait()
            marked.clear()
            conn = self._send(conn)
            ending.wait(self._interval)
        conn = self._send(conn)
        if conn is not self._source:
            conn.close()

    def _send(self, conn: Connection[Any]) -> Connection[Any]:
        """Send what is marked, and return the connection to use from now on."""
        if not (run_ids := self._take()):
            return conn
        try:
            if self._should_reconnect(conn):
                conn = open_own(self._source)
            send_run_notifications(conn, run_ids)
        except (psycopg.Error, RunstoreError):
            self._count_dropped(run_ids)
        else:
            self._sent += 1
        return conn

    @asynccontextmanager
    async def _serving_async(self) -> AsyncGenerator[RunNotifier]:
        conn = await open_own_async(self._source)
        marked, ending = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(
            self._serve_async(conn, marked, ending), name="runstore-notifier"
        )
        self._wake = partial(asyncio.get_running_loop().call_soon_threadsafe, marked.set)
        try:
            yield self
        finally:
            self._stop_marks()
            ending.set()
            marked.set()
            await task

    async def _serve_async(
        self, conn: AsyncConnection[Any], marked: asyncio.Event, ending: asyncio.Event
    ) -> None:
        try:
            while not ending.is_set():
                await marked.wait()
                marked.clear()
                conn = await self._send_async(conn)
                await is_set_within(ending, self._interval)
            conn = await self._send_async(conn)
        finally:
            if conn is not self._source:
                await conn.close()

    async def _send_async(self, conn: AsyncConnection[Any]) -> AsyncConnection[Any]:
        if not (run_ids := self._take()):
            return conn
        try:
            if self._should_reconnect(conn):
                conn = await open_own_async(self._source)
            await send_run_notifications(conn, run_ids)
        except (psycopg.Error, RunstoreError):
            self._count_dropped(run_ids)
        else:
            self._sent += 1
        return conn

    def _take(self) -> set[UUID]:
        with self._lock:
            marked, self._marked = self._marked, set()
        return marked

    def _should_reconnect(self, conn: Connection[Any] | AsyncConnection[Any]) -> bool:
        now = time.monotonic()
        if not conn.closed or not isinstance(self._source, str) or now < self._connect_at:
            return False
        self._connect_at = now + _RECONNECT_SECONDS
        return True

    def _count_dropped(self, run_ids: set[UUID]) -> None:
        with self._lock:
            self._dropped += len(run_ids)

    def _stop_marks(self) -> None:
        with self._lock:
            self._wake = None
