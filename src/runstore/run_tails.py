"""Run tails: walking all of a run's log, and following it while the run goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, overload
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from ._background import is_set_within
from ._models import ENDED, RunId
from ._outages import Patience
from ._parameters import checked
from .errors import InvalidPayload
from .run_events import EventPage, RunEvent, RunHead, get_run_head, read_run_events
from .run_listeners import RunListener, Wake

BlockingSource = Connection[Any] | ConnectionPool[Any]
AsyncioSource = AsyncConnection[Any] | AsyncConnectionPool[Any]

_SOURCES: Final = (AsyncConnectionPool, ConnectionPool, AsyncConnection, Connection)


def check_source(source: object) -> None:
    """Refuse what is neither a connection nor a pool, such as a DSN."""
    if not isinstance(source, _SOURCES):
        kind = type(source).__name__
        raise InvalidPayload("source", f"must be a connection or a pool of psycopg, not a {kind}")


@overload
def iter_run_events(
    conn: Connection[Any], run_id: UUID, *, after: int = 0, page_size: int = 200
) -> Generator[RunEvent, None, None]: ...
@overload
def iter_run_events(
    conn: AsyncConnection[Any], run_id: UUID, *, after: int = 0, page_size: int = 200
) -> AsyncGenerator[RunEvent, None]: ...
@checked
def iter_run_events(
    conn: Connection[Any] | AsyncConnection[Any],
    run_id: RunId,
    *,
    after: int = 0,
    page_size: int = 200,
) -> Generator[RunEvent, None, None] | AsyncGenerator[RunEvent, None]:
    """Yield a run's events, those numbered after `after`, in order, up to the last one there is.

    `for` on a blocking connection, `async for` on the other. It holds one page at a time, and
    the connection is free between two events. Of a live run it yields what there is when it
    reads its last page; it does not wait for more. Raises `NotFound` at the first event.
    """
    # What cannot be asked is refused now and not at the first event.
    read_run_events.bind(run_id, after=after, page_size=page_size)
    if isinstance(conn, AsyncConnection):
        return _iter_async(conn, run_id, after, page_size)
    return _iter(conn, run_id, after, page_size)


def _iter(
    conn: Connection[Any], run_id: UUID, after: int, page_size: int
) -> Generator[RunEvent, None, None]:
    more = True
    while more:
        page = read_run_events(conn, run_id, after=after, page_size=page_size)
        yield from page.events
        after, more = _next_page(page, after)


async def _iter_async(
    conn: AsyncConnection[Any], run_id: UUID, after: int, page_size: int
) -> AsyncGenerator[RunEvent, None]:
    more = True
    while more:
        page = await read_run_events(conn, run_id, after=after, page_size=page_size)
        for event in page.events:
            yield event
        after, more = _next_page(page, after)


def _next_page(page: EventPage, after: int) -> tuple[int, bool]:
    """Return where the page after this one starts, and whether it had events by then."""
    if page.events:
        after = page.events[-1].seq
    return after, after < page.last_seq and bool(page.events)


@overload
def tail_run_events(
    source: BlockingSource,
    run_id: UUID,
    *,
    after: int = 0,
    page_size: int = 500,
    min_poll: float = 0.025,
    max_poll: float = 0.5,
    give_up_after: float = 60.0,
    listener: RunListener | None = None,
) -> Generator[RunEvent, None, None]: ...
@overload
def tail_run_events(
    source: AsyncioSource,
    run_id: UUID,
    *,
    after: int = 0,
    page_size: int = 500,
    min_poll: float = 0.025,
    max_poll: float = 0.5,
    give_up_after: float = 60.0,
    listener: RunListener | None = None,
) -> AsyncGenerator[RunEvent, None]: ...
@checked
def tail_run_events(
    source: BlockingSource | AsyncioSource,
    run_id: RunId,
    *,
    after: int = 0,
    page_size: int = 500,
    min_poll: float = 0.025,
    max_poll: float = 0.5,
    give_up_after: float = 60.0,
    listener: RunListener | None = None,
) -> Generator[RunEvent, None, None] | AsyncGenerator[RunEvent, None]:
    """Yield a run's events, those numbered after `after`, in order, until the run has ended.

    Each event once, none left out, and at the end all of them: a page and the run's status are
    of one snapshot. `for` on a blocking source, `async for` on the other.

    - A pool is the better source: between two statements, and while the caller handles an event,
      the tail holds no connection, and when one dies it goes on with another. It bears an outage
      of `give_up_after` seconds and then raises the error.
    - On a bare connection a lost connection is an error. It may be used between two events. Where
      the tail would have to wait in a transaction of the caller's: `psycopg.ProgrammingError`.

    When there is nothing new it asks again after `min_poll` seconds, then after twice as long
    each time up to `max_poll`, with one cheap statement (`get_run_head`). A `listener` wakes it
    sooner; without one it is correct all the same, and works through PgBouncer in transaction
    mode. It may be closed or cancelled at any point, and leaves the connection usable. Raises
    `NotFound`, also when the run is deleted meanwhile.
    """
    read_run_events.bind(run_id, after=after, page_size=page_size)
    if not 0 < min_poll <= max_poll < float("inf"):
        raise InvalidPayload("min_poll", "must be more than 0 and not more than max_poll")
    check_source(source)
    bare = isinstance(source, Connection | AsyncConnection)
    patience = Patience(0.0 if bare else give_up_after)
    steps = _Tail(run_id, page_size, min_poll, max_poll, patience).follow(after)
    listening = partial(listener.waking, run_id) if listener else _not_listening
    if isinstance(source, AsyncConnection | AsyncConnectionPool):
        return _tail_async(source, steps, patience, listening)
    return _tail(source, steps, patience, listening)


@dataclass(frozen=True, slots=True)
class _Question:
    """Call this with a connection of either kind, and send what it answers or throw its error."""

    ask: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Pause:
    """Wait, and send whether a listener ended it."""

    seconds: float


_Listening = Callable[[Wake], AbstractContextManager[None]]
_Step = _Question | _Pause | list[RunEvent]
_Steps = Generator[_Step, Any, Any]


@dataclass(frozen=True, slots=True)
class _Tail:
    """What a tail of either kind does, without doing it: ask, pause, hand out events."""

    run_id: UUID
    page_size: int
    min_poll: float
    max_poll: float
    patience: Patience

    def follow(self, after: int) -> _Steps:
        while True:
            page: EventPage = yield from self._ask(
                read_run_events, after=after, page_size=self.page_size
            )
            if page.events:
                yield page.events
                after = page.events[-1].seq
                if after < page.last_seq:
                    continue
            if page.status in ENDED:
                return
            yield from self._wait(after)

    def _wait(self, after: int) -> _Steps:
        """Pause until there may be more after this event, or the run has ended."""
        interval = self.min_poll
        woken: bool = yield _Pause(interval)
        while not woken:
            head: RunHead = yield from self._ask(get_run_head)
            if head.last_seq > after or head.closed:
                return
            interval = min(2 * interval, self.max_poll)
            woken = yield _Pause(interval)

    def _ask(self, function: Callable[..., Any], **arguments: int) -> _Steps:
        """Ask until there is an answer, or until patience ends."""
        while True:
            try:
                answer = yield _Question(partial(function, run_id=self.run_id, **arguments))
            except psycopg.Error as error:
                yield _Pause(self.patience.pause_after(error))
            else:
                self.patience.end()
                return answer


def _advance(steps: _Steps, answer: object) -> _Step | None:
    """Return the next step, or None after the last."""
    try:
        return steps.throw(answer) if isinstance(answer, psycopg.Error) else steps.send(answer)
    except StopIteration:
        return None


def _tail(
    source: BlockingSource,
    steps: _Steps,
    patience: Patience,
    listening: _Listening,
) -> Generator[RunEvent, None, None]:
    woken = threading.Event()
    with listening(woken.set):
        answer: object = None
        while (step := _advance(steps, answer)) is not None:
            answer = None
            if isinstance(step, _Question):
                # Before the question: what is told from now on may be missing in its answer.
                woken.clear()
                answer = _ask(source, step.ask, patience)
            elif isinstance(step, _Pause):
                _refuse_transaction(source)
                answer = woken.wait(step.seconds)
            else:
                yield from step


async def _tail_async(
    source: AsyncioSource,
    steps: _Steps,
    patience: Patience,
    listening: _Listening,
) -> AsyncGenerator[RunEvent, None]:
    woken = asyncio.Event()
    # A listener may be another thread's.
    wake = partial(asyncio.get_running_loop().call_soon_threadsafe, woken.set)
    with listening(wake):
        answer: object = None
        while (step := _advance(steps, answer)) is not None:
            answer = None
            if isinstance(step, _Question):
                woken.clear()
                answer = await _ask_async(source, step.ask, patience)
            elif isinstance(step, _Pause):
                _refuse_transaction(source)
                answer = await is_set_within(woken, step.seconds)
            else:
                for event in step:
                    yield event


def _not_listening(_: Wake) -> AbstractContextManager[None]:
    return nullcontext()


def _ask(source: BlockingSource, ask: Callable[[Any], Any], patience: Patience) -> object:
    try:
        if isinstance(source, ConnectionPool):
            with source.connection(timeout=patience.limit(source.timeout)) as conn:
                return ask(conn)
        if source.autocommit or _in_transaction(source):
            return ask(source)
        # So that none is left open.
        with source.transaction():
            return ask(source)
    except psycopg.Error as error:
        return error


async def _ask_async(
    source: AsyncioSource, ask: Callable[[Any], Any], patience: Patience
) -> object:
    try:
        if isinstance(source, AsyncConnectionPool):
            async with source.connection(timeout=patience.limit(source.timeout)) as conn:
                return await ask(conn)
        if source.autocommit or _in_transaction(source):
            return await ask(source)
        async with source.transaction():
            return await ask(source)
    except psycopg.Error as error:
        return error


def _in_transaction(conn: Connection[Any] | AsyncConnection[Any]) -> bool:
    return conn.info.transaction_status is TransactionStatus.INTRANS


def _refuse_transaction(source: BlockingSource | AsyncioSource) -> None:
    # It could wait for ever, with a snapshot of its own, and would hold back others meanwhile.
    if isinstance(source, Connection | AsyncConnection) and _in_transaction(source):
        raise psycopg.ProgrammingError("a tail cannot wait for events in a transaction")
