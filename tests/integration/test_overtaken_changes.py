"""A change that others undo while it is being made: it is allowed at any moment, and so it is made.

No lock can hold the others back between two statements of one call: a trigger stands for them.
"""

from __future__ import annotations

from typing import Any

import pytest

from connections import Caller
from contents import contents
from factories import create_run, create_sandbox
from report_factories import create_draft
from runstore import (
    Conflict,
    InvalidTransition,
    revise_report,
    update_feature_run_phase,
    update_sandbox_status,
)


def after_each_update(call: Caller, table: str, change: str) -> None:
    """Let somebody make this change of a table after each statement that updates it."""
    execute: Any = call.execute
    execute(
        "CREATE FUNCTION pg_temp.overtake() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN UPDATE runstore.{table} {change}; RETURN NULL; END $$"
    )
    execute(
        f"CREATE TRIGGER overtake AFTER UPDATE ON runstore.{table} FOR EACH STATEMENT"
        " WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION pg_temp.overtake()"
    )


def overtake_always(call: Caller, table: str) -> None:
    """Let no row of a table change, as if somebody were always faster."""
    execute: Any = call.execute
    execute(
        "CREATE FUNCTION pg_temp.suppress() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RETURN NULL; END $$"
    )
    execute(
        f"CREATE TRIGGER suppress BEFORE UPDATE ON runstore.{table}"
        " FOR EACH ROW EXECUTE FUNCTION pg_temp.suppress()"
    )


@pytest.mark.owner
def test_a_phase_that_is_left_at_the_same_time_is_entered_again(call: Caller) -> None:
    run = create_run(call, phase="plan")
    after_each_update(call, "runs", "SET phase = 'build' WHERE phase = 'plan'")
    state = call(update_feature_run_phase, run.id, "plan")
    assert (state.phase, state.last_seq) == ("plan", 2)


@pytest.mark.owner
def test_a_machine_that_is_paused_at_the_same_time_runs_again(call: Caller) -> None:
    create_sandbox(call, create_run(call).id, id="machine", status="running")
    after_each_update(call, "sandboxes", "SET status = 'paused' WHERE status = 'running'")
    [sandbox] = call(update_sandbox_status, "machine", "running")
    assert sandbox.status == "running"


@pytest.mark.owner
def test_a_machine_changes_though_its_newest_row_is_over(call: Caller) -> None:
    older, newer = create_run(call).id, create_run(call).id
    create_sandbox(call, newer, id="machine")
    call(update_sandbox_status, "machine", "stopped")
    create_sandbox(call, older, id="machine", status="running")
    after_each_update(call, "sandboxes", "SET status = 'paused' WHERE status = 'running'")
    changed = call(update_sandbox_status, "machine", "running")
    assert [(row.run_id, row.status) for row in changed] == [(older, "running")]


@pytest.mark.owner
def test_a_machine_that_ends_at_the_same_time_stays_over(call: Caller) -> None:
    create_sandbox(call, create_run(call).id, id="machine", status="running")
    after_each_update(
        call,
        "sandboxes",
        "SET status = 'failed', terminated_at = now() WHERE status = 'running'",
    )
    with pytest.raises(InvalidTransition, match=r"^sandbox machine is failed$"):
        call(update_sandbox_status, "machine", "running")


@pytest.mark.owner
def test_a_report_that_is_published_at_the_same_time_is_revised(call: Caller) -> None:
    report_id = create_draft(call, "a")
    after_each_update(
        call,
        "reports",
        "SET status = 'published', published_version = version, published_at = now()"
        " WHERE status = 'draft'",
    )
    state = call(revise_report, report_id)
    assert (state.status, state.version) == ("draft", 2)


@pytest.mark.owner
def test_who_is_overtaken_again_and_again_may_repeat_the_write(call: Caller) -> None:
    run = create_run(call, phase="plan")
    create_sandbox(call, run.id, id="machine", status="running")
    overtake_always(call, "sandboxes")
    before = contents(call)
    with pytest.raises(Conflict, match=r"^the sandbox was written to at the same time; repeat"):
        call(update_sandbox_status, "machine", "paused")
    call.execute("DROP FUNCTION pg_temp.suppress CASCADE")
    overtake_always(call, "runs")
    with pytest.raises(Conflict, match=r"^the feature run was written to at the same time; repeat"):
        call(update_feature_run_phase, run.id, "build")
    assert contents(call) == before
