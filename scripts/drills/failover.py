"""Lose a primary server under load, promote its standby, and see what the writers notice.

Writers append events through a pool whose DSN names both servers (`host=a,b
target_session_attrs=read-write`). Every process of the primary is killed at once, its standby is
promoted, and what was acknowledged is compared with what the new primary holds. Replication is
asynchronous or synchronous, and the standby in step or stuck for a moment before the end.
Exit status 1: something is doubled or out of order, or lost although replication was synchronous.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from psycopg import Connection

from clusters import Cluster, create_database, drill_folder
from persistence import Persistent, Tally, blocking_source
from runstore import (
    NewChatRun,
    NewRunEvent,
    append_run_events,
    connect,
    create_run,
    iter_run_events,
)

SLOT = "standby"
PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Mode:
    """How the standby follows, and for how long it is stuck before the primary dies."""

    synchronous: bool
    stuck: float

    def __str__(self) -> str:
        place = f"{self.stuck:g} s behind" if self.stuck else "in step"
        return f"{'synchronous' if self.synchronous else 'asynchronous'}, {place}"


@dataclass
class Outcome:
    """What one failover came to."""

    promotion: float
    """Seconds from asking for the promotion until the standby had become a primary."""
    recovery: float
    """Seconds from the end of the promotion until a write was acknowledged."""
    silence: float
    """Seconds without an acknowledgement."""
    acknowledged: int
    lost: int
    doubled: int
    errors: Counter[str]


@dataclass
class Writer:
    """Appends to a run of its own until it is told to stop."""

    persist: Persistent
    run_id: UUID
    acknowledged: set[int] = field(default_factory=set)

    def write(self, stop: threading.Event) -> None:
        for number in itertools.count():
            if stop.is_set():
                return
            append = partial(
                append_run_events,
                run_id=self.run_id,
                events=[NewRunEvent(type="token", payload={"n": number})],
                append_id=uuid4(),
            )
            self.persist(append)
            self.acknowledged.add(number)


def add_standby(primary: Cluster, standby: Cluster, mode: Mode) -> None:
    """Start a standby of the primary, and return when it follows."""
    primary.back_up(standby, "--write-recovery-conf", "--create-slot", f"--slot={SLOT}")
    standby.start()
    if mode.synchronous:
        # After the backup, which takes the settings along: once promoted, the standby has no
        # standby to wait for.
        primary.configure(synchronous_standby_names="*")
    deadline = time.monotonic() + PATIENCE_SECONDS
    wanted = "sync" if mode.synchronous else "async"
    while (
        primary.query("SELECT max(sync_state) FROM pg_stat_replication WHERE state = 'streaming'")
        != wanted
    ):
        assert time.monotonic() < deadline, f"no standby follows within {PATIENCE_SECONDS} s"
        time.sleep(0.05)


def lose(primary: Cluster, standby: Cluster, stuck: float, away: float) -> tuple[float, ...]:
    """Kill the primary and promote its standby: when it died, and the promotion's start and end."""
    if stuck:
        sender: int = primary.query("SELECT pid FROM pg_stat_replication")
        os.kill(sender, signal.SIGSTOP)
        time.sleep(stuck)
    died = time.monotonic()
    primary.kill_all()
    time.sleep(away)
    asked = time.monotonic()
    assert standby.query("SELECT pg_promote()")
    return died, asked, time.monotonic()


