"""Event writers: small events, such as the tokens of a stream, gathered into few appends."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, overload
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from ._gathering import Batch, Gathering
from ._outages import Patience
from .run_events import EventLike, append_run_events
from .run_notifiers import RunNotifier
from .run_tails import AsyncioSource, BlockingSource, check_source


class EventWriter:
    """Appends events to a run, those of a few milliseconds in one statement.

    `with EventWriter(source, run_id) as writer:` and `writer.append(event)` on a blocking
    connection or pool; `async with` and `await writer.append(event)` on the others. Events keep
    the order in which they were given. What is appended when a run ends goes to `complete_run`
    and its like, after the block.

    Events are due when the oldest has waited for `max_delay` seconds, or when `max_events` or
    `max_bytes` (of types and encoded payloads) wait. What then happens depends on the source:

    - With a pool, a thread or a task of the block writes them, on a connection that it borrows
      for each statement. `append` waits only while `max_events` or `max_bytes` wait and the
      statement before is still under way. When a connection dies or the server is away, the
      statement is repeated on another connection for up to `give_up_after` seconds; its id makes
      that safe when only the answer was lost.
    - A bare connection is used inside the caller's own calls and at no other time, since the
      caller may be in the middle of a transaction. So events that are due are written by the next
      `append`, by `flush` or at the end of the block; within the caller's transaction, when there
      is one, and committed with it. When the connection dies, that is an error.

    Leaving the block writes what still waits, also when an exception leaves it. When a statement
    fails, nothing is written any more: the next call raises its error, and so does leaving the
    block, unless another exception leaves it, to which a note is added instead. The error has a
    note (`__notes__`) with the number of events that are not known to be written.

    `notifier` is told of every statement, so that tails wake at once.
    """

    _gathering: Gathering

    @overload
    def __new__(
        cls,
        source: BlockingSource,
        run_id: UUID,
        *,
        max_delay: float = 0.02,
        max_events: int = 500,
        max_bytes: int = 65_536,
        give_up_after: float = 30.0,
        notifier: RunNotifier | None = None,
    ) -> BlockingEventWriter: ...
    @overload
    def __new__(
        cls,
        source: AsyncioSource,
        run_id: UUID,
        *,
        max_delay: float = 0.02,
        max_events: int = 500,
        max_bytes: int = 65_536,
        give_up_after: float = 30.0,
        notifier: RunNotifier | None = None,
    ) -> AsyncioEventWriter: ...
    def __new__(
        cls,
        source: BlockingSource | AsyncioSource,
        run_id: UUID,
        *,
        max_delay: float = 0.02,
        max_events: int = 500,
        max_bytes: int = 65_536,
        give_up_after: float = 30.0,
        notifier: RunNotifier | None = None,
    ) -> Any:
        """Make the writer for this kind of source."""
        check_source(source)
        is_asyncio = isinstance(source, AsyncConnection | AsyncConnectionPool)
        return object.__new__(AsyncioEventWriter if is_asyncio else BlockingEventWriter)

    @property
    def last_seq(self) -> int | None:
        """The number of the last event known to be written; None: none yet."""
        return self._gathering.last_seq

    @property
    def unwritten(self) -> int:
        """The number of events that were given and are not known to be written."""
        return self._gathering.unwritten


class _Writer(EventWriter):
    """What the two kinds have in common. Not in their base, whose call is `__new__` alone."""

    def __init__(
        self,
        source: BlockingSource | AsyncioSource,
        run_id: UUID,
        *,
        max_delay: float = 0.02,
        max_events: int = 500,
        max_bytes: int = 65_536,
        give_up_after: float = 30.0,
        notifier: RunNotifier | None = None,
    ) -> None:
        self._source = source
        self._run_id = run_id
        self._give_up_after = give_up_after
        self._notifier = notifier
        self._gathering = Gathering(run_id, max_delay, max_events, max_bytes)

    def _confirm(self, last_seq: int) -> None:
        self._gathering.confirm(last_seq)
        if self._notifier:
            self._notifier.mark(self._run_id)


class BlockingEventWriter(_Writer):
    """An `EventWriter` of a blocking connection or pool. Threads may share it."""

    def __enter__(self) -> Self:
        """Start the thread that writes, when the source is a pool."""
        self._gathering.open()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        if isinstance(self._source, ConnectionPool):
            # Not a daemon: an interpreter that ends waits until what was given is written.
            self._thread = threading.Thread(
                target=self._write_behind, args=(self._source,), name="runstore-event-writer"
            )
            self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write what still waits, and end the thread."""
        with self._changed:
            self._gathering.end()
            self._changed.notify_all()
            if isinstance(self._source, Connection):
                # The error is kept, and raised or noted below.
                with suppress(Exception):
                    self._write_now(self._source)
        if self._thread:
            self._thread.join()
        self._gathering.settle(exc)

    def append(self, event: EventLike) -> None:
        """Give an event to be written, as it is now.

        Raises `InvalidPayload` for an event that cannot be stored and is not taken, and the error
        of a statement that failed.
        """
        with self._changed:
            if self._thread:
                self._changed.wait_for(self._gathering.has_room)
            changes_wait = self._gathering.add(event)
            if isinstance(self._source, Connection):
                if self._gathering.wait() == 0:
                    self._write_now(self._source)
            elif changes_wait:
                self._changed.notify_all()

    def flush(self) -> None:
        """Return when all that was given is written, or raise the error why it is not."""
        with self._changed:
            mark = self._gathering.ask_for_all()
            if isinstance(self._source, Connection):
                self._write_now(self._source)
            else:
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._gathering.is_done(mark))
                self._gathering.check()

    def _write_now(self, conn: Connection[Any]) -> None:
        while batch := self._gathering.take():
            try:
                last_seq = append_run_events(
                    conn, self._run_id, batch.events, append_id=batch.append_id
                )
            except Exception as error:
                self._gathering.fail(error)
                raise
            self._confirm(last_seq)

    def _write_behind(self, pool: ConnectionPool[Any]) -> None:
        try:
            while batch := self._next_batch():
                last_seq = self._write(pool, batch)
                with self._changed:
                    self._confirm(last_seq)
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread.
            with self._changed:
                self._gathering.fail(error)
                self._changed.notify_all()

    def _next_batch(self) -> Batch | None:
        with self._changed:
            while (seconds := self._gathering.wait()) != 0:
                if seconds is None and self._gathering.ended:
                    return None
                self._changed.wait(seconds)
            batch = self._gathering.take()
            # There is room again.
            self._changed.notify_all()
            return batch

    def _write(self, pool: ConnectionPool[Any], batch: Batch) -> int:
        patience = Patience(self._give_up_after)
        conn: Connection[Any]
        while True:
            try:
                with pool.connection(timeout=patience.limit(pool.timeout)) as conn:
                    return append_run_events(
                        conn, self._run_id, batch.events, append_id=batch.append_id
                    )
            except psycopg.Error as error:
                time.sleep(patience.pause_after(error))


