"""Quota gates: for a subject that many callers in a process reserve for at once.

A counter changes hands at a commit, so one subject has about as many reservations a second as
the server has commits one after the other. A gate makes one statement, and one commit, of all
the reservations that wait. It needs no thread of its own: of the callers that wait one sends the
statement for all of them, on its own connection, and the next one follows when it is done.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, overload
from uuid import UUID

from psycopg import AsyncConnection, Connection
from psycopg.pq import TransactionStatus
from pydantic import JsonValue

from . import _sql
from ._arrays import arrays_of
from ._models import Row
from ._parameters import checked
from ._query import Rows, Statement, Steps, drive, drive_async, query, reads
from ._statements import parameters_of
from .errors import InvalidPayload, RunstoreError
from .usage_reservations import (
    NewReservation,
    Reservation,
    decide,
    granted,
    pass_over_taken,
    reserve_usage,
)

_SQL: Final = _sql.load("quota_gates")
MAX_BATCH: Final = 1000

_Subject = tuple[str | None, str]


class GrantOf(Row):
    """What the database adds to one of several reservations, by its id."""

    id: UUID
    tenant_id: str
    metadata: dict[str, JsonValue]
    created_at: datetime
    expires_at: datetime


@query
@reads(GrantOf)
def reserve_usages(data: Sequence[NewReservation]) -> Statement[list[Reservation]]:
    """Hold what fits of several reservations of one subject, and return what is held, in no order.

    One statement: in their order, up to one that does not fit with those before it; those that do
    not even fit alone are passed over. What is missing in the answer may be exceeded, repeated, or
    the first of a new window: `reserve_usage` decides each of them.
    """
    columns = _columns_of(data)
    given = {item.id: item for item in data}

    def read(rows: Rows) -> list[Reservation]:
        return [granted(given[row[0]], row[1:]) for row in rows]

    def refused(error: RunstoreError) -> Steps[list[Reservation]]:
        yield from pass_over_taken(error)
        return []

    return Statement(_SQL["reserve_usages"], columns, read, refused=refused)


@query
@reads(UUID)
def make_usage_counters(
    tenant_id: str | None, subject_id: str, meters: list[str]
) -> Statement[list[UUID]]:
    """Make the counters of a subject's present windows that are missing; return their quotas."""
    parameters = {"tenant_id": tenant_id, "subject_id": subject_id, "meters": meters}
    return Statement(_SQL["make_usage_counters"], parameters, lambda rows: [row[0] for row in rows])


def _columns_of(data: Sequence[NewReservation]) -> dict[str, Any]:
    if not 1 <= len(data) <= MAX_BATCH:
        raise InvalidPayload("data", f"must be from 1 to {MAX_BATCH} reservations")
    rows = [parameters_of(item, NewReservation) for item in data]
    subject = {name: rows[0][name] for name in ("tenant_id", "subject_id")}
    for index, row in enumerate(rows):
        if any(row[name] != value for name, value in subject.items()):
            raise InvalidPayload(f"[{index}].subject_id", "differs from that of the batch's first")
    if len({row["id"] for row in rows}) != len(rows):
        raise InvalidPayload("data", "holds an id twice")
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {**arrays_of(_SQL["reserve_usages"].text, columns), **subject}


@dataclass(eq=False, slots=True)
class _Caller:
    """Somebody who waits: to be answered, or to send the next batch."""

    data: NewReservation
    wake: Callable[[], object]
    leads: bool = False
    answer: Reservation | None = None


