"""Measure what a quota gate gains on one hot quota, and what a long snapshot costs it.

A server of its own, which waits for the disk at every commit, with the clients beside it. Figures
are compared within one round only, and what is printed is the median of the rounds.

- The gate: threads reserve from one quota as fast as they can, each for itself or through a gate;
  at the disk's own speed, and with commits that take a millisecond more.
- The snapshot: one writer reserves, and another one updates the same sort of row by hand, while a
  transaction with an old snapshot is open and while none is. Both rows get the same number of
  versions, so that what differs is what a statement costs on such a row.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.sql import SQL

from runstore import (
    NewQuota,
    NewReservation,
    QuotaGate,
    open_pool,
    reserve_usage,
    set_quota,
    verify_usage,
)
from runstore.embedded import Server, persistent_server

MIGRATIONS = Path(__file__).parents[2] / "migrations"

Reserve = Callable[[Connection[Any], NewReservation], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3, help="how long each figure takes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--versions", type=int, nargs="+", default=[2000, 10000, 30000])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder:
        # The server may run as another account.
        Path(folder).chmod(0o755)
        with persistent_server(Path(folder) / "data") as server:
            migrate(server)
            with psycopg.connect(server.dsn("bench"), autocommit=True) as conn:
                version = conn.execute("SHOW server_version").fetchone()
                print(f"PostgreSQL {version[0] if version else '?'}")
                gates(server, conn, arguments)
                snapshots(server, conn, arguments)
                assert verify_usage(conn).items == []


def migrate(server: Server) -> None:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as conn:
        conn.execute("CREATE DATABASE bench")
    command = [sys.executable, "-m", "yoyo", "apply", "--batch", "--no-config-file"]
    subprocess.run(
        [*command, "--database", server.yoyo_url("bench"), str(MIGRATIONS)],
        check=True,
        process_group=0,
    )


def hot_quota(conn: Connection[Any], subject: str) -> None:
    set_quota(
        conn, NewQuota(subject_id=subject, meter="tokens", period="total", limit_amount=10**18)
    )


def gates(server: Server, conn: Connection[Any], arguments: argparse.Namespace) -> None:
    print("\nReservations a second on one quota: each for itself, through a gate, their ratio")
    # commit_delay waits that long before a flush, whatever else is going on.
    for name, delay in [("disk", 0), ("disk + 1 ms", 1000)]:
        conn.execute(SQL("ALTER SYSTEM SET commit_delay = {}").format(delay))
        conn.execute("ALTER SYSTEM SET commit_siblings = 0")
        conn.execute("SELECT pg_reload_conf()")
        for workers in arguments.workers:
            pairs: list[tuple[float, float]] = []
            for number in range(arguments.rounds):
                subject = f"{name}-{workers}-{number}"
                hot_quota(conn, subject)
                alone = rate(server, subject, workers, arguments.seconds, reserve_usage)
                with through_gate(server) as gate:
                    gated = rate(server, subject, workers, arguments.seconds, gate)
                pairs.append((alone, gated))
            alone, gated = (statistics.median(column) for column in zip(*pairs, strict=True))
            ratio = statistics.median(gated / alone for alone, gated in pairs)
            print(f"{name:12} {workers:3} workers {alone:8.0f} {gated:8.0f} {ratio:6.1f}")
    conn.execute("ALTER SYSTEM RESET commit_delay")
    conn.execute("SELECT pg_reload_conf()")


@contextmanager
def through_gate(server: Server) -> Generator[Reserve]:
    """Reserve by a pool that all share, and not on each worker's own connection."""
    gate = QuotaGate()
    with open_pool(server.dsn("bench")) as pool:
        yield lambda _conn, data: gate.reserve_usage(pool, data)


def rate(server: Server, subject: str, workers: int, seconds: float, reserve: Reserve) -> float:
    stop = threading.Event()

    def work(conn: Connection[Any]) -> int:
        count = 0
        while not stop.is_set():
            reserve(conn, NewReservation(subject_id=subject, amounts={"tokens": 1}))
            count += 1
        return count

    with ExitStack() as stack:
        conns = [
            stack.enter_context(psycopg.connect(server.dsn("bench"), autocommit=True))
            for _ in range(workers)
        ]
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        began = time.perf_counter()
        counts = pool.map(work, conns)
        stop.wait(seconds)
        stop.set()
        total = sum(counts)
        return total / (time.perf_counter() - began)


def snapshots(server: Server, conn: Connection[Any], arguments: argparse.Namespace) -> None:
    print(
        "\nMilliseconds of a statement after so many versions of its row, without and with an old"
    )
    print("snapshot, and their ratio: a bare UPDATE of the counter, reserve_usage")
    conn.execute("SET synchronous_commit = off")
    conn.execute("CREATE TABLE bare (LIKE runstore.usage_counters INCLUDING ALL)")
    conn.execute("ALTER TABLE bare SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02)")
    for versions in arguments.versions:
        rows: list[list[float]] = []
        for number in range(arguments.rounds):
            subject = f"snapshot-{versions}-{number}"
            hot_quota(conn, subject)
            conn.execute(
                "INSERT INTO bare SELECT * FROM runstore.usage_counters WHERE subject_id = %s",
                (subject,),
            )

            def update(subject: str = subject) -> None:
                conn.execute(
                    "UPDATE bare SET held = held + 1 WHERE tenant_id = 'default'"
                    " AND subject_id = %s",
                    (subject,),
                )

            def reserve(subject: str = subject) -> None:
                reserve_usage(conn, NewReservation(subject_id=subject, amounts={"tokens": 1}))

            before = [cost(update, versions), cost(reserve, versions)]
            with psycopg.connect(server.dsn("bench")) as report:
                report.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                report.execute("SELECT FROM runstore.quotas").fetchall()
                after = [cost(update, versions), cost(reserve, versions)]
            # Without the snapshot the rows are as before after the next VACUUM.
            conn.execute("VACUUM bare, runstore.usage_counters")
            again = [cost(update, 200), cost(reserve, 200)]
            rows.append(
                [value for trio in zip(before, after, again, strict=True) for value in trio]
            )
        medians = [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, (without, with_one, vacuumed) in zip(
            ("UPDATE", "reserve_usage"), (medians[:3], medians[3:]), strict=True
        ):
            print(
                f"{versions:6} versions {name:14} {without:8.2f} {with_one:8.2f}"
                f" {with_one / without:6.1f}; after VACUUM {vacuumed:8.2f}"
            )


def cost(statement: Callable[[], None], versions: int) -> float:
    """Make so many versions, and return the milliseconds of a statement at their end."""
    for _ in range(versions):
        statement()
    times: list[float] = []
    for _ in range(50):
        began = time.perf_counter()
        statement()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


if __name__ == "__main__":
    main()
