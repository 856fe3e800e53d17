"""Gates whose leader's connection is lost: nobody behind it waits for ever, or is held twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import psycopg
import pytest

from connections import Kind, wait_until_blocked
from fault_connections import SIDES, Fault, faulty, open_faulty
from gate_lines import wait_for_line, waiting
from invariants import broken
from laboratory import await_rollback, empty
from runstore import (
    NewReservation,
    QuotaGate,
    Reservation,
    open_pool,
    open_pool_async,
    reserve_usage,
    transaction,
)
from sessions import Session
from streams import SOURCES, Source
from usage_factories import make_quota, new_reservation, used_and_held

T = TypeVar("T")


@pytest.fixture
def connection_kind(source: Source) -> Kind:
    return source.kind


def start(work: Callable[[], T]) -> Future[T]:
    """Do work in a thread that ends with the tests at the latest."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised to who asks for the result.
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def reserve(
    source: Source, dsn: str, gate: QuotaGate, data: NewReservation, fault: Fault
) -> Reservation:
    """Reserve on a connection that the fault is about to meet, or by a pool of such.

    The pool's are without autocommit, so that a COMMIT follows what is sent for all.
    """
    if not source.pooled:
        with open_faulty(source.kind, dsn, fault) as session:
            reservation: Reservation = session.run(gate.reserve_usage(session.conn, data))
            return reservation
    settings: dict[str, Any] = {
        "max_size": 1,
        "autocommit": False,
        "pool_settings": {"check": None, "connection_class": faulty(source.kind, fault)},
    }
    if source.kind == "blocking":
        with open_pool(dsn, **settings) as pool:
            return gate.reserve_usage(pool, data)

    async def reserve_async() -> Reservation:
        async with await open_pool_async(dsn, **settings) as pool:
            return await gate.reserve_usage(pool, data)

    return asyncio.run(reserve_async())


class Line:
    """Three callers of a gate: one is at work, and of two behind it the first leads the other."""

    def __init__(self, observer: Session) -> None:
        self.gate = QuotaGate()
        self.first = new_reservation(amounts={"runs": 1})
        self.leader, self.follower = new_reservation(5), new_reservation(7)
        self._observer = observer

    def run(
        self, source: Source, dsn: str, fault: Fault
    ) -> tuple[Future[Reservation], Future[Reservation]]:
        """Let the leader's connection meet a fault; return what the two behind the first hear."""

        def reserves(data: NewReservation, fault: Fault) -> Future[Reservation]:
            return start(lambda: reserve(source, dsn, self.gate, data, fault))

        empty(self._observer)
        make_quota(self._observer, meter="runs")
        with psycopg.connect(dsn, autocommit=True) as holder, transaction(holder):
            holder.execute("SELECT FROM runstore.usage_counters FOR UPDATE")
            first = reserves(self.first, Fault())
            wait_until_blocked(self._observer.conn)
            # In a new window, so that the leader has to make counters too.
            for period in ("day", "hour"):
                make_quota(self._observer, period=period)
            self._observer.execute(
                "DELETE FROM runstore.usage_counters USING runstore.quotas"
                " WHERE quotas.id = quota_id AND meter = 'tokens'"
            )
            leader = reserves(self.leader, fault)
            wait_for_line(self.gate, 1)
            follower = reserves(self.follower, Fault())
            wait_for_line(self.gate, 2)
        assert first.result(timeout=10).status == "held"
        return leader, follower


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_a_leader_that_fails_anywhere_keeps_nobody_waiting_and_doubles_nothing(
    laboratory: str, observer: Session, healthy: Session, source: Source
) -> None:
    both = Line(observer).run(source, laboratory, fault := Fault())
    assert [each.result(timeout=10).status for each in both] == ["held", "held"]
    # Closing a connection is one more.
    trips = fault.trips - (not source.pooled)
    assert trips >= 3

    for trip in range(1, trips + 1):
        for side in SIDES:
            line = Line(observer)
            leader, follower = line.run(source, laboratory, Fault(trip, side))
            assert isinstance(leader.exception(timeout=10), psycopg.OperationalError)
            answer = follower.result(timeout=10)
            assert waiting(line.gate) == {}

            await_rollback(observer)
            ids = {id for (id,) in observer.execute("SELECT id FROM runstore.usage_reservations")}
            done = [line.leader.id] if (trip, side) == (trips, "after") else []
            assert ids == {line.first.id, line.follower.id, *done}
            assert broken(observer) == {}

            assert healthy(reserve_usage, line.leader).status == "held"
            assert healthy(reserve_usage, line.follower) == answer
            assert used_and_held(observer) == [(0, 1), (0, 12), (0, 12)]
            assert broken(observer) == {}
