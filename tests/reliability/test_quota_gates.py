"""Gates whose leader's connection is lost: nobody behind it waits for ever, or is held twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from connections import Kind, wait_until_blocked
from fault_connections import SIDES, Fault, faulty
from gate_lines import wait_for_line, waiting
from invariants import broken
from laboratory import await_rollback, empty
from runstore import (
    NewReservation,
    QuotaGate,
    Reservation,
    reserve_usage,
    transaction,
)
from sessions import Session
from streams import POOLS, Source
from usage_factories import make_quota, new_reservation, used_and_held

Reserve = Callable[[NewReservation], "Future[Reservation]"]


@pytest.fixture
def connection_kind(source: Source) -> Kind:
    return source.kind


@contextmanager
def open_gated(source: Source, gate: QuotaGate, dsn: str, fault: Fault) -> Generator[Reserve]:
    """Reserve by a pool of two connections, the second of which the fault is about to meet.

    They are without autocommit, so that a COMMIT follows what is sent for all. The pool is one of
    psycopg's own, which lend what has been idle for longest.
    """
    settings: dict[str, Any] = {
        "min_size": 2,
        "max_size": 2,
        "connection_class": faulty(source.kind, Fault()),
    }
    if source.kind == "blocking":
        with (
            ConnectionPool[Any](dsn, open=True, **settings) as pool,
            ThreadPoolExecutor(3) as executor,
        ):
            idle = [pool.getconn(), pool.getconn()]
            vars(idle[1])["fault"] = fault
            for conn in idle:
                pool.putconn(conn)
            yield lambda data: executor.submit(gate.reserve_usage, pool, data)
        return

    async def open_async() -> AsyncConnectionPool[Any]:
        pool = AsyncConnectionPool[Any](dsn, open=False, **settings)
        await pool.open()
        idle = [await pool.getconn(), await pool.getconn()]
        vars(idle[1])["fault"] = fault
        for conn in idle:
            await pool.putconn(conn)
        return pool

    with loop_of_a_thread() as loop:
        pool_async = asyncio.run_coroutine_threadsafe(open_async(), loop).result(10)
        yield lambda data: asyncio.run_coroutine_threadsafe(
            gate.reserve_usage(pool_async, data), loop
        )
        asyncio.run_coroutine_threadsafe(pool_async.close(), loop).result(10)


@contextmanager
def loop_of_a_thread() -> Generator[asyncio.AbstractEventLoop]:
    """Run an event loop in a thread that ends with the tests at the latest."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


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
        empty(self._observer)
        make_quota(self._observer, meter="runs")
        with open_gated(source, self.gate, dsn, fault) as reserve:
            with psycopg.connect(dsn, autocommit=True) as holder, transaction(holder):
                holder.execute("SELECT FROM runstore.usage_counters FOR UPDATE")
                first = reserve(self.first)
                wait_until_blocked(self._observer.conn)
                # In a new window, so that the leader makes counters too.
                for period in ("day", "hour"):
                    make_quota(self._observer, period=period)
                self._observer.execute(
                    "DELETE FROM runstore.usage_counters USING runstore.quotas"
                    " WHERE quotas.id = quota_id AND meter = 'tokens'"
                )
                leader = reserve(self.leader)
                wait_for_line(self.gate, 1)
                follower = reserve(self.follower)
                wait_for_line(self.gate, 2)
            assert first.result(timeout=10).status == "held"
            wait([leader, follower], timeout=10)
        return leader, follower


@pytest.mark.parametrize("source", POOLS, ids=str)
def test_a_leader_that_fails_anywhere_keeps_nobody_waiting_and_doubles_nothing(
    laboratory: str, observer: Session, healthy: Session, source: Source
) -> None:
    both = Line(observer).run(source, laboratory, fault := Fault())
    assert [each.result(timeout=10).status for each in both] == ["held", "held"]
    trips = fault.trips
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
