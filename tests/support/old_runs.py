"""Runs that finished long ago, with all that hangs off them, and what became of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from connections import Caller
from contents import Contents
from factories import (
    create_call,
    create_cta,
    create_invocation,
    create_memory,
    create_phase,
    create_sandbox,
    create_snapshot,
    create_step,
)
from report_factories import create_draft
from runstore import (
    NewChatRun,
    NewRunEvent,
    Run,
    append_run_events,
    complete_run,
    create_run,
    publish_report,
)

LONG_AGO = datetime.now(UTC) - timedelta(days=60)
"""What is old finished before this."""


def make_run(call: Caller, events: int = 2, **values: Any) -> Run:
    """Create an active run with so many events."""
    run = call(create_run, NewChatRun(**values))
    if events:
        given = [NewRunEvent(type="token", payload={"text": "x"})] * events
        call(append_run_events, run.id, given)
    return run


def make_old_run(call: Caller, days: int = 90, events: int = 2, **values: Any) -> UUID:
    """Create a run that finished so many days ago, with one event more, and return its id."""
    run = make_run(call, events, **values)
    end(call, run.id, days)
    return run.id


def end(call: Caller, run_id: UUID, days: int = 90) -> None:
    """Let a run have finished so many days ago."""
    call(complete_run, run_id, output="done")
    call.execute(
        "UPDATE runstore.runs SET finished_at = now() - %s * interval '1 day' WHERE id = %s",
        [days, run_id],
    )


def add_children(call: Caller, run_id: UUID) -> UUID:
    """Hang something of every sort off a run, and return the id of its report."""
    create_sandbox(call, run_id)
    create_snapshot(call, run_id)
    phase = create_phase(call, run_id)
    invocation = create_invocation(call, run_id, phase_result_id=phase.id)
    step = create_step(call, invocation.id)
    create_call(call, invocation.id, step_id=step.id)
    create_memory(call, run_id)
    create_cta(call, run_id)
    report_id = create_draft(call, "findings", run_id=run_id)
    call(publish_report, report_id)
    return report_id


def counts(contents: Contents) -> dict[str, int]:
    """Return how many rows each table has that has any."""
    return {table: len(rows) for table, rows in contents.items() if rows}


def run_ids(contents: Contents) -> set[UUID]:
    return {UUID(row["id"]) for row in contents["runs"]}
