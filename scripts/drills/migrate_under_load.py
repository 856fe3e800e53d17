"""Apply each migration to a filled schema while the library is at work.

For every migration a database is migrated up to the one before and filled; workers call the
library's functions, as many of them as work on that schema; then the migration is applied. The
longest that a statement took meanwhile is printed beside the longest of the same time before.
A migration that may keep statements waiting longer says why in its header: `-- waits: reason`.
"""

from __future__ import annotations

import argparse
import itertools
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, LiteralString, Protocol, Self

import psycopg
from psycopg import Connection
from psycopg.errors import UndefinedColumn, UndefinedFunction, UndefinedTable
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

import runstore
from runstore.embedded import Server, throwaway_server

MIGRATIONS = Path(__file__).parents[2] / "migrations"
BAR_MS = 200
SECONDS = 1.0
WORKERS = 4


class Work(Protocol):
    """Something that users do with the library."""

    __name__: str

    def __call__(self, conn: Connection[TupleRow], /) -> object: ...


FILL: dict[str, LiteralString] = {
    "runs": """
        INSERT INTO runstore.runs (id, kind, name, status, started_at)
        SELECT runstore.new_run_id(), 'feature', 'filler', 'running', now()
        FROM generate_series(1, %(rows)s)
        ON CONFLICT DO NOTHING
    """,
    "run_heads": """
        INSERT INTO runstore.run_heads (run_id, last_seq) SELECT id, 10 FROM runstore.runs
    """,
    "run_events": """
        INSERT INTO runstore.run_events (run_id, seq, type)
        SELECT run_id, seq, 'filler' FROM runstore.run_heads, generate_series(1, 10) AS seq
    """,
    "phase_results": """
        INSERT INTO runstore.phase_results (run_id, id, phase, attempt)
        SELECT id, runstore.new_child_id(id), 'plan', 1 FROM runstore.runs
    """,
    "agent_invocations": """
        INSERT INTO runstore.agent_invocations (run_id, id, agent)
        SELECT id, runstore.new_child_id(id), 'filler' FROM runstore.runs
    """,
    "agent_steps": """
        INSERT INTO runstore.agent_steps (run_id, id, invocation_id, position, kind)
        SELECT run_id, runstore.new_child_id(run_id), id, position, 'filler'
        FROM runstore.agent_invocations, generate_series(1, 5) AS position
    """,
    "tool_calls": """
        INSERT INTO runstore.tool_calls (run_id, id, invocation_id, name)
        SELECT run_id, runstore.new_child_id(run_id), id, 'filler' FROM runstore.agent_invocations
    """,
    "memory_records": """
        INSERT INTO runstore.memory_records (run_id, id, kind, content)
        SELECT id, runstore.new_child_id(id), 'filler', 'filler' FROM runstore.runs
    """,
    "cta_events": """
        INSERT INTO runstore.cta_events (run_id, id, kind)
        SELECT id, runstore.new_child_id(id), 'filler' FROM runstore.runs
    """,
    "quotas": """
        INSERT INTO runstore.quotas (subject_id, id, meter, period, limit_amount)
        SELECT 'filler ' || number, gen_random_uuid(), 'tokens', 'total', 1000
        FROM generate_series(1, %(rows)s) AS number
    """,
    "usage_counters": """
        INSERT INTO runstore.usage_counters (tenant_id, subject_id, quota_id, window_start)
        SELECT tenant_id, subject_id, id, '-infinity' FROM runstore.quotas
    """,
    "usage_reservations": """
        INSERT INTO runstore.usage_reservations (
            id, subject_id, amounts, status, run_id, expires_at, finished_at
        )
        SELECT runstore.new_child_id(id), 'filler', '{"tokens": 7}', 'settled', id, now(), now()
        FROM runstore.runs, generate_series(1, 3)
    """,
    "usage_logs": """
        INSERT INTO runstore.usage_logs (id, meter, subject_id, amount, run_id)
        SELECT id, 'tokens', subject_id, 7, run_id FROM runstore.usage_reservations
    """,
}


