"""Purge and erase on a filled database while the library is at work.

The database has old runs, for each of three works a run of very many events, and old usage.
Workers write, read, follow, fork, hold and spend, also on what is about to go. For each work three
figures are printed: the longest that a statement of a worker took in the time before and meanwhile
(on a machine with fewer cores than workers that is mostly the wait for a core), and the longest
that one waited for a lock that the work held, as the server itself says it. The last line holds
locks for half a second, to show that such waits are seen.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

import runstore
from migrate_under_load import WORKLOAD, Load, Work, yoyo
from runstore.embedded import Server, throwaway_server
from runstore.quotas import Period

BAR_MS = 200
SECONDS = 2.0
PERSON = "person"
TEAM = "team"
WORKS = ("purge_runs", "purge_run_events", "erase_subject")

FILL = """
CREATE TEMPORARY TABLE filler AS
SELECT
    runstore.new_run_id() AS id,
    number,
    CASE WHEN number <= 3 THEN %(long)s ELSE %(short)s END AS events,
    -- The runs of each work are younger than those of the one before it.
    now() - (300 - 100 * (number %% 3)) * interval '1 day' + number * interval '1 second'
        AS finished_at,
    CASE WHEN number %% 3 = 2 THEN 'person' END AS subject_id
FROM generate_series(1, %(runs)s) AS number;
INSERT INTO runstore.runs (id, kind, name, subject_id, status, input, started_at, finished_at)
SELECT id, 'chat', 'filler', subject_id, 'completed', '{"ask": "filler"}', finished_at, finished_at
FROM filler;
INSERT INTO runstore.run_heads (run_id, last_seq, closed) SELECT id, events, true FROM filler;
SET session_replication_role = replica;
INSERT INTO runstore.run_events (run_id, seq, type, payload)
SELECT id, seq, 'token', '{"text": "a few words of an answer"}'
FROM filler, generate_series(1, events) AS seq;
RESET session_replication_role;
INSERT INTO runstore.agent_invocations (run_id, id, agent)
SELECT id, runstore.new_child_id(id), 'filler' FROM filler, generate_series(1, 3);
INSERT INTO runstore.agent_steps (run_id, id, invocation_id, position, kind)
SELECT run_id, runstore.new_child_id(run_id), id, position, 'filler'
FROM runstore.agent_invocations, generate_series(1, 5) AS position;
INSERT INTO runstore.tool_calls (run_id, id, invocation_id, name)
SELECT run_id, runstore.new_child_id(run_id), id, 'filler'
FROM runstore.agent_invocations, generate_series(1, 3);
INSERT INTO runstore.memory_records (run_id, id, kind, content)
SELECT id, runstore.new_child_id(id), 'filler', 'filler' FROM filler;
INSERT INTO runstore.usage_logs (id, meter, subject_id, amount)
SELECT gen_random_uuid(), 'tokens', 'person', 7 FROM generate_series(1, 10 * %(runs)s);
INSERT INTO runstore.usage_reservations (id, subject_id, amounts, status, expires_at, finished_at)
SELECT gen_random_uuid(), 'person', '{"tokens": 7}', 'settled', now(), now()
FROM generate_series(1, 10 * %(runs)s);
"""

FILL_USAGE = """
INSERT INTO runstore.usage_logs (
    id, meter, subject_id, amount, quota_ids, window_starts, created_at
)
SELECT
    gen_random_uuid(),
    'tokens',
    'team',
    7,
    ARRAY[%(quota_id)s],
    ARRAY[timestamptz '-infinity'],
    now() - interval '400 days' + number * interval '1 second'
FROM generate_series(1, 20 * %(runs)s) AS number;
UPDATE runstore.usage_counters SET used = 7 * 20 * %(runs)s WHERE quota_id = %(quota_id)s;
INSERT INTO runstore.usage_reservations (id, subject_id, amounts, status, expires_at, finished_at)
SELECT
    gen_random_uuid(), 'team', '{"tokens": 7}', 'released', now(), now() - interval '400 days'
