"""Kill PostgreSQL every few seconds while everybody works, and prove that nothing was lost.

Workers record pipelines, chats and usage on pools of both kinds of connection, and tails follow
the chats, while a server of their own is hurt in one way after another: a session is killed, all
are ended, the server shuts down at once or dies. Whoever gets an error repeats the call. At the
end every acknowledged write must be there once, every log without gap or double, every tail equal
to its log and every counter equal to its entries. Exit status 1: something is not.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from clusters import Cluster, create_database, drill_folder, running_cluster
from runstore import connect
from verdict import violations
from workload import Ledger, at_work

SHOWN = 20


def kill_a_session(cluster: Cluster) -> None:
    """SIGKILL one session: the server ends all others and recovers."""
    while not (found := sessions(cluster)):
        # After the last fault all of them may still be about to connect.
        time.sleep(0.05)
    os.kill(random.choice(found), signal.SIGKILL)


def end_all_sessions(cluster: Cluster) -> None:
    """End every session, as an administrator does."""
    with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )


def shut_down_at_once(cluster: Cluster) -> None:
    """Shut the server down without a checkpoint, and start it again."""
    cluster.kill(signal.SIGQUIT)
    cluster.start()


def kill_the_server(cluster: Cluster) -> None:
    """SIGKILL the server's first process, and start it again."""
    cluster.kill(signal.SIGKILL)
    cluster.start()


def sessions(cluster: Cluster) -> list[int]:
    """Return the processes that serve somebody else."""
    with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as conn:
        rows = conn.execute(
            "SELECT pid FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return [pid for (pid,) in rows]


FAULTS: tuple[Callable[[Cluster], None], ...] = (
    kill_a_session,
    shut_down_at_once,
    end_all_sessions,
    kill_the_server,
)


@dataclass(frozen=True)
class Fault:
    """What was done to the server, from when until it was left alone."""

    name: str
    start: float
    end: float


def hurt(cluster: Cluster, seconds: float, every: float) -> list[Fault]:
    """Hurt the server every few seconds, in each way in turn."""
    faults: list[Fault] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() + every < deadline:
        time.sleep(every * random.uniform(0.7, 1.3))
        inflict = FAULTS[len(faults) % len(FAULTS)]
        start = time.monotonic()
        with uninterrupted():
            inflict(cluster)
        faults.append(Fault(inflict.__name__, start, time.monotonic()))
    time.sleep(every)
    return faults


@contextmanager
def uninterrupted() -> Generator[None]:
    """Put off Ctrl-C until the block ends: whoever still works needs the server to come back."""
    interrupts: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: interrupts.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        raise KeyboardInterrupt


def summarize(ledger: Ledger, faults: list[Fault], version: str) -> None:
    """Print what was done and what it met."""
    by_name: dict[str, list[float]] = defaultdict(list)
    ends = [fault.start for fault in faults[1:]] + [ledger.tally.answered[-1]]
    for fault, end in zip(faults, ends, strict=True):
        by_name[fault.name].append(ledger.tally.silence(fault.start, end))
    print(f"PostgreSQL {version}")
    print(f"{'fault':<20} {'times':>5}  seconds without an acknowledgement (median, longest)")
    for name, silences in by_name.items():
        median, longest = statistics.median(silences), max(silences)
        print(f"{name.replace('_', ' '):<20} {len(silences):>5}  {median:.2f}, {longest:.2f}")
    errors = ledger.tally.errors
    met = ", ".join(f"{name} {count}" for name, count in errors.most_common())
    figures = {
        "runs": len(ledger.rows),
        "rows acknowledged": sum(map(len, ledger.rows.values())),
        "events acknowledged": sum(map(len, ledger.events.values())),
        "settlements": len(ledger.settled),
        "tails": len(ledger.tails),
        "calls": len(ledger.tally.answered),
        "calls repeated": f"{errors.total()} ({met})",
    }
    for name, value in figures.items():
        print(f"{name:<20} {value}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--every", type=float, default=3, help="seconds between two faults")
    parser.add_argument("--workers", type=int, default=6)
    options = parser.parse_args()
    # A pool says so whenever it finds the server away, which is most of the time.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    ledger = Ledger()
    with drill_folder() as folder, running_cluster(folder / "cluster") as cluster:
        create_database(cluster)
        with at_work(cluster.dsn(), ledger, options.workers):
            faults = hurt(cluster, options.minutes * 60, options.every)
        with connect(cluster.dsn()) as conn:
            found = violations(conn, ledger)
            version = str(conn.info.parameter_status("server_version"))
    summarize(ledger, faults, version)
    kinds = Counter(fault.name for fault in faults)
    if not faults or not ledger.settled:
        found.append(f"too little happened to prove anything: {dict(kinds)}")
    for violation in found[:SHOWN]:
        print(f"VIOLATION: {violation}", file=sys.stderr)
    print(f"violations           {len(found)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