def pipeline(conn: Connection[TupleRow]) -> object:
    run = runstore.create_feature_run(conn, runstore.NewFeatureRun(name="load", phase="plan"))
    runstore.update_feature_run_phase(conn, run.id, "build")
    runstore.append_run_events(conn, run.id, [runstore.NewRunEvent(type="token")] * 10)
    runstore.get_run(conn, run.id)
    runstore.list_runs(conn, page_size=10)
    return runstore.complete_feature_run(conn, run.id)


def machines(conn: Connection[TupleRow]) -> object:
    run = runstore.create_feature_run(conn, runstore.NewFeatureRun(name="load"))
    sandbox = runstore.NewSandbox(run_id=run.id, id=f"sandbox {run.id}")
    runstore.create_sandbox_record(conn, sandbox)
    snapshot = runstore.NewSnapshot(run_id=run.id, sandbox_id=sandbox.id, id="snapshot")
    runstore.create_snapshot_record(conn, snapshot)
    return runstore.update_sandbox_status(conn, sandbox.id, "stopped")


def phases(conn: Connection[TupleRow]) -> object:
    run = runstore.create_feature_run(conn, runstore.NewFeatureRun(name="load"))
    phase = runstore.NewPhaseResult(run_id=run.id, phase="plan")
    runstore.create_phase_result(conn, phase)
    return runstore.pass_phase_result(conn, phase.id, {"ok": True})


def agents(conn: Connection[TupleRow]) -> object:
    run = runstore.create_feature_run(conn, runstore.NewFeatureRun(name="load"))
    invocation = runstore.NewAgentInvocation(run_id=run.id, agent="load")
    runstore.create_agent_invocation(conn, invocation)
    step = runstore.NewAgentStep(invocation_id=invocation.id, kind="thought")
    runstore.create_agent_step(conn, step)
    tool_call = runstore.NewToolCall(invocation_id=invocation.id, name="shell")
    runstore.create_tool_call(conn, tool_call)
    runstore.finish_tool_call(conn, tool_call.id)
    return runstore.complete_agent_invocation(conn, invocation.id, runstore.InvocationOutcome())


def memories(conn: Connection[TupleRow]) -> object:
    run = runstore.create_feature_run(conn, runstore.NewFeatureRun(name="load"))
    memory = runstore.NewMemoryRecord(run_id=run.id, kind="fact", content="load")
    runstore.create_memory_record(conn, memory)
    return runstore.get_memory_records(conn, run.id)


def questions(conn: Connection[TupleRow]) -> object:
    run = runstore.create_feature_run(conn, runstore.NewFeatureRun(name="load"))
    question = runstore.NewCtaEvent(run_id=run.id, kind="approve")
    runstore.create_cta_event(conn, question)
    runstore.complete_cta_event(conn, question.id, {"yes": True})
    return runstore.get_run_tree(conn, run.id)


def forks(conn: Connection[TupleRow]) -> object:
    run = runstore.create_run(conn, runstore.NewChatRun())
    runstore.append_run_events(conn, run.id, [runstore.NewRunEvent(type="token")] * 3)
    fork = runstore.fork_run(conn, run.id, 2, runstore.NewRunFork())
    return runstore.read_run_events(conn, fork.id)


def reports(conn: Connection[TupleRow]) -> object:
    run = runstore.create_run(conn, runstore.NewChatRun())
    report = runstore.NewReport(run_id=run.id, title="load")
    runstore.create_report(conn, report)
    draft = runstore.SectionDraft(slug="load", content="load")
    runstore.put_report_section(conn, report.id, draft)
    return runstore.get_report(conn, report.id)


def usage(conn: Connection[TupleRow]) -> object:
    asked = runstore.NewReservation(subject_id="load", amounts={"tokens": 10})
    runstore.reserve_usage(conn, asked)
    runstore.settle_usage(conn, asked.id, {"tokens": 7})
    return runstore.get_usage(conn, "load")


WORKLOAD: list[Work] = [
    pipeline,
    machines,
    phases,
    agents,
    memories,
    questions,
    forks,
    reports,
    usage,
]