FROM generate_series(1, 20 * %(runs)s);
"""


@dataclass(frozen=True)
class Touch:
    """Work on the runs that are about to go: read, fork and hold them."""

    run_ids: list[UUID]
    __name__: str = "touch"

    def __call__(self, conn: Connection[TupleRow], /) -> object:
        run_id = random.choice(self.run_ids)
        with suppress(runstore.NotFound):
            with suppress(runstore.EventsPurged):
                runstore.read_run_events(conn, run_id, page_size=50)
            runstore.get_run_tree(conn, run_id)
            hold = runstore.hold_run(conn, run_id, "load")
            runstore.release_run_hold(conn, run_id, hold.reason)
            memory = runstore.NewMemoryRecord(run_id=run_id, kind="late", content="late")
            runstore.create_memory_record(conn, memory)
            with suppress(runstore.EventsPurged):
                # It shares no event, so that it keeps nothing from going.
                runstore.fork_run(conn, run_id, 0, runstore.NewRunFork(subject_id="other"))
        return None


def follow(conn: Connection[TupleRow]) -> object:
    run = runstore.create_run(conn, runstore.NewChatRun())
    tail = runstore.tail_run_events(conn, run.id)
    last = 0
    for _ in range(5):
        runstore.append_run_events(conn, run.id, [runstore.NewRunEvent(type="token")])
        last = next(tail).seq
    tail.close()
    runstore.complete_run(conn, run.id)
    return last


@dataclass(frozen=True)
class Spend:
    """Work on the counters of a subject whose usage is about to go."""

    subject_id: str
    __name__: str = "spend"

    def __call__(self, conn: Connection[TupleRow], /) -> object:
        asked = runstore.NewReservation(subject_id=self.subject_id, amounts={"tokens": 10})
        runstore.reserve_usage(conn, asked)
        runstore.settle_usage(conn, asked.id, {"tokens": 7})
        return runstore.get_usage(conn, self.subject_id)


class Watch:
    """Asks the server every few milliseconds who waits for a lock that a session holds."""

    def __init__(self, dsn: str, pid: int) -> None:
        self._conn = psycopg.connect(dsn, autocommit=True)
        self._pid = pid
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.longest_ms = 0.0
        self.waits = 0
        self.looks = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._conn.close()

    def _look(self) -> None:
        while not self._stopped.wait(0.002):
            self.looks += 1
            row: Any = self._conn.execute(
                """
                SELECT count(*), max(extract(EPOCH FROM clock_timestamp() - query_start)) * 1000
                FROM pg_stat_activity
                WHERE datname = current_database()
                    AND wait_event_type = 'Lock'
                    AND %s = ANY(pg_blocking_pids(pid))
                """,
                [self._pid],
            ).fetchone()
            if row[0]:
                self.waits += row[0]
                self.longest_ms = max(self.longest_ms, float(row[1]))


def fill(dsn: str, runs: int, events: int) -> dict[str, tuple[Any, list[UUID]]]:
    """Fill the database; return for each work since when its runs finished, and the runs."""
    with psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.ClientCursor) as conn:
        conn.execute(FILL, {"runs": runs, "long": events, "short": 50})
        set_limit(conn, PERSON, "day")
        conn.execute(FILL_USAGE, {"runs": runs, "quota_id": set_limit(conn, TEAM, "total")})
        conn.execute("VACUUM ANALYZE")
        groups: dict[str, tuple[Any, list[UUID]]] = {}
        for place, name in enumerate(WORKS):
            row: Any = conn.execute(
                "SELECT max(finished_at) + interval '1 second', array_agg(id) FROM filler"
                " WHERE number %% 3 = %s",
                [place],
            ).fetchone()
            groups[name] = row[0], row[1]
    return groups


def set_limit(conn: Connection[TupleRow], subject_id: str, period: Period) -> UUID:
    quota = runstore.NewQuota(
        subject_id=subject_id, meter="tokens", period=period, limit_amount=10**15
    )
    return runstore.set_quota(conn, quota).id


def measure(
    dsn: str, name: str, run_ids: list[UUID], work: Callable[[Connection[TupleRow]], int]
) -> float:
    """Do a work under load, print what it cost others, and return the longest wait for it."""
    workload: list[Work] = [
        *WORKLOAD,
        follow,
        Spend(PERSON),
        Spend(TEAM),
        Touch(run_ids),
        Touch(run_ids),
    ]
    with (
        psycopg.connect(dsn, autocommit=True) as conn,
        Watch(dsn, conn.info.backend_pid) as watch,
        Load(dsn, workload) as load,
    ):
        time.sleep(SECONDS)
        start = time.monotonic()
        rows = work(conn)
        end = time.monotonic()
    before, _ = load.longest(start - SECONDS, start)
    meanwhile, slowest = load.longest(start, end)
    print(
        f"{name:<17} {rows:>10} {end - start:>8.1f} {before:>11.1f} {meanwhile:>14.1f}"
        f"  {slowest:<10} {watch.longest_ms:>10.1f} {watch.waits:>6} {watch.looks:>7}",
        flush=True,
    )
    return watch.longest_ms


def erase(conn: Connection[TupleRow]) -> int:
    return sum(each.row_count for each in runstore.erase_subject(conn, PERSON).rows)


def purge_usage(conn: Connection[TupleRow]) -> int:
    purge = runstore.purge_usage(conn, datetime.now(UTC) - timedelta(days=100))
    assert runstore.verify_usage(conn).items == []
    return sum(purge.rows.values())


def keep_waiting(conn: Connection[TupleRow], run_ids: list[UUID]) -> int:
    """Hold locks for half a second, to show that waits for them are seen."""
    with conn.transaction():
        conn.execute("SELECT FROM runstore.runs WHERE id = ANY(%s) FOR UPDATE", [run_ids])
        conn.execute("SELECT pg_sleep(0.5)")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2_000, help="old runs in the filled database")
    parser.add_argument(
        "--events", type=int, default=1_000_000, help="events of each work's long run"
    )
    options = parser.parse_args()
    with throwaway_server() as server:
        dsn = migrated(server)
        groups = fill(dsn, options.runs, options.events)
        works: dict[str, Callable[[Connection[TupleRow]], int]] = {
            "purge_runs": lambda conn: sum(
                runstore.purge_runs(conn, groups["purge_runs"][0]).rows.values()
            ),
            "purge_run_events": lambda conn: sum(
                runstore.purge_run_events(conn, groups["purge_run_events"][0]).rows.values()
            ),
            "erase_subject": erase,
        }
        print(
            f"{'work':<17} {'rows':>10} {'seconds':>8} {'before, ms':>11} {'meanwhile, ms':>14}"
            f"  {'slowest':<10} {'waited, ms':>10} {'waits':>6} {'looks':>7}"
        )
        longest = {name: measure(dsn, name, groups[name][1], work) for name, work in works.items()}
        left = groups["purge_run_events"][1]
        longest["purge_usage"] = measure(dsn, "purge_usage", left, purge_usage)
        control = measure(dsn, "control", left, lambda conn: keep_waiting(conn, left))
    if control < BAR_MS:
        print("half a second of waiting was not seen: the figures mean nothing", file=sys.stderr)
        return 1
    slow = [name for name, waited in longest.items() if waited > BAR_MS]
    for name in slow:
        print(f"{name} kept a statement waiting for more than {BAR_MS} ms", file=sys.stderr)
    return 1 if slow else 0


def migrated(server: Server) -> str:
    """Make a migrated database, and return its DSN."""
    with psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as conn:
        conn.execute(SQL("CREATE DATABASE {}").format(Identifier("purged")))
    yoyo("apply", server.yoyo_url("purged"), None)
    return server.dsn("purged")


if __name__ == "__main__":
    sys.exit(main())
