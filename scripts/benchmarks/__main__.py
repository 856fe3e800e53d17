"""Measure what the library costs its user, against the same work written by hand."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
from contestants import SMALLEST, Sizes
from databases import Commits, bench_server, database
from machine import describe
from observer import Observer
from report import Row, summed_up, table
from rounds import play
from workloads import WORKLOADS, Workload

from runstore.embedded import Server

MODES: dict[str, Sequence[Commits]] = {
    "durable": ("durable",),
    "relaxed": ("relaxed",),
    "both": ("relaxed", "durable"),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help=f"{', '.join(WORKLOADS)}; else all"
    )
    parser.add_argument("--commits", choices=MODES, default="both", help="whether they wait")
    parser.add_argument("--sessions", type=int, default=3, help="starts of the processes")
    parser.add_argument("--rounds", type=int, default=7, help="rounds in each session")
    parser.add_argument(
        "--peers", action="store_true", help="libraries that people use instead, too"
    )
    parser.add_argument("--smoke", action="store_true", help="see that it runs; measures nothing")
    parser.add_argument("--json", type=Path, help="the file to write the figures to")
    options = parser.parse_args()
    unknown = set(options.workloads) - set(WORKLOADS)
    if unknown:
        parser.error(f"there is no workload {', '.join(sorted(unknown))}")
    return options


def measured(server: Server, options: argparse.Namespace) -> Iterator[Row]:
    """Play the workloads that were asked for, and print the table of each."""
    for name in options.workloads or WORKLOADS:
        for commits in MODES[options.commits]:
            rows = play_one(server, name, WORKLOADS[name], commits, options)
            print(f"\n{name}: {WORKLOADS[name].title}; {commits} commits\n")
            print(table(rows), flush=True)
            yield from rows


def play_one(
    server: Server, name: str, workload: Workload, commits: Commits, options: argparse.Namespace
) -> list[Row]:
    dbname = f"bench_{commits}"
    with (
        database(server, dbname, commits) as dsn,
        psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as conn,
    ):
        rounds = play(
            workload.contestants,
            dsn,
            Observer(conn, dbname),
            SMALLEST if options.smoke else Sizes(),
            sessions=options.sessions,
            rounds=options.rounds,
        )
        return summed_up(name, commits, workload.contestants, list(rounds))


def main() -> None:
    options = arguments()
    with bench_server() as server:
        with psycopg.connect(server.dsn(server.maintenance_dbname)) as conn:
            machine: dict[str, Any] = describe(conn)
        print(json.dumps(machine))
        rows = list(measured(server, options))
    if options.json:
        # Whoever looks at the figures later wants to know what else the machine had to do.
        document = {"machine": machine, "load": os.getloadavg(), "rows": [asdict(r) for r in rows]}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    missed = [f"{row.workload}: {row.name}, {row.commits}" for row in rows if row.missed]
    if missed:
        print("\nOver the bar:\n" + "\n".join(missed))


if __name__ == "__main__":
    main()
