"""Measure what it costs to keep tenants apart by row-level security.

Two databases of one server hold the same: runs of many tenants, of which the tenant `default` has
a share. One has the policies of `migrations/tenants`. The writer of `scripts/roles.sql` makes the
same calls on one and on the other in turn, some at a time. What is printed is the processor time
of a call, the client's and its server process's together, as Linux counts it: the medians of the
rounds and their ratio. Other work on the machine hardly changes it, and no disk hides it.

The last row is what naming another tenant takes: a transaction and `set_tenant` around a call.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import Connection

from runstore import (
    NewChatRun,
    NewFeatureRun,
    NewMemoryRecord,
    NewQuota,
    NewReservation,
    NewRunEvent,
    append_run_events,
    connect,
    create_feature_run,
    create_memory_record,
    create_run,
    get_run,
    get_run_tree,
    list_runs,
    read_run_events,
    reserve_usage,
    set_quota,
    set_tenant,
    start_run,
    transaction,
)
from runstore.embedded import Server, throwaway_server

ROOT: Final = Path(__file__).parents[2]
MIGRATIONS: Final = ROOT / "migrations"
ROLES: Final = ROOT / "scripts" / "roles.sql"

Conn = Connection[Any]

FILL: Final = """
    WITH run AS (
        INSERT INTO runstore.runs (id, tenant_id, kind, status)
        SELECT
            runstore.new_run_id(),
            coalesce('t' || nullif(number %% %(tenants)s, 0), 'default'),
            'chat',
            'pending'
        FROM generate_series(1, %(runs)s) AS number
        ON CONFLICT DO NOTHING
        RETURNING id
    )
    INSERT INTO runstore.run_heads (run_id) SELECT id FROM run
"""


@dataclass(frozen=True)
class Place:
    """A database, and the run in it that the calls are about."""

    conn: Conn
    run_id: UUID


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--calls", type=int, default=10, help="how many calls a round makes")
    parser.add_argument("--tenants", type=int, default=100)
    parser.add_argument("--runs", type=int, default=20_000, help="how many runs they have together")
    arguments = parser.parse_args()
    with throwaway_server() as server, ExitStack() as stack:
        apart = place(stack, server, "apart", arguments, MIGRATIONS, MIGRATIONS / "tenants")
        together = place(stack, server, "together", arguments, MIGRATIONS)
        version = apart.conn.execute("SHOW server_version").fetchone()
        print(f"PostgreSQL {version[0] if version else '?'}, {arguments.tenants} tenants,")
        print(f"{arguments.runs} runs, medians of {arguments.rounds} rounds in microseconds\n")
        print("| call | without | with | ratio |")
        print("| --- | --- | --- | --- |")
        for name, call in CALLS.items():
            report(name, compare(arguments, (call, together), (call, apart)))
        bare, named = CALLS["get_run"], within_a_named_transaction
        report("set_tenant and get_run", compare(arguments, (bare, apart), (named, apart)))


def place(
    stack: ExitStack, server: Server, name: str, arguments: argparse.Namespace, *sources: Path
) -> Place:
    with psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}".encode())
    with psycopg.connect(server.dsn(name), autocommit=True) as conn:
        conn.execute(ROLES.read_bytes())
        url = replace(server, user="runstore_migrator").yoyo_url(name)
        command = [sys.executable, "-m", "yoyo", "apply", "--batch", "--no-config-file"]
        subprocess.run(
            [*command, "--database", url, *map(str, sources)], check=True, process_group=0
        )
        conn.execute(ROLES.read_bytes())
        conn.execute(FILL, vars(arguments))
        run_id = furnish(conn)
        conn.execute("VACUUM ANALYZE")
    writer = connect(replace(server, user="runstore_writer").dsn(name))
    return Place(stack.enter_context(writer), run_id)


def furnish(conn: Conn) -> UUID:
    run = create_run(conn, NewChatRun(thread_id="thread-1"))
    start_run(conn, run.id)
    append_run_events(conn, run.id, [EVENT] * 2000)
    for number in range(50):
        create_memory_record(conn, NewMemoryRecord(run_id=run.id, kind="n", content=str(number)))
    set_quota(
        conn, NewQuota(subject_id="user-1", meter="tokens", period="day", limit_amount=10**15)
    )
    return run.id


EVENT: Final = NewRunEvent(type="token", payload={"text": "a word or two"})

Call = Callable[[Conn, UUID], object]

CALLS: Final[dict[str, Call]] = {
    "get_run": get_run,
    "get_run_tree, 50 rows": get_run_tree,
    "list_runs, a page of 100": lambda conn, _: list_runs(conn),
    "read_run_events, a page of 10": lambda conn, id: read_run_events(conn, id, page_size=10),
    "read_run_events, a page of 500": lambda conn, id: read_run_events(conn, id, page_size=500),
    "append_run_events, 1": lambda conn, id: append_run_events(conn, id, [EVENT]),
    "append_run_events, 100": lambda conn, id: append_run_events(conn, id, [EVENT] * 100),
    "create_feature_run": lambda conn, _: create_feature_run(conn, NewFeatureRun(name="n")),
    "create_memory_record": lambda conn, id: create_memory_record(
        conn, NewMemoryRecord(run_id=id, kind="n", content="c")
    ),
    "reserve_usage": lambda conn, _: reserve_usage(
        conn, NewReservation(subject_id="user-1", amounts={"tokens": 1})
    ),
}


def within_a_named_transaction(conn: Conn, run_id: UUID) -> None:
    with transaction(conn):
        set_tenant(conn, "default")
        get_run(conn, run_id)


def compare(arguments: argparse.Namespace, *variants: tuple[Call, Place]) -> list[float]:
    """Make the calls in turn, and return the median of each in microseconds."""
    times: list[list[float]] = [[] for _ in variants]
    for number in range(arguments.rounds + 2):
        for (call, place), taken in zip(variants, times, strict=True):
            start = processor_time(place.conn)
            for _ in range(arguments.calls):
                call(place.conn, place.run_id)
            # The first rounds prepare their statements.
            if number >= 2:  # noqa: PLR2004
                taken.append((processor_time(place.conn) - start) / arguments.calls / 1000)
    return [statistics.median(taken) for taken in times]


def processor_time(conn: Conn) -> int:
    """Return the nanoseconds that this process and the connection's server process worked."""
    server = Path(f"/proc/{conn.info.backend_pid}/schedstat").read_text(encoding="ascii")
    return time.process_time_ns() + int(server.split()[0])


def report(name: str, medians: list[float]) -> None:
    before, after = medians
    print(f"| {name} | {before:.0f} | {after:.0f} | {after / before:.2f} |", flush=True)


if __name__ == "__main__":
    main()
