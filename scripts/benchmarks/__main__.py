"""Measure what the library costs its user, against the same work written by hand.

Without one of --profile, --limits and --grow the workloads are measured, all of them or those
that are named. docs/performance.md says how to read the tables.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import psycopg

import documents
import machine
import measurements
from databases import bench_server
from workloads import WORKLOADS


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "workloads", nargs="*", metavar="WORKLOAD", help=f"{', '.join(WORKLOADS)}; else all"
    )
    parser.add_argument("--commits", choices=measurements.MODES, default="both")
    parser.add_argument("--sessions", type=int, default=3, help="starts of the processes")
    parser.add_argument("--rounds", type=int, default=7, help="rounds in each session")
    parser.add_argument("--peers", action="store_true", help="also what people use instead")
    parser.add_argument("--profile", action="store_true", help="where the microseconds go")
    parser.add_argument("--limits", action="store_true", help="beside pgbench")
    parser.add_argument("--grow", action="store_true", help="what calls cost on more and more")
    parser.add_argument(
        "--grow-to",
        type=int,
        default=measurements.GROWTH[-1],
        metavar="EVENTS",
        help="the most to grow to, as far as the disk has room",
    )
    parser.add_argument("--smoke", action="store_true", help="see that it runs; tells nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument(
        "--document", action="store_true", help="put the tables into docs/performance.md"
    )
    options = parser.parse_args()
    unknown = set(options.workloads) - set(WORKLOADS)
    if unknown:
        parser.error(f"there is no workload {', '.join(sorted(unknown))}")
    if options.smoke and options.document:
        parser.error("--smoke measures nothing that a document could say")
    return options


def main() -> None:
    options = arguments()
    wanted = {
        measurements.profile: options.profile,
        measurements.limit: options.limits,
        measurements.grow: options.grow,
    }
    measures = [measure for measure in wanted if wanted[measure]] or [measurements.compare]
    figures: dict[str, Any] = {}
    tables: dict[str, str] = {}
    with bench_server() as server:
        with psycopg.connect(server.dsn(server.maintenance_dbname)) as conn:
            figures["machine"] = machine.describe(conn)
        said = machine.line(figures["machine"])
        print(said)
        for measure in measures:
            measured = measure(server, options)
            figures |= measured.figures
            tables |= measured.tables
            tables[f"machine of {measure.__name__}"] = said
    if options.json:
        # Whoever looks at the figures later wants to know what else the machine had to do.
        document = {**figures, "load": os.getloadavg()}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if options.document:
        documents.update(tables)


if __name__ == "__main__":
    main()
