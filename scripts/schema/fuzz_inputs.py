"""Hand hostile values to every table: what is accepted reads back equal, the rest leaves nothing.

Half of the inputs go through a blocking connection and half through an asyncio one. Each half has a
database of its own. Prints what became of the inputs of each table; exits with 1 on a finding.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from connections import Kind, caller
from hostile_inputs import TARGETS, Tally, trial
from migrated_database import migrated_database

KINDS: Final[tuple[Kind, ...]] = ("blocking", "asyncio")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000, help="inputs for each table")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    names = [target.name for target in TARGETS]
    parser.add_argument("tables", nargs="*", choices=[[], *names], metavar="table")
    arguments = parser.parse_args()
    chosen: list[str] = arguments.tables or names
    totals = {name: Tally() for name in chosen}
    findings: list[str] = []
    halves = Counter[str]()
    print(f"{'table':30}{'inputs':>8}{'accepted':>10}{'refused':>9}{'clashed':>9}{'reasons':>9}")
    with (
        migrated_database(None) as dsn,
        ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool,
    ):
        cases = arguments.cases // len(KINDS)
        tried = {
            pool.submit(try_table, dsn, name, kind, cases): name
            for name, kind in itertools.product(chosen, KINDS)
        }
        for done in as_completed(tried):
            name = tried[done]
            tally, finding = done.result()
            total = totals[name]
            total.accepted += tally.accepted
            total.clashes += tally.clashes
            total.refused.update(tally.refused)
            findings += [f"{name}: {finding}"] if finding else []
            halves[name] += 1
            if halves[name] == len(KINDS):
                print(line(name, total), flush=True)
    print("\n".join(["", *reasons(totals)]))
    print("\n".join(["", *findings]) if findings else "\nnothing found")
    sys.exit(bool(findings))


def try_table(dsn: str, name: str, kind: Kind, cases: int) -> tuple[Tally, str]:
    """Try a table's inputs on a database of its own, and return what was found, if anything."""
    target = next(target for target in TARGETS if target.name == name)
    total = Tally()
    with own_database(dsn, f"{name} {kind}") as own:
        try:
            with caller(kind, own, rolled_back=False) as call:
                trial(call, target, cases, total)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding.
            return total, "".join(traceback.format_exception_only(error))
    return total, ""


@contextlib.contextmanager
def own_database(dsn: str, name: str) -> Iterator[str]:
    """Clone the migrated database."""
    template = str(conninfo_to_dict(dsn)["dbname"])
    with psycopg.connect(make_conninfo(dsn, dbname="template1"), autocommit=True) as conn:
        # Two clones at once are one too many for the template.
        conn.execute("SELECT pg_advisory_lock(1)")
        conn.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    yield make_conninfo(dsn, dbname=name)
    with psycopg.connect(make_conninfo(dsn, dbname="template1"), autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def line(name: str, total: Tally) -> str:
    """Say what became of the inputs of a table."""
    refused = sum(total.refused.values())
    return (
        f"{name:30}{total.accepted + refused + total.clashes:8}{total.accepted:10}"
        f"{refused:9}{total.clashes:9}{len(total.refused):9}"
    )


def reasons(totals: dict[str, Tally]) -> Iterator[str]:
    """Say what inputs were refused for, and how often."""
    counts = sum((total.refused for total in totals.values()), Counter[str]())
    for reason, count in counts.most_common():
        yield f"{count:8}  {reason}"


if __name__ == "__main__":
    main()
