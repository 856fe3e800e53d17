"""Many callers who use the quotas of many subjects in every way at once, and what must hold.

Each check raises `Violation` when what it looks at is not so: the tests want none, and the
mutants one.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Protocol

import psycopg
from psycopg import Connection
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow

from poolers import POOLER
from runstore import (
    InvalidTransition,
    NewQuota,
    NewReservation,
    NewUsage,
    NotFound,
    QuotaExceeded,
    expire_reservations,
    get_usage,
    record_usage,
    release_usage,
    remove_quota,
    renew_reservation,
    reserve_usage,
    set_quota,
    settle_usage,
    verify_usage,
)
from runstore.quotas import Period

Conn = Connection[TupleRow]

METERS: Final = ("tokens", "runs", "cost_nanousd")
PERIODS: Final[tuple[Period, ...]] = ("day", "month", "total")


class Violation(AssertionError):
    """Something that must never be."""


class Reserve(Protocol):
    """Reserves, directly or through a gate."""

    def __call__(self, conn: Any, data: NewReservation, /) -> Any: ...


def open_connection(dsn: str) -> Conn:
    """Open a connection that hears of a deadlock at once, or by way of a pooler in a second."""
    if not POOLER:
        dsn = make_conninfo(dsn, options="-c deadlock_timeout=10ms")
    return psycopg.connect(dsn, autocommit=True)


@contextmanager
def connections(dsn: str, count: int) -> Generator[list[Conn]]:
    with ExitStack() as stack:
        yield [stack.enter_context(open_connection(dsn)) for _ in range(count)]


def verify(conn: Conn) -> None:
    """Check that all counters are what the log and the open holds say."""
    cursor = None
    while True:
        page = verify_usage(conn, cursor=cursor)
        if page.items:
            raise Violation(f"{len(page.items)} counters disagree: {page.items[0]}")
        cursor = page.next_cursor
        if cursor is None:
            return


@contextmanager
def no_deadlock(conn: Conn) -> Generator[None]:
    """Check that the block meets no deadlock, by the server's own count too."""
    before = deadlocks(conn)
    try:
        yield
    except psycopg.errors.DeadlockDetected as error:
        raise Violation("a deadlock") from error
    if deadlocks(conn) != before:
        raise Violation("the server counted a deadlock")


