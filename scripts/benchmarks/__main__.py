"""Measure what the library costs its user, against the same work written by hand.

Without one of --profile, --limits and --grow the workloads are measured, all of them or those
that are named. docs/performance.md says how to read the tables.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import psycopg

import growth
import limits
import profiles
import replay_memory
import storage
from contestants import SMALLEST, Sizes
from databases import Commits, bench_server, database
from filling import BYTES_PER_EVENT
from machine import describe
from observer import Observer
from peers import requirements
from peers import workloads as peers
from report import Row, summed_up, table
from rounds import play
from runstore.embedded import Server
from workloads import WORKLOADS

TOP: Final = Path(__file__).resolve().parents[2]
MODES: Final[dict[str, Sequence[Commits]]] = {
    "durable": ("durable",),
    "relaxed": ("relaxed",),
    "both": ("relaxed", "durable"),
}
GROWTH: Final = (10_000, 1_000_000, 20_000_000)

Tables = dict[str, list[dict[str, Any]]]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help=f"{', '.join(WORKLOADS)}; else all"
    )
    parser.add_argument("--commits", choices=MODES, default="both", help="whether they wait")
    parser.add_argument("--sessions", type=int, default=3, help="starts of the processes")
    parser.add_argument("--rounds", type=int, default=7, help="rounds in each session")
    parser.add_argument("--peers", action="store_true", help="also what people use instead")
    parser.add_argument("--profile", action="store_true", help="where the microseconds go")
    parser.add_argument("--limits", action="store_true", help="beside pgbench")
    parser.add_argument("--grow", action="store_true", help="what calls cost on more and more")
    parser.add_argument(
        "--grow-to",
        type=int,
        default=GROWTH[-1],
        metavar="EVENTS",
        help="the most to grow to, as far as the disk has room",
    )
    parser.add_argument("--smoke", action="store_true", help="see that it runs; tells nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    unknown = set(options.workloads) - set(WORKLOADS)
    if unknown:
        parser.error(f"there is no workload {', '.join(sorted(unknown))}")
    return options


def compare(server: Server, options: argparse.Namespace) -> Iterator[Row]:
    """Play the workloads that were asked for, and print the table of each."""
    interpreters: Mapping[str, Path] = {}
    if options.peers:
        interpreters, failures = requirements.installed(TOP / ".venv-peers")
        for peer, reason in failures.items():
            print(f"{peer} could not be installed and is left out: {reason}", file=sys.stderr)
    for name in options.workloads or WORKLOADS:
        for commits in MODES[options.commits]:
            rows = compare_one(server, name, commits, interpreters, options)
            print(f"\n{name}: {WORKLOADS[name].title}; {commits} commits\n\n{table(rows)}")
            sys.stdout.flush()
            yield from rows


def compare_one(
    server: Server,
    name: str,
    commits: Commits,
    interpreters: Mapping[str, Path],
    options: argparse.Namespace,
) -> list[Row]:
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
        return summed_up(name, commits, contestants, list(rounds))


def show_profile(server: Server, options: argparse.Namespace) -> Tables:
    with database(server, "bench_profile", "relaxed") as dsn:
        layers = profiles.profile(dsn, 10 if options.smoke else 1000)
    print(f"\nWhere the microseconds go; relaxed commits\n\n{profiles.table(layers)}")
    return {"layers": [asdict(layer) for layer in layers]}


def show_limits(server: Server, options: argparse.Namespace) -> Tables:
    found = limits.limits(server, 0.1 if options.smoke else 3)
    print(f"\nOne event, each in a commit of its own, beside pgbench\n\n{limits.table(found)}")
    return {"limits": [asdict(limit) for limit in found]}


def show_growth(server: Server, options: argparse.Namespace) -> Tables:
    assert server.data_dir
    # The databases of all sizes exist at once.
    room = shutil.disk_usage(server.data_dir).free // BYTES_PER_EVENT // 2
    most = min(options.grow_to, room)
    if most < options.grow_to:
        print(f"The disk has room to grow to {most:,} events only", file=sys.stderr)
    sizes = sorted({min(size, most) for size in GROWTH})
    rows = list(growth.grow(server, sizes))
    print(f"\nWhat calls cost as the database grows; relaxed commits\n\n{growth.table(rows)}")
    stored = list(storage.store(server, min(50_000, most)))
    print(f"\nWhat an event takes\n\n{storage.table(stored)}")
    with database(server, "bench_memory", "relaxed") as dsn:
        memory = replay_memory.measure(dsn, min(1_000_000, most))
    print(
        f"\niter_run_events over {memory.events:,} events: a peak of {memory.peak_mib:.0f} MiB; "
        f"{memory.connected_mib:.0f} MiB of a process that only connects"
    )
    return {
        "growth": [asdict(row) for row in rows],
        "storage": [asdict(row) for row in stored],
        "memory": [asdict(memory)],
    }


def main() -> None:
    options = arguments()
    shows = [
        show
        for show, wanted in (
            (show_profile, options.profile),
            (show_limits, options.limits),
            (show_growth, options.grow),
        )
        if wanted
    ]
    with bench_server() as server:
        with psycopg.connect(server.dsn(server.maintenance_dbname)) as conn:
            machine = describe(conn)
        print(json.dumps(machine))
        tables: Tables = {}
        rows: list[Row] = []
        for show in shows:
            tables |= show(server, options)
        if not shows:
            rows = list(compare(server, options))
            tables["workloads"] = [asdict(row) for row in rows]
    if options.json:
        # Whoever looks at the figures later wants to know what else the machine had to do.
        document = {"machine": machine, "load": os.getloadavg(), **tables}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    missed = [f"{row.workload}: {row.name}, {row.commits}" for row in rows if row.missed]
    if missed:
        print("\nOver the bar:\n" + "\n".join(missed))


if __name__ == "__main__":
    main()
