"""Purges beside others, and against each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from psycopg import ClientCursor, Connection
from psycopg.rows import TupleRow

from connections import BlockingCaller, Connect
from contents import contents
from old_runs import LONG_AGO, add_children, make_old_run, make_run, run_ids
from races import race
from runstore import (
    EventsPurged,
    NewRunEvent,
    NewRunFork,
    NotFound,
    append_run_events,
    fork_run,
    hold_run,
    iter_run_events,
    purge_run_events,
    purge_runs,
    run_removals,
    transaction,
    usage_purges,
)
from runstore._query import drive
from runstore.embedded import Server
from runstore.run_purges import reason_to_keep
from runstore.run_removals import Remover, RunLog

Conn = Connection[TupleRow]


@pytest.fixture
def database(server: Server, migrated_dbname: str) -> str:
    """The superuser's DSN, who may purge, date runs back, and see who waits for whom."""
    return server.dsn(migrated_dbname)


def caller(conn: Conn) -> BlockingCaller:
    return BlockingCaller(conn, in_transaction=False)


def fork(conn: Conn, run_id: UUID) -> object:
    return fork_run(conn, run_id, 1, NewRunFork())


def hold(conn: Conn, run_id: UUID) -> object:
    return hold_run(conn, run_id, "audit")


def seqs(conn: Conn, run_id: UUID) -> list[int]:
    return [event.seq for event in iter_run_events(conn, run_id)]


# Locks


def test_who_forks_a_run_while_it_is_removed_finds_none(connect: Connect) -> None:
    run_id = make_old_run(caller(connect()))

    with pytest.raises(NotFound):
        race(
            connect,
            lambda conn: drive(conn, Remover(None, reason_to_keep).delete([run_id])),
            lambda conn: fork_run(conn, run_id, 1, NewRunFork()),
        )


def test_who_holds_a_run_while_it_is_removed_finds_none(connect: Connect) -> None:
    run_id = make_old_run(caller(connect()))

    with pytest.raises(NotFound):
        race(
            connect,
            lambda conn: drive(conn, Remover(None, reason_to_keep).delete([run_id])),
            lambda conn: hold_run(conn, run_id, "audit"),
        )


def test_who_forks_a_run_while_its_events_go_is_told(connect: Connect) -> None:
    run_id = make_old_run(caller(connect()))
    remover = Remover(None, reason_to_keep)
    [stretches] = remover.pieces([(RunLog(run_id=run_id, gone_seq=0, last_seq=3), 0)])

    with pytest.raises(EventsPurged):
        race(
            connect,
            lambda conn: drive(conn, remover.delete_stretches(stretches)),
            lambda conn: fork_run(conn, run_id, 1, NewRunFork()),
        )


@pytest.mark.parametrize("purge", [purge_runs, purge_run_events])
@pytest.mark.parametrize(
    "work",
    [
        pytest.param(fork, id="fork"),
        pytest.param(hold, id="hold"),
    ],
)
def test_what_somebody_works_on_is_passed_over_without_waiting(
    connect: Connect, purge: Any, work: Callable[[Conn, UUID], object]
) -> None:
    holder, purger = connect(), connect()
    busy, free = make_old_run(caller(purger)), make_old_run(caller(purger))

    with transaction(holder):
        work(holder, busy)
        # Were it to wait for the lock, it would wait for ever.
        done = purge(purger, LONG_AGO)

    assert (done.runs, done.kept) == (1, {"in_use": 1})
    left = [row["id"] for row in contents(caller(purger))["runs"] if row["purged_seq"] is None]
    assert str(busy) in left
    assert str(free) not in left


def test_a_row_that_is_locked_keeps_its_own_run_alone(connect: Connect) -> None:
    holder, purger = connect(), connect()
    runs = [make_old_run(caller(purger)) for _ in range(3)]
    for run_id in runs:
        add_children(caller(purger), run_id)

    with transaction(holder):
        holder.execute("SELECT FROM runstore.tool_calls WHERE run_id = %s FOR UPDATE", [runs[1]])
        done = purge_runs(purger, LONG_AGO)

    assert (done.runs, done.kept) == (2, {"in_use": 1})
    assert run_ids(contents(caller(purger))) == {runs[1]}
    assert purge_runs(purger, LONG_AGO).runs == 1


def test_what_is_deleted_is_found_by_index_whatever_the_statistics_say(connect: Connect) -> None:
    conn = connect()
    run_id = make_old_run(caller(conn), events=0)
    conn.execute(
        "INSERT INTO runstore.run_events (run_id, seq, type)"
        " SELECT %s, seq, 'token' FROM generate_series(2, 20000) AS seq",
        [run_id],
    )
    conn.execute("ANALYZE runstore.run_events")

    def plan() -> str:
        sql = run_removals.delete_finished_runs.bind([run_id]).sql.text
        rows = conn.execute(f"EXPLAIN {sql}".encode(), {"run_ids": [run_id]})
        return "\n".join(line for (line,) in rows)

    # All events are this run's, so that reading the table whole looks cheap.
    assert "Seq Scan on run_events" in plan()
    with transaction(conn):
        run_removals.begin_batch(conn, None)
        assert "Seq Scan" not in plan()