def deadlocks(conn: Conn) -> int:
    row = conn.execute(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    return int(row[0])


@dataclass(frozen=True)
class Crowd:
    """Writers of one subject with one hard limit."""

    limit: int
    reserve: Reserve
    settles: bool
    stop: threading.Event = field(default_factory=threading.Event)

    def write(self, conn: Conn, seed: int) -> Counter[str]:
        """Ask for less and less, until a single unit is refused."""
        choose, done = random.Random(seed), Counter[str]()
        most = 9
        while most and not self.stop.is_set():
            tokens = choose.randint(1, most)
            data = NewReservation(subject_id="crowd", amounts={"tokens": tokens})
            try:
                self.reserve(conn, data)
            except QuotaExceeded as error:
                if error.used + error.held + error.asked <= error.limit:
                    raise Violation(f"refused, and it would have fit: {error}") from error
                done["refused"] += 1
                most = tokens - 1
            else:
                done["reserved"] += 1
                if self.settles and choose.random() < 0.5:
                    settle_usage(conn, data.id, data.amounts)
        return done

    def taken(self, conn: Conn) -> int:
        """Return what is used and held, which never passes the limit."""
        [quota] = get_usage(conn, "crowd")
        if quota.used + quota.held > self.limit:
            raise Violation(f"the limit of {self.limit} is passed: {quota}")
        return quota.used + quota.held

    def watch(self, conn: Conn) -> None:
        """Look at the limit until all are done, and stop all when it is passed."""
        try:
            while not self.stop.wait(0.005):
                self.taken(conn)
        finally:
            self.stop.set()


def crowd_a_limit(
    dsn: str, *, writers: int, limit: int, reserve: Reserve = reserve_usage, settles: bool = True
) -> Counter[str]:
    """Let many writers use up one hard limit; check that it is reached, and never passed.

    What a writer holds it settles in full, at once or never.
    """
    crowd = Crowd(limit, reserve, settles)
    with connections(dsn, writers + 1) as conns, ThreadPoolExecutor(writers + 1) as pool:
        watcher = conns.pop()
        quota = NewQuota(subject_id="crowd", meter="tokens", period="total", limit_amount=limit)
        set_quota(watcher, quota)
        watching = pool.submit(crowd.watch, watcher)
        try:
            done = sum(pool.map(crowd.write, conns, range(writers)), Counter[str]())
        finally:
            crowd.stop.set()
        watching.result()
        taken = crowd.taken(watcher)
        if taken != limit:
            raise Violation(f"{taken} of {limit} are used, and all were refused")
        verify(watcher)
    return done


@dataclass
class Work:
    """A share of the operations on some subjects, which others work on too."""

    subjects: list[str]
    recent: list[NewReservation | NewUsage]
    """What others do at this moment too, under the same ids."""

    def run(self, conn: Conn, seed: int, operations: int) -> Counter[str]:
        choose, done = random.Random(seed), Counter[str]()
        actions: list[tuple[Callable[[Conn, random.Random], Any], int]] = [
            (self._reserve, 30),
            (self._end, 30),
            (self._record, 12),
            (self._repeat, 12),
            (self._renew, 4),
            (self._expire, 4),
            (self._set, 6),
            (self._remove, 2),
        ]
        functions, weights = zip(*actions, strict=True)
        for function in choose.choices(functions, weights, k=operations):
            try:
                function(conn, choose)
                done[function.__name__] += 1
            except (QuotaExceeded, InvalidTransition, NotFound) as error:
                done[type(error).__name__] += 1
        return done

    def _amounts(self, choose: random.Random) -> dict[str, int]:
        meters = choose.sample(METERS, choose.randint(1, len(METERS)))
        return {meter: choose.randint(0, 20) for meter in meters}

    def _keep(self, data: NewReservation | NewUsage, choose: random.Random) -> None:
        self.recent[choose.randrange(len(self.recent))] = data

    def _reserve(self, conn: Conn, choose: random.Random) -> None:
        data = NewReservation(
            subject_id=choose.choice(self.subjects),
            amounts=self._amounts(choose),
            hold_for=timedelta(milliseconds=choose.choice([1, 60_000])),
        )
        self._keep(data, choose)
        reserve_usage(conn, data)

    def _end(self, conn: Conn, choose: random.Random) -> None:
        data = choose.choice(self.recent)
        if isinstance(data, NewReservation):
            reserve_usage(conn, data)
            if choose.random() < 0.3:
                release_usage(conn, data.id)
            else:
                # Others settle it with the same amounts, which differ from those held.
                amounts = {"tokens": data.id.int % 30, "extra": 1}
                settle_usage(conn, data.id, amounts)

    def _record(self, conn: Conn, choose: random.Random) -> None:
        amounts = {meter: amount - 5 for meter, amount in self._amounts(choose).items()}
        data = NewUsage(subject_id=choose.choice(self.subjects), amounts=amounts)
        self._keep(data, choose)
        record_usage(conn, data, force=choose.random() < 0.3)

    def _repeat(self, conn: Conn, choose: random.Random) -> None:
        data = choose.choice(self.recent)
        if isinstance(data, NewReservation):
            reserve_usage(conn, data)
        else:
            record_usage(conn, data)

    def _renew(self, conn: Conn, choose: random.Random) -> None:
        data = choose.choice(self.recent)
        if isinstance(data, NewReservation):
            reserve_usage(conn, data)
            renew_reservation(conn, data.id, hold_for=timedelta(minutes=1))

    def _expire(self, conn: Conn, choose: random.Random) -> None:
        expire_reservations(conn, max_rows=choose.randint(1, 20))

    def _set(self, conn: Conn, choose: random.Random) -> None:
        set_quota(conn, random_quota(choose, choose.choice(self.subjects)))

    def _remove(self, conn: Conn, choose: random.Random) -> None:
        quota = random_quota(choose, choose.choice(self.subjects))
        set_quota(conn, quota)
        remove_quota(conn, quota.subject_id, quota.meter, quota.period)


def random_quota(choose: random.Random, subject: str) -> NewQuota:
    return NewQuota(
        subject_id=subject,
        meter=choose.choice(METERS),
        period=choose.choice(PERIODS),
        limit_amount=choose.randint(20, 200),
        hard=choose.random() < 0.7,
    )


def work_on_everything(
    dsn: str, *, writers: int, subjects: int, operations: int, seed: int = 0
) -> Counter[str]:
    """Do everything at once to many subjects, in random order; check that nothing deadlocks.

    All calls of one reservation are made by several writers, under its one id.
    """
    names = [f"subject-{number}" for number in range(subjects)]
    choose = random.Random(seed)
    with connections(dsn, writers + 1) as conns, ThreadPoolExecutor(writers) as pool:
        observer = conns.pop()
        for name in names:
            for _ in range(5):
                set_quota(observer, random_quota(choose, name))
        recent: list[NewReservation | NewUsage] = [
            NewReservation(subject_id=choose.choice(names), amounts={"tokens": 1})
            for _ in range(2 * writers)
        ]
        work = Work(names, recent)
        with no_deadlock(observer):
            seeds = range(seed, seed + writers)
            shares = pool.map(work.run, conns, seeds, [operations // writers] * writers)
            done = sum(shares, Counter[str]())
        verify(observer)
    return done
