"""The same statement from pgbench, which is written in C: what the clock says beside ours."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

import runstore
from bare_libpq import PLACEHOLDER, as_text
from databases import Commits, database
from observer import Observer, between
from payloads import events
from preparation import library_statement
from runstore import NewRunEvent
from runstore.embedded import Server

CLIENTS: Final = (1, 32)
GIVEN: Final = events(1)[0]

# Each client has a run, whose id pgbench can tell from the client's number.
RUNS: Final = """
WITH run AS (
    INSERT INTO runstore.runs (id, kind, status)
    SELECT
        ('01900000-0000-7000-8' || lpad(to_hex(client), 3, '0') || '-000000000000')::uuid,
        'chat',
        'pending'
    FROM generate_series(0, %s - 1) AS client
    RETURNING id
)
INSERT INTO runstore.run_heads (run_id) SELECT id FROM run
"""
RUN_ID: Final = (
    "('01900000-0000-7000-8' || lpad(to_hex(:client_id::int), 3, '0') || '-000000000000')::uuid"
)


@dataclass(frozen=True)
class Limit:
    """The microseconds between two appends of all clients together.

    `execution_us` is how long the server says that it executed one of them.
    """

    commits: Commits
    clients: int
    pgbench_us: float | None
    runstore_us: float
    execution_us: float


def find_pgbench(server: Server) -> Path | None:
    """Return the pgbench of the server, or of Debian, or None."""
    folders = [server.bindir, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    candidates = [folder / "pgbench" for folder in folders if folder]
    return next((path for path in candidates if os.access(path, os.X_OK)), None)


def limits(server: Server, seconds: float, rounds: int) -> list[Limit]:
    """Compare the two at each number of clients, with commits of either sort."""
    pgbench = find_pgbench(server)
    return [
        _compare(server, pgbench, commits, clients, seconds=seconds, rounds=rounds)
        for commits in ("relaxed", "durable")
        for clients in CLIENTS
    ]


def _compare(
    server: Server,
    pgbench: Path | None,
    commits: Commits,
    clients: int,
    *,
    seconds: float,
    rounds: int,
) -> Limit:
    with (
        database(server, "bench_limits", commits) as dsn,
        psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as admin,
    ):
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(RUNS, (clients,))
        observer = Observer(admin, "bench_limits")
        theirs: list[float] = []
        ours: list[float] = []
        execution: list[float] = []
        for _ in range(rounds):
            if pgbench:
                theirs.append(_pgbench(pgbench, dsn, clients, seconds))
            before = observer.so_far()
            ours.append(_runstore(dsn, clients, seconds))
            cost = between(before, observer.so_far())
            execution.append(cost.execution / cost.statements * 1e6)
        return Limit(
            commits,
            clients,
            median(theirs) if theirs else None,
            median(ours),
            median(execution),
        )


def _pgbench(pgbench: Path, dsn: str, clients: int, seconds: float) -> float:
    """Return the microseconds for an append."""
    parameters = runstore.append_run_events.bind(UUID(int=0), [_event()]).parameters
    given = {name: as_text(parameters[name]) for name in ("types", "payloads")}
    text = PLACEHOLDER.sub(
        lambda found: {"run_id": RUN_ID, "types": ":types", "payloads": ":payloads"}.get(
            found[1], "NULL"
        ),
        library_statement("run_events", "append_run_events"),
    )
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(text + ";\n")
        script.flush()
        command: list[str | Path] = [pgbench, "--no-vacuum", "--protocol=prepared"]
        command += [f"--client={clients}", f"--time={max(round(seconds), 1)}"]
        command += [f"--file={script.name}"]
        for name, value in given.items():
            assert value
            command += [f"--define={name}={value.decode()}"]
        done = subprocess.run([*command, dsn], check=True, capture_output=True, text=True)
    found = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
    assert found, done.stdout
    return 1e6 / float(found[1])


def _runstore(dsn: str, clients: int, seconds: float) -> float:
    """Return the microseconds for an append: of one connection, or of tasks with one each."""
    with psycopg.connect(dsn) as conn:
        run_ids = [row[0] for row in conn.execute("SELECT id FROM runstore.runs ORDER BY id")]
    if clients > 1:
        return asyncio.run(_tasks(dsn, run_ids, seconds))
    appended = 0
    with runstore.connect(dsn) as conn:
        start = perf_counter()
        while perf_counter() < start + seconds:
            runstore.append_run_events(conn, run_ids[0], [_event()])
            appended += 1
        return (perf_counter() - start) / appended * 1e6


async def _tasks(dsn: str, run_ids: Sequence[UUID], seconds: float) -> float:
    connections = [await runstore.connect_async(dsn) for _ in run_ids]
    start = perf_counter()

    async def client(conn: AsyncConnection[Any], run_id: UUID) -> int:
        appended = 0
        while perf_counter() < start + seconds:
            await runstore.append_run_events(conn, run_id, [_event()])
            appended += 1
        return appended

    counts = await asyncio.gather(*map(client, connections, run_ids))
    taken = perf_counter() - start
    for conn in connections:
        await conn.close()
    return taken / sum(counts) * 1e6


def _event() -> NewRunEvent:
    type, payload = GIVEN
    return NewRunEvent(type=type, payload=payload)


def table(rows: Sequence[Limit]) -> str:
    lines = [
        "| commits | clients | pgbench us | runstore us | ratio | server us | its share |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        ratio = "" if row.pgbench_us is None else f"{row.runstore_us / row.pgbench_us:.2f}"
        theirs = "no pgbench" if row.pgbench_us is None else f"{row.pgbench_us:.1f}"
        # What one client waits for an append is as much longer as there are clients.
        share = row.execution_us / (row.runstore_us * row.clients)
        lines.append(
            f"| {row.commits} | {row.clients} | {theirs} | {row.runstore_us:.1f} | {ratio} "
            f"| {row.execution_us:.1f} | {share:.0%} |"
        )
    return "\n".join(lines)