def test_a_batch_of_old_usage_reads_what_it_deletes_whatever_the_statistics_say(
    connect: Connect,
) -> None:
    conn = connect()
    old = {"created_at": datetime.now(UTC) - timedelta(days=400), "number": 20_000}
    conn.execute(
        "INSERT INTO runstore.usage_logs (id, meter, subject_id, amount, created_at)"
        " SELECT gen_random_uuid(), 'tokens', 'user-1', 7, %(created_at)s"
        " FROM generate_series(1, %(number)s)",
        old,
    )
    conn.execute(
        "INSERT INTO runstore.usage_reservations (id, subject_id, amounts, status, expires_at)"
        " SELECT gen_random_uuid(), 'user-1', '{\"tokens\": 7}', 'held', now()"
        " FROM generate_series(1, %(number)s)",
        old,
    )
    conn.execute("ANALYZE runstore.usage_logs, runstore.usage_reservations")

    def sorts_the_log() -> bool:
        batch = usage_purges.delete_old_usage_logs.bind(
            ["user-1"], datetime.now(UTC), 100, wait=False
        )
        rows = ClientCursor(conn).execute(f"EXPLAIN {batch.sql.text}".encode(), batch.parameters)
        return any("Sort Key: usage_logs.created_at" in line for (line,) in rows)

    # As many reservations as entries, so that nearly all of these look like theirs.
    assert sorts_the_log()
    with transaction(conn):
        run_removals.begin_batch(conn, None)
        assert not sorts_the_log()


def test_the_index_of_a_long_log_forgets_it_before_its_run_is_locked(connect: Connect) -> None:
    conn = connect()
    run_id = make_old_run(caller(conn), events=0)
    conn.execute(
        "INSERT INTO runstore.run_events (run_id, seq, type)"
        " SELECT %s, seq, 'token' FROM generate_series(2, 20000) AS seq",
        [run_id],
    )
    conn.execute("ANALYZE runstore.run_events")
    conn.execute("DELETE FROM runstore.run_events")

    def fetches() -> int:
        rows = conn.execute(
            "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT seq FROM runstore.run_events"
            " WHERE run_id = %s AND seq > 0 ORDER BY seq LIMIT 1",
            [run_id],
        )
        [line] = [line for (line,) in rows if "Heap Fetches" in line]
        return int(line.partition(": ")[2])

    run_removals.sweep_run_events(conn, run_id)

    assert fetches() < 100


# At once


def test_two_purges_at_once_remove_each_run_once(connect: Connect) -> None:
    conn = connect()
    for _ in range(30):
        add_children(caller(conn), make_old_run(caller(conn)))
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(purge_runs, connect(), LONG_AGO, page_size=3) for _ in range(2)]
        removed = [each.result(timeout=60).runs for each in both]

    removed.append(purge_runs(conn, LONG_AGO).runs)
    assert sum(removed) == 30
    assert run_ids(contents(caller(conn))) == set()


@pytest.mark.parametrize("purge", [purge_runs, purge_run_events])
def test_forks_made_during_a_purge_have_all_that_they_read(connect: Connect, purge: Any) -> None:
    conn = connect()
    old = [make_old_run(caller(conn), events=5) for _ in range(60)]
    live = make_run(caller(conn), events=0).id
    stop = threading.Event()

    def purge_has_begun(conn: Conn) -> bool:
        left = conn.execute(
            "SELECT count(*) FROM runstore.runs WHERE id = ANY(%s) AND events_purged_at IS NULL",
            (old,),
        ).fetchone()
        return left != (len(old),)

    def fork_all(conn: Conn) -> list[UUID]:
        forks: list[UUID] = []
        deadline = time.monotonic() + 30
        while not purge_has_begun(conn):
            assert time.monotonic() < deadline
        # From the young end, against the purge.
        for run_id in reversed(old):
            try:
                forks.append(fork_run(conn, run_id, 4, NewRunFork()).id)
            except (NotFound, EventsPurged):
                break
        return forks

    def append(conn: Conn) -> int:
        last = 0
        while not stop.is_set():
            last = append_run_events(conn, live, [NewRunEvent(type="token")])
        return last

    with ThreadPoolExecutor(3) as threads:
        appending = threads.submit(append, connect())
        forking = threads.submit(fork_all, connect())
        purging = threads.submit(purge, connect(), LONG_AGO, page_size=2)
        forks = forking.result(timeout=60)
        done = purging.result(timeout=60)
        stop.set()
        last = appending.result(timeout=60)

    assert done.runs > 0
    assert all(seqs(conn, fork) == [1, 2, 3, 4] for fork in forks)
    assert seqs(conn, live) == list(range(1, last + 1))
