"""Quota gates: for a subject that many callers in a process reserve for at once.

A counter changes hands at a commit, so one subject has about as many reservations a second as
the server has commits one after the other. A gate makes one statement, and one commit, of all
the reservations that wait. It needs no thread of its own: of the callers that wait one sends the
statement for all of them, and the next one follows when it is done.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Final, overload
from uuid import UUID

from psycopg import AsyncConnection, Connection
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from . import _sql
from ._arrays import arrays_of
from ._models import other_than
from ._parameters import checked
from ._query import Rows, Statement, Steps, drive, drive_async, query, reads
from ._statements import maker, parameter_columns, refuse_twice
from .errors import InvalidPayload, RunstoreError
from .run_tails import AsyncioSource, BlockingSource, check_source
from .usage_counters import ExceededQuota
from .usage_reservations import (
    Grant,
    NewReservation,
    Reservation,
    decide,
    granted,
    pass_over_changes,
    reserve_usage,
)

_SQL: Final = _sql.load("quota_gates")
MAX_BATCH: Final = 1000

_Source = BlockingSource | AsyncioSource
_Line = tuple[_Source, str | None, str]
_Answer = Reservation | ExceededQuota | None


@query
@reads(UUID, Grant | None, ExceededQuota | None)
def reserve_usages(
    data: Sequence[NewReservation],
) -> Statement[list[Reservation | ExceededQuota | None]]:
    """Hold what fits of several reservations of one subject, and return what became of each.

    One statement: in their order, up to one that does not fit with those before it. For one that
    does not even fit alone the answer is the quota that it would pass. None comes after one that
    does not fit, or is repeated, and all are None where others took the room or an id at the same
    moment: `reserve_usage` decides each of them.
    """
    columns = _columns_of(data)
    exceeded = maker(ExceededQuota)

    def read(rows: Rows) -> list[_Answer]:
        # By their numbers: ids are compared and hashed by Python.
        found = {row[0].int: row for row in rows}
        answers: list[_Answer] = []
        for item in data:
            row = found.get(item.id.int)
            if row is None:
                answers.append(None)
            else:
                answers.append(granted(item, row[1:5]) if row[5] is None else exceeded(row[5:]))
        return answers

    def refused(error: RunstoreError) -> Steps[list[_Answer]]:
        yield from pass_over_changes(error)
        return [None] * len(data)

    return Statement(_SQL["reserve_usages"], columns, read, refused=refused)


def _columns_of(data: Sequence[NewReservation]) -> dict[str, Any]:
    if not 1 <= len(data) <= MAX_BATCH:
        raise InvalidPayload("data", f"must be from 1 to {MAX_BATCH} reservations")
    columns = parameter_columns(data, NewReservation)
    subject = {name: columns.pop(name) for name in ("tenant_id", "subject_id")}
    for name, values in subject.items():
        for index, value in enumerate(values):
            if value != values[0]:
                raise InvalidPayload(f"[{index}].{name}", "differs from that of the batch's first")
    refuse_twice(columns["id"])
    arrays = arrays_of(_SQL["reserve_usages"].text, columns)
    return {**arrays, **{name: values[0] for name, values in subject.items()}}


@dataclass(eq=False, slots=True)
class _Caller(ABC):
    """Somebody who waits: to be answered, or to send the next batch."""

    source: _Source
    data: NewReservation
    leads: bool = field(default=False, init=False)
    answer: _Answer = field(default=None, init=False)

    @property
    def line(self) -> _Line:
        """In which line it waits: whose connections it lends, and whose reservation it is.

        What is sent on another source's connection may be in another database, or another tenant's:
        a session has one of its own.
        """
        return self.source, self.data.tenant_id, self.data.subject_id

    @abstractmethod
    def wake(self) -> None:
        """Have it go on. Raises `RuntimeError` when it never will."""


@dataclass(eq=False, slots=True)
class _Thread(_Caller):
    """A thread, which waits for a lock that it holds."""

    _turn: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self._turn.acquire()

    def wait(self) -> None:
        self._turn.acquire()

    def wake(self) -> None:
        self._turn.release()


@dataclass(eq=False, slots=True)
class _Task(_Caller):
    """A task of the loop that the source belongs to, as do all that wait behind it."""

    turn: asyncio.Future[None] = field(init=False)

    def __post_init__(self) -> None:
        self.turn = asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        # It may have been cancelled meanwhile.
        if not self.turn.done():
            self.turn.set_result(None)


class QuotaGate:
    """Reserves like `reserve_usage`, with the same answers, for many callers of one process.

    `gate.reserve_usage(source, data)`, awaited where the source is an asyncio connection or pool;
    any number of threads and tasks may share a gate. A reservation that finds nobody at work on its
    subject by the same source is sent at once. Those that come meanwhile wait, and are sent
    together, at most `max_batch` of them, by one of their callers. Only that one borrows a
    connection of the pool: however many wait, a subject takes one at a time, and what was written
    on it is committed before anyone is answered. What the batch does not decide, each caller's own
    statements do.

    Callers wait for each other when they give the same pool. Nobody's reservation is sent on a
    connection of another source, which may have another tenant, role or database.

    Within a transaction, and on a connection without autocommit, it is `reserve_usage`: what
    others wait for must commit at once.
    """

    @checked
    def __init__(self, *, max_batch: int = 64) -> None:
        if not 1 <= max_batch <= MAX_BATCH:
            raise InvalidPayload("max_batch", f"must be from 1 to {MAX_BATCH}")
        self._max_batch = max_batch
        self._lock = threading.Lock()
        # Those who wait, in each line for which somebody is at work.
        self._waiting: dict[_Line, deque[_Caller]] = {}

    @overload
    def reserve_usage(self, source: BlockingSource, data: NewReservation) -> Reservation: ...
    @overload
    def reserve_usage(
        self, source: AsyncioSource, data: NewReservation
    ) -> Coroutine[Any, Any, Reservation]: ...
    def reserve_usage(
        self, source: BlockingSource | AsyncioSource, data: NewReservation
    ) -> Reservation | Coroutine[Any, Any, Reservation]:
        """Reserve as `reserve_usage` does, together with those who wait for its subject.

        A caller that is interrupted or cancelled while its reservation is being sent does not know
        whether it is held, as with every other call.
        """
        check_source(source)
        if not isinstance(data, NewReservation):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise other_than(NewReservation, data, "data")
        if isinstance(source, AsyncConnection | AsyncConnectionPool):
            return self._reserve_async(source, data)
        return self._reserve(source, data)

    def _reserve(self, source: BlockingSource, data: NewReservation) -> Reservation:
        if isinstance(source, Connection) and not _commits_at_once(source):
            return reserve_usage(source, data)
        caller = _Thread(source, data)
        if not self._lead(caller):
            try:
                caller.wait()
            except BaseException:
                self._withdraw(caller)
                raise
        if caller.leads:
            batch: list[_Caller] = [caller]
            try:
                with _lend(source) as conn:
                    self._gather(batch)
                    answers = drive(conn, _send(batch))
                _answer(batch, answers)
            finally:
                self._hand_over(batch)
        if caller.answer is None:
            with _lend(source) as conn:
                return drive(conn, decide(data))
        return _told(caller.answer)

    async def _reserve_async(self, source: AsyncioSource, data: NewReservation) -> Reservation:
        if isinstance(source, AsyncConnection) and not _commits_at_once(source):
            return await reserve_usage(source, data)
        caller = _Task(source, data)
        if not self._lead(caller):
            try:
                await caller.turn
            except BaseException:
                self._withdraw(caller)
                raise
        if caller.leads:
            batch: list[_Caller] = [caller]
            try:
                async with _lend_async(source) as conn:
                    # Those whom the batch before has woken with this one may come again.
                    await asyncio.sleep(0)
                    self._gather(batch)
                    answers = await drive_async(conn, _send(batch))
                _answer(batch, answers)
            finally:
                self._hand_over(batch)
        if caller.answer is None:
            async with _lend_async(source) as conn:
                return await drive_async(conn, decide(data))
        return _told(caller.answer)

    def _lead(self, caller: _Caller) -> bool:
        """Say that a caller may go at once, or let it wait for whoever is at work."""
        line = caller.line
        with self._lock:
            waiting = self._waiting.get(line)
            if waiting is None:
                self._waiting[line] = deque()
                caller.leads = True
            else:
                waiting.append(caller)
            return caller.leads

    def _gather(self, batch: list[_Caller]) -> None:
        """Take those who wait out of the line, behind the one who leads them."""
        [leader] = batch
        ids = {leader.data.id.int}
        with self._lock:
            waiting = self._waiting[leader.line]
            while waiting and len(batch) < self._max_batch and waiting[0].data.id.int not in ids:
                batch.append(waiting.popleft())
                ids.add(batch[-1].data.id.int)

    def _hand_over(self, batch: list[_Caller]) -> None:
        """Let the next one lead, and those of a batch go: with an answer or to decide alone."""
        leader, *followers = batch
        line = leader.line
        with self._lock:
            waiting = self._waiting[line]
            if waiting:
                followers.append(waiting.popleft())
                followers[-1].leads = True
            else:
                del self._waiting[line]
        for caller in followers:
            try:
                caller.wake()
            except RuntimeError:
                # Its event loop is closed.
                self._withdraw(caller)

    def _withdraw(self, caller: _Caller) -> None:
        """Take somebody who will not wait any longer out of the line."""
        with self._lock:
            waiting = self._waiting.get(caller.line)
            if waiting is not None and caller in waiting:
                waiting.remove(caller)
        if caller.leads:
            self._hand_over([caller])


def _lend(source: BlockingSource) -> AbstractContextManager[Connection[Any]]:
    return source.connection() if isinstance(source, ConnectionPool) else nullcontext(source)


def _lend_async(source: AsyncioSource) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
    return source.connection() if isinstance(source, AsyncConnectionPool) else nullcontext(source)


def _commits_at_once(conn: Connection[Any] | AsyncConnection[Any]) -> bool:
    return conn.autocommit and conn.info.transaction_status is TransactionStatus.IDLE


def _send(batch: list[_Caller]) -> Steps[list[_Answer]]:
    data = [caller.data for caller in batch]
    answers = yield from reserve_usages.bind(data)
    if len(data) == 1 or any(answers):
        return answers
    # Somebody else's change came between, or all of them are repeated.
    return (yield from reserve_usages.bind(data))


def _answer(batch: list[_Caller], answers: list[_Answer]) -> None:
    for caller, answer in zip(batch, answers, strict=True):
        caller.answer = answer


def _told(answer: Reservation | ExceededQuota) -> Reservation:
    if isinstance(answer, ExceededQuota):
        raise answer.error()
    return answer