def fail_over(folder: Path, mode: Mode, options: argparse.Namespace) -> Outcome:
    """Lose a primary and promote its standby, once."""
    tally = Tally()
    primary, standby = Cluster(folder / "primary"), Cluster(folder / "standby")
    with ExitStack() as stack:
        for cluster in (primary, standby):
            stack.callback(cluster.stop)
        primary.start()
        create_database(primary)
        add_standby(primary, standby, mode)

        hosts = f"{primary.address},{standby.address}"
        dsn = standby.dsn(host=hosts, port="5432,5432", target_session_attrs="read-write")
        source = stack.enter_context(
            blocking_source(dsn, options.writers, reconnect_timeout=options.reconnect)
        )
        persist = Persistent(source, tally)
        runs = [NewChatRun(name="failover") for _ in range(options.writers)]
        for run in runs:
            persist(lambda conn, run=run: create_run(conn, run))
        writers = [Writer(persist, run.id) for run in runs]
        stop = threading.Event()
        with ThreadPoolExecutor(len(writers)) as threads:
            working = [threads.submit(writer.write, stop) for writer in writers]
            try:
                time.sleep(options.seconds)
                died, asked, promoted = lose(primary, standby, mode.stuck, options.away)
                time.sleep(options.seconds)
            finally:
                stop.set()
            for each in working:
                each.result()
        lost, doubled = 0, 0
        with connect(standby.dsn()) as conn:
            for writer in writers:
                stored = stored_numbers(conn, writer.run_id)
                lost += len(writer.acknowledged - set(stored))
                doubled += len(stored) - len(set(stored))
    answers = [moment for moment in tally.answered if moment > died]
    # One may have been on its way when the primary died.
    first = min(moment for moment in answers if moment > asked)
    return Outcome(
        promotion=promoted - asked,
        recovery=first - promoted,
        silence=tally.silence(died, max(answers)),
        acknowledged=sum(len(writer.acknowledged) for writer in writers),
        lost=lost,
        doubled=doubled,
        errors=tally.errors,
    )


def stored_numbers(conn: Connection[Any], run_id: UUID) -> list[int]:
    """Return the writer's own numbers of the events in a log, which must have no gap."""
    log = list(iter_run_events(conn, run_id))
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    payloads: list[Any] = [event.payload for event in log if event.type == "token"]
    return [payload["n"] for payload in payloads]


def main() -> int:
    parser = argparse.ArgumentParser(prog="failover", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--writers", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2, help="of work before and after")
    parser.add_argument("--stuck", type=float, default=0.5, help="seconds of a standby's delay")
    parser.add_argument("--away", type=float, default=0, help="seconds until the promotion")
    parser.add_argument("--reconnect", type=float, default=5, help="the pool's reconnect_timeout")
    parser.add_argument(
        "--replication",
        nargs="+",
        choices=("asynchronous", "synchronous"),
        default=("asynchronous", "synchronous"),
    )
    options = parser.parse_args()
    # A pool says so whenever it finds the server away.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    bad = False
    print(
        f"{'replication':<28} {'rounds':>6} {'promotion, s':>13} {'until a write, s':>17}"
        f" {'silence, s':>11} {'acknowledged':>13} {'lost':>5} {'doubled':>8}"
    )
    for replication, stuck in itertools.product(
        options.replication, dict.fromkeys((0.0, options.stuck))
    ):
        mode = Mode(replication == "synchronous", stuck)
        outcomes: list[Outcome] = []
        for _ in range(options.rounds):
            with drill_folder() as folder:
                outcomes.append(fail_over(folder, mode, options))
        lost = sum(outcome.lost for outcome in outcomes)
        doubled = sum(outcome.doubled for outcome in outcomes)
        print(
            f"{mode!s:<28} {len(outcomes):>6}"
            f" {spread(outcome.promotion for outcome in outcomes):>13}"
            f" {spread(outcome.recovery for outcome in outcomes):>17}"
            f" {spread(outcome.silence for outcome in outcomes):>11}"
            f" {sum(outcome.acknowledged for outcome in outcomes):>13} {lost:>5} {doubled:>8}",
            flush=True,
        )
        bad = bad or doubled > 0 or (mode.synchronous and lost > 0)
    return 1 if bad else 0


def spread(values: Iterable[float]) -> str:
    """Return the median and the longest of some times."""
    sorted_values = sorted(values)
    return f"{statistics.median(sorted_values):.2f} ({sorted_values[-1]:.2f})"


if __name__ == "__main__":
    sys.exit(main())