class QuotaGate:
    """Reserves like `reserve_usage`, with the same answers, for many callers of one process.

    `gate.reserve_usage(conn, data)`, awaited where `conn` is an `AsyncConnection`; any number of
    threads and tasks may share a gate, each with a connection of its own. A reservation that
    finds nobody at work on its subject is sent at once. Those that come meanwhile wait, and are
    sent together, at most `max_batch` of them, by one of their callers and on its connection.
    What is not held by that is decided by its own caller's own statements.

    Within a transaction, and on a connection without autocommit, it is `reserve_usage`: what
    others wait for must commit at once.
    """

    @checked
    def __init__(self, *, max_batch: int = 64) -> None:
        if not 1 <= max_batch <= MAX_BATCH:
            raise InvalidPayload("max_batch", f"must be from 1 to {MAX_BATCH}")
        self._max_batch = max_batch
        self._lock = threading.Lock()
        # Those who wait, for each subject that somebody is at work on.
        self._waiting: dict[_Subject, deque[_Caller]] = {}

    @overload
    def reserve_usage(self, conn: Connection[Any], data: NewReservation) -> Reservation: ...
    @overload
    def reserve_usage(
        self, conn: AsyncConnection[Any], data: NewReservation
    ) -> Coroutine[Any, Any, Reservation]: ...
    def reserve_usage(
        self, conn: Connection[Any] | AsyncConnection[Any], data: NewReservation
    ) -> Reservation | Coroutine[Any, Any, Reservation]:
        """Reserve as `reserve_usage` does, together with whoever waits for the same subject.

        A caller that is interrupted or cancelled while its reservation is being sent does not know
        whether it is held, as with every other call.
        """
        parameters_of(data, NewReservation)
        if isinstance(conn, AsyncConnection):
            return self._reserve_async(conn, data)
        return self._reserve(conn, data)

    def _reserve(self, conn: Connection[Any], data: NewReservation) -> Reservation:
        if not _commits_at_once(conn):
            return reserve_usage(conn, data)
        turn = threading.Event()
        caller = _Caller(data, turn.set)
        if not self._lead(caller):
            try:
                turn.wait()
            except BaseException:
                self._withdraw(caller)
                raise
        if caller.leads:
            batch = self._gather(caller)
            try:
                _answer(batch, drive(conn, _send(batch)))
            finally:
                self._hand_over(batch)
        return drive(conn, decide(data)) if caller.answer is None else caller.answer

    async def _reserve_async(self, conn: AsyncConnection[Any], data: NewReservation) -> Reservation:
        if not _commits_at_once(conn):
            return await reserve_usage(conn, data)
        turn = asyncio.Event()
        caller = _Caller(data, _waker(asyncio.get_running_loop(), turn))
        if not self._lead(caller):
            try:
                await turn.wait()
            except BaseException:
                self._withdraw(caller)
                raise
        if caller.leads:
            batch = self._gather(caller)
            try:
                _answer(batch, await drive_async(conn, _send(batch)))
            finally:
                self._hand_over(batch)
        if caller.answer is None:
            return await drive_async(conn, decide(data))
        return caller.answer

    def _lead(self, caller: _Caller) -> bool:
        """Say that a caller may go at once, or let it wait for whoever is at work."""
        subject = _subject_of(caller)
        with self._lock:
            waiting = self._waiting.get(subject)
            if waiting is None:
                self._waiting[subject] = deque()
                caller.leads = True
            else:
                waiting.append(caller)
            return caller.leads

    def _gather(self, leader: _Caller) -> list[_Caller]:
        """Take those who wait out of the line, behind the one who leads them."""
        batch = {leader.data.id: leader}
        with self._lock:
            waiting = self._waiting[_subject_of(leader)]
            while waiting and len(batch) < self._max_batch and waiting[0].data.id not in batch:
                caller = waiting.popleft()
                batch[caller.data.id] = caller
        return list(batch.values())

    def _hand_over(self, batch: list[_Caller]) -> None:
        """Let the next one lead, and those of a batch go: with an answer or to decide alone."""
        leader, *followers = batch
        subject = _subject_of(leader)
        with self._lock:
            waiting = self._waiting[subject]
            if waiting:
                followers.append(waiting.popleft())
                followers[-1].leads = True
            else:
                del self._waiting[subject]
        for caller in followers:
            try:
                caller.wake()
            except RuntimeError:
                # Its event loop is closed.
                self._withdraw(caller)

    def _withdraw(self, caller: _Caller) -> None:
        """Take somebody who will not wait any longer out of the line."""
        with self._lock:
            waiting = self._waiting.get(_subject_of(caller))
            if waiting is not None and caller in waiting:
                waiting.remove(caller)
        if caller.leads:
            self._hand_over([caller])


def _waker(loop: asyncio.AbstractEventLoop, turn: asyncio.Event) -> Callable[[], object]:
    def wake() -> None:
        # From its own loop that is a matter of course, from another thread a system call.
        if _running_loop() is loop:
            turn.set()
        else:
            loop.call_soon_threadsafe(turn.set)

    return wake


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _commits_at_once(conn: Connection[Any] | AsyncConnection[Any]) -> bool:
    return conn.autocommit and conn.info.transaction_status is TransactionStatus.IDLE


def _subject_of(caller: _Caller) -> _Subject:
    return caller.data.tenant_id, caller.data.subject_id


def _send(batch: list[_Caller]) -> Steps[list[Reservation]]:
    data = [caller.data for caller in batch]
    answer = yield from reserve_usages.bind(data)
    if answer or len(data) == 1:
        return answer
    meters = sorted({meter for item in data for meter in item.amounts})
    made = yield from make_usage_counters.bind(data[0].tenant_id, data[0].subject_id, meters)
    return (yield from reserve_usages.bind(data)) if made else []


def _answer(batch: list[_Caller], held: list[Reservation]) -> None:
    by_id = {reservation.id: reservation for reservation in held}
    for caller in batch:
        caller.answer = by_id.get(caller.data.id)