class AsyncioEventWriter(_Writer):
    """An `EventWriter` of an asyncio connection or pool. Tasks of one loop may share it."""

    async def __aenter__(self) -> Self:
        """Start the task that writes, when the source is a pool."""
        self._gathering.open()
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        if isinstance(self._source, AsyncConnectionPool):
            self._task = asyncio.create_task(
                self._write_behind(self._source), name="runstore-event-writer"
            )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write what still waits, and end the task."""
        try:
            await self._finish()
        except BaseException as interruption:
            interruption.add_note(self._gathering.loss())
            raise
        self._gathering.settle(exc)

    async def append(self, event: EventLike) -> None:
        """Give an event to be written, as it is now.

        Raises `InvalidPayload` for an event that cannot be stored and is not taken, and the error
        of a statement that failed. Cancelled while it waits for room, it has not taken the event.
        """
        async with self._changed:
            if self._task:
                await self._changed.wait_for(self._gathering.has_room)
            changes_wait = self._gathering.add(event)
            if isinstance(self._source, AsyncConnection):
                if self._gathering.wait() == 0:
                    await self._write_now(self._source)
            elif changes_wait:
                self._changed.notify_all()

    async def flush(self) -> None:
        """Return when all that was given is written, or raise the error why it is not."""
        async with self._changed:
            mark = self._gathering.ask_for_all()
            if isinstance(self._source, AsyncConnection):
                await self._write_now(self._source)
            else:
                self._changed.notify_all()
                await self._changed.wait_for(lambda: self._gathering.is_done(mark))
                self._gathering.check()

    async def _finish(self) -> None:
        self._gathering.end()
        try:
            async with self._changed:
                self._changed.notify_all()
                if isinstance(self._source, AsyncConnection):
                    # The error is kept, and raised or noted by the caller.
                    with suppress(Exception):
                        await self._write_now(self._source)
            if self._task:
                await self._task
        finally:
            if self._task:
                self._task.cancel()
                await asyncio.wait([self._task])

    async def _write_now(self, conn: AsyncConnection[Any]) -> None:
        while batch := self._gathering.take():
            try:
                last_seq = await append_run_events(
                    conn, self._run_id, batch.events, append_id=batch.append_id
                )
            except Exception as error:
                self._gathering.fail(error)
                raise
            self._confirm(last_seq)

    async def _write_behind(self, pool: AsyncConnectionPool[Any]) -> None:
        try:
            while batch := await self._next_batch():
                self._confirm(await self._write(pool, batch))
                await self._notify()
        except asyncio.CancelledError:
            # Raised in the caller's task it would look like a cancellation of that one.
            self._gathering.fail(RuntimeError("the task that writes events was cancelled"))
            await self._notify()
            raise
        except Exception as error:  # noqa: BLE001 - it is raised in the caller's task.
            self._gathering.fail(error)
            await self._notify()

    async def _next_batch(self) -> Batch | None:
        async with self._changed:
            while (seconds := self._gathering.wait()) != 0:
                if seconds is None and self._gathering.ended:
                    return None
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._changed.wait()
            batch = self._gathering.take()
            # There is room again.
            self._changed.notify_all()
            return batch

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _write(self, pool: AsyncConnectionPool[Any], batch: Batch) -> int:
        patience = Patience(self._give_up_after)
        conn: AsyncConnection[Any]
        while True:
            try:
                async with pool.connection(timeout=patience.limit(pool.timeout)) as conn:
                    return await append_run_events(
                        conn, self._run_id, batch.events, append_id=batch.append_id
                    )
            except psycopg.Error as error:
                await asyncio.sleep(patience.pause_after(error))
