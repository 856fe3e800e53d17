"""How much memory a process needs to replay a long run event by event."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg

import runstore
from payloads import payload
from preparation import new_run
from runstore import NewRunEvent


@dataclass(frozen=True)
class Memory:
    """The peak of a process that replayed so many events, and of one that only connected."""

    events: int
    peak_mib: float
    connected_mib: float


def measure(dsn: str, events: int) -> Memory:
    """Fill a run, and replay it in a process of its own."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        run_id = new_run(conn)
        event = NewRunEvent(type="message", payload=payload(1))
        runstore.import_run_events(conn, run_id, (event for _ in range(events)))
    return Memory(events, _peak(dsn, run_id, events), _peak(dsn, run_id, 0))


def line(memory: Memory) -> str:
    """Return the figures as a sentence."""
    return (
        f"A process that replays {memory.events:,} events with `iter_run_events` has a peak of "
        f"{memory.peak_mib:.0f} MiB; one that only connects, {memory.connected_mib:.0f} MiB."
    )


def _peak(dsn: str, run_id: UUID, events: int) -> float:
    command = [sys.executable, str(Path(__file__)), dsn, str(run_id), str(events)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024


def replay(dsn: str, run_id: UUID, events: int) -> None:
    """Replay a run, and print the peak of this process' memory in KiB.

    The peak that `getrusage` knows may be that of the process that started this one.
    """
    with runstore.connect(dsn) as conn:
        if events:
            assert sum(1 for _ in runstore.iter_run_events(conn, run_id)) == events
    status = Path("/proc/self/status").read_text(encoding="ascii")
    print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))


if __name__ == "__main__":
    replay(sys.argv[1], UUID(sys.argv[2]), int(sys.argv[3]))