class TimedConnection(Connection[TupleRow]):
    """A connection that notes when each of its statements began and ended."""

    work = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.statements: list[tuple[float, float, str]] = []

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        before = time.monotonic()
        try:
            return super().wait(*args, **kwargs)
        finally:
            self.statements.append((before, time.monotonic(), self.work))


class Load:
    """Workers that call the library until they are stopped."""

    def __init__(self, dsn: str, workload: list[Work]) -> None:
        self._workload = workload
        self._stopped = threading.Event()
        self._connections = [TimedConnection.connect(dsn, autocommit=True) for _ in range(WORKERS)]
        self._threads = ThreadPoolExecutor(WORKERS)

    def __enter__(self) -> Self:
        self._workers = [
            self._threads.submit(self._work, number, conn)
            for number, conn in enumerate(self._connections)
        ]
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        self._threads.shutdown()
        for worker in self._workers:
            worker.result()
        for conn in self._connections:
            conn.close()

    def _work(self, number: int, conn: TimedConnection) -> None:
        while not self._stopped.is_set():
            work = self._workload[number % len(self._workload)]
            conn.work = work.__name__
            work(conn)
            number += 1

    def longest(self, start: float, end: float) -> tuple[float, str]:
        """Return the longest statement under way in this time, in milliseconds, and its work."""
        taken = [
            ((after - before) * 1000, work)
            for conn in self._connections
            for before, after, work in conn.statements
            if after >= start and before <= end
        ]
        return max(taken, default=(0.0, "none"))


def yoyo(command: str, url: str, revision: str | None) -> None:
    arguments = [command, "--batch", "--no-config-file", "--database", url]
    if revision is not None:
        arguments += ["--revision", revision]
    subprocess.run(
        [sys.executable, "-m", "yoyo", *arguments, str(MIGRATIONS)], check=True, process_group=0
    )


def fill(conn: Connection[TupleRow], rows: int) -> None:
    for statement in FILL.values():
        with suppress(UndefinedTable):
            conn.execute(statement, {"rows": rows})
    conn.execute("VACUUM ANALYZE")


def possible(conn: Connection[TupleRow]) -> list[Work]:
    """Return what of the workload works on the schema as it is."""
    works: list[Work] = []
    for work in WORKLOAD:
        with suppress(UndefinedTable, UndefinedColumn, UndefinedFunction):
            work(conn)
            works.append(work)
    return works


def measure(server: Server, previous: str, migration: str, rows: int) -> tuple[float, float, str]:
    """Apply a migration under load; return the longest waits before and meanwhile, and whose."""
    dbname = f"load_{migration.split('-')[1]}"
    with psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as conn:
        conn.execute(SQL("CREATE DATABASE {}").format(Identifier(dbname)))
    url = server.yoyo_url(dbname)
    yoyo("apply", url, previous)
    with psycopg.connect(server.dsn(dbname), autocommit=True) as conn:
        fill(conn, rows)
        workload = possible(conn)
    with Load(server.dsn(dbname), workload) as load:
        time.sleep(SECONDS)
        start = time.monotonic()
        yoyo("apply", url, migration)
        end = time.monotonic()
    before, _ = load.longest(start - SECONDS, start)
    meanwhile, work = load.longest(start, end)
    return before, meanwhile, work


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="runs in the filled schema")
    rows = parser.parse_args().rows
    migrations = sorted(
        path for path in MIGRATIONS.glob("*.sql") if not path.name.endswith(".rollback.sql")
    )
    slow: list[str] = []
    print(f"{'migration':<48} {'before, ms':>10} {'meanwhile, ms':>14}  slowest work")
    with throwaway_server() as server:
        # The first two make the tables without which there is no workload.
        for previous, path in itertools.pairwise(migrations[1:]):
            before, meanwhile, work = measure(server, previous.stem, path.stem, rows)
            print(f"{path.stem:<48} {before:>10.1f} {meanwhile:>14.1f}  {work}", flush=True)
            excused = re.search(r"^-- waits: ", path.read_text(encoding="ascii"), re.MULTILINE)
            if meanwhile > BAR_MS and not excused:
                slow.append(path.stem)
    for stem in slow:
        print(f"{stem} kept a statement waiting for more than {BAR_MS} ms", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
