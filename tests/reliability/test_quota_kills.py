"""Workers killed in the middle: what they were told is so, and what they held is given back."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from connections import Connect, wait_until_blocked
from quota_work import Conn, verify
from runstore import (
    expire_reservations,
    get_reservation,
    get_usage,
    set_quota,
    transaction,
)
from runstore.usage_logs import find_usage_logs
from usage_factories import new_quota

pytestmark = pytest.mark.direct(reason="it waits until no other session is left")

WORKER = Path(__file__).with_name("quota_worker.py")
# scripts/stress-quotas kills more of them.
KILLS = int(os.environ.get("RUNSTORE_QUOTA_KILLS", "12"))
SUBJECTS = ("a", "b")

Line = tuple[str, UUID, int]


def spawn(dsn: str, number: int) -> subprocess.Popen[str]:
    subject = SUBJECTS[number % len(SUBJECTS)]
    command = [sys.executable, str(WORKER), dsn, subject, str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill(worker: subprocess.Popen[str], lines: int = 0) -> list[Line]:
    """Kill a worker after so many answers, and return all that it was told by then."""
    assert worker.stdout is not None
    told = [worker.stdout.readline() for _ in range(lines)]
    worker.kill()
    rest, _ = worker.communicate()
    # What the kill cut off was not told.
    whole = [line for line in told + rest.splitlines(keepends=True) if line.endswith("\n")]
    return [parse(line) for line in whole]


def parse(line: str) -> Line:
    what, id, tokens = line.split()
    return what, UUID(id), int(tokens)


def wait_until_alone(conn: Conn) -> None:
    """Wait for the server processes of killed clients, which finish their statement first."""
    deadline = time.monotonic() + 10
    while conn.execute(
        "SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    ).rowcount:
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def conn(connect: Connect) -> Conn:
    """A connection of two subjects with quotas."""
    conn = connect()
    for subject in SUBJECTS:
        set_quota(conn, new_quota(subject_id=subject, limit_amount=10**9))
        set_quota(conn, new_quota(subject_id=subject, limit_amount=10**9, period="month"))
        set_quota(conn, new_quota(subject_id=subject, limit_amount=10**9, meter="runs"))
    return conn


def expire_all(conn: Conn) -> set[UUID]:
    conn.execute(
        "UPDATE runstore.usage_reservations SET expires_at = now() - interval '1 hour'"
        " WHERE status = 'held'"
    )
    ids: set[UUID] = set()
    while expired := expire_reservations(conn, max_rows=7):
        ids |= {reservation.id for reservation in expired}
    return ids


def check(conn: Conn, told: list[Line]) -> None:
    """Check that all that was told is stored, and that nothing stays held."""
    verify(conn)
    open_ids = {
        id
        for (id,) in conn.execute(
            "SELECT id FROM runstore.usage_reservations WHERE status = 'held'"
        )
    }
    # The last one's end may have been written and not told.
    ended = {id for what, id, _ in told if what != "held"}
    assert ended.isdisjoint(open_ids)
    assert expire_all(conn) == open_ids
    for what, id, tokens in told:
        status = get_reservation(conn, id).status
        if what == "held":
            assert status in ("settled", "released", "expired")
        else:
            assert status == what
        if status == "settled":
            assert [(row.meter, row.amount) for row in find_usage_logs(conn, id)] == [
                ("runs", 1),
                ("tokens", tokens),
            ]
    for subject in SUBJECTS:
        assert [quota.held for quota in get_usage(conn, subject)] == [0, 0, 0]
    verify(conn)


def test_killed_workers_leave_counters_that_agree_and_nothing_held(
    database: str, conn: Conn
) -> None:
    choose = random.Random(1)
    told: list[Line] = []
    # Four at a time: each is killed in the middle of its work while the others go on.
    alive: list[subprocess.Popen[str]] = []
    for number in range(KILLS):
        alive.append(spawn(database, number))
        if len(alive) == 4:
            told += kill(alive.pop(0), lines=choose.randint(1, 20))
    for worker in alive:
        told += kill(worker, lines=choose.randint(1, 20))

    wait_until_alone(conn)
    assert len(told) > KILLS
    check(conn, told)


def waiting_for(conn: Conn, query: str) -> bool:
    """Say whether somebody waits for a lock with this query."""
    wait_until_blocked(conn)
    return bool(
        conn.execute(
            "SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock' AND starts_with(query, '-- name: ' || %s || chr(10))",
            (query,),
        ).rowcount
    )


@pytest.mark.parametrize("query", ["reserve_usage", "settle_usage", "release_usage"])
def test_a_worker_killed_in_the_middle_of_a_statement_leaves_all_of_it_or_nothing(
    database: str, conn: Conn, query: str
) -> None:
    worker = spawn(database, 2)
    # It takes its time to start.
    assert worker.stdout is not None
    first = worker.stdout.readline()
    told: list[Line] | None = None
    with psycopg.connect(database, autocommit=True) as holder:
        while told is None:
            with transaction(holder):
                holder.execute("SELECT FROM runstore.usage_counters FOR UPDATE")
                if waiting_for(conn, query):
                    told = [parse(first), *kill(worker)]

    wait_until_alone(conn)
    check(conn, told)
