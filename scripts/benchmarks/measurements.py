"""The four things that are measured, each with its figures and its tables."""

from __future__ import annotations

import shutil
import sys
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
from rich.console import Console
from rich.progress import track

import growth
import limits
import profiles
import replay_memory
import report
import storage
from contestants import SMALLEST, Sizes
from databases import Commits, database
from filling import BYTES_PER_EVENT
from observer import Observer
from peers import requirements
from peers import workloads as peers
from rounds import play
from runstore.embedded import Server
from workloads import WORKLOADS

MODES: Final[dict[str, Sequence[Commits]]] = {
    "durable": ("durable",),
    "relaxed": ("relaxed",),
    "both": ("relaxed", "durable"),
}
GROWTH: Final = (10_000, 1_000_000, 20_000_000)

Figures = dict[str, list[dict[str, Any]]]

_PEERS: Final = Path(__file__).resolve().parents[2] / ".venv-peers"


@dataclass
class Measured:
    """Figures for programs, and tables for people, each by name."""

    figures: Figures = field(default_factory=Figures)
    tables: dict[str, str] = field(default_factory=dict[str, str])

    def add(self, kind: str, rows: Iterable[Any], table: str, name: str | None = None) -> None:
        """Keep rows of a kind and the table of them, and print it at once."""
        self.figures.setdefault(kind, []).extend(asdict(row) for row in rows)
        self.tables[name or kind] = table
        print(f"\n{name or kind}\n\n{table}", flush=True)


def compare(server: Server, options: Namespace) -> Measured:
    """Play the workloads that were asked for, with commits of either sort."""
    measured = Measured()
    over: list[str] = []
    interpreters: Mapping[str, Path] = {}
    if options.peers:
        interpreters, failures = requirements.installed(_PEERS)
        for peer, reason in failures.items():
            print(f"{peer} could not be installed and is left out: {reason}", file=sys.stderr)
    for name in options.workloads or WORKLOADS:
        for commits in MODES[options.commits if WORKLOADS[name].commits else "relaxed"]:
            rows = _play(server, name, commits, interpreters, options)
            measured.add("workloads", rows, report.table(rows), f"{name}, {commits}")
            over += [f"{name}, {commits}: {row.name}" for row in rows if row.missed]
    print("\nOver the bar:", *over or ["none"], sep="\n")
    return measured


def _play(
    server: Server,
    name: str,
    commits: Commits,
    interpreters: Mapping[str, Path],
    options: Namespace,
) -> list[report.Row]:
    contestants = [*WORKLOADS[name].contestants, *peers.contestants(name, interpreters)]
    dbname = f"bench_{commits}"
    with (
        database(server, dbname, commits) as dsn,
        psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as conn,
    ):
        rounds = play(
            contestants,
            dsn,
            Observer(conn, dbname),
            SMALLEST if options.smoke else Sizes(),
            sessions=options.sessions,
            rounds=options.rounds,
        )
        # It is drawn between two rounds, and takes nothing from a contestant's turn.
        shown = track(
            rounds,
            f"{name}, {commits}",
            total=options.sessions * options.rounds,
            console=Console(stderr=True),
            transient=True,
            auto_refresh=False,
            disable=not sys.stderr.isatty(),
        )
        return report.summed_up(name, commits, contestants, list(shown))


def profile(server: Server, options: Namespace) -> Measured:
    """Take calls apart into layers."""
    measured = Measured()
    with database(server, "bench_profile", "relaxed") as dsn:
        layers = profiles.profile(dsn, 10 if options.smoke else 1000)
    measured.add("profile", layers, profiles.table(layers))
    return measured


def limit(server: Server, options: Namespace) -> Measured:
    """Put ours beside pgbench."""
    measured = Measured()
    found = limits.limits(server, *(0.1, 1) if options.smoke else (3, 5))
    measured.add("limits", found, limits.table(found))
    return measured


def grow(server: Server, options: Namespace) -> Measured:
    """Fill databases of several sizes, as far as the disk has room, and compare them."""
    assert server.data_dir
    measured = Measured()
    # The databases of all sizes exist at once.
    room = shutil.disk_usage(server.data_dir).free // BYTES_PER_EVENT // 2
    most = min(options.grow_to, room)
    if most < options.grow_to:
        print(f"The disk has room to grow to {most:,} events only", file=sys.stderr)
    sizes = sorted({min(size, most) for size in GROWTH})
    rows = list(growth.grow(server, sizes, 1 if options.smoke else 9))
    measured.add("growth", rows, growth.table(rows))
    stored = list(storage.store(server, min(20_000, most)))
    measured.add("storage", stored, storage.table(stored))
    with database(server, "bench_memory", "relaxed") as dsn:
        memory = replay_memory.measure(dsn, min(1_000_000, most))
    measured.add("memory", [memory], replay_memory.line(memory))
    return measured
