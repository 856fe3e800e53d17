"""What the database itself refuses, whoever writes."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from connections import Caller
from contents import contents
from creates import CREATES
from runstore import NewChatRun, create_run

NO_RUN = "'01890000-0000-7000-8000-000000000000'"
NO_CHILD = "'01890000-0000-7000-8000-000000000001'"

RUN = f"run_id = {NO_RUN}"
CHILD = f"run_id = {NO_RUN}, id = {NO_CHILD}"
LONG = "repeat('x', 256)"


def of_another_run(table: str) -> str:
    # A provider's id may be that of something in both runs.
    own = f"SELECT y.id FROM runstore.{table} AS y WHERE y.run_id = t.run_id"
    others = f"SELECT x.id FROM runstore.{table} AS x WHERE x.run_id <> t.run_id"
    return f"({others} AND x.id NOT IN ({own}) LIMIT 1)"


# It does not matter to the database how its client waits.
pytestmark = pytest.mark.parametrize("connection_kind", ["blocking"])

# For each constraint, what an UPDATE would have to set to break it, and it alone.
REFUSED = {
    "runs": {
        "runs_metadata_check": "metadata = '[]'",
        "runs_id_check": "id = gen_random_uuid()",
        "runs_tenant_id_check": "tenant_id = ''",
        "runs_kind_check": "kind = 'other', name = 'x'",
        "runs_name_check": f"name = {LONG}",
        "runs_kind_name_check": "kind = 'feature', name = NULL",
        "runs_thread_id_check": "thread_id = ''",
        "runs_subject_id_check": "subject_id = ''",
        "runs_phase_check": f"phase = {LONG}",
        "runs_status_check": "status = 'other'",
        "runs_exclusive_check": "thread_id = NULL, exclusive = true",
        "runs_idempotency_key_check": "idempotency_key = ''",
        "runs_forked_at_seq_check": "forked_at_seq = 1",
        "runs_parent_run_id_check": "parent_run_id = id",
        "runs_trace_id_check": "trace_id = ''",
        "runs_started_at_check": "status = 'running', started_at = NULL",
        "runs_finished_at_check": "status = 'completed'",
    },
    "run_heads": {
        "run_heads_run_id_fkey": RUN,
        "run_heads_last_seq_check": "last_seq = -1",
    },
    "run_events": {
        "run_events_run_id_fkey": RUN,
        "run_events_seq_check": "seq = 0",
        "run_events_type_check": "type = ''",
    },
    "sandboxes": {
        "sandboxes_run_id_fkey": RUN,
        "sandboxes_metadata_check": "metadata = 'null'",
        "sandboxes_id_check": "id = ''",
        "sandboxes_provider_check": "provider = ''",
        "sandboxes_template_check": "template = ''",
        "sandboxes_status_check": "status = 'other'",
        "sandboxes_terminated_at_check": "status = 'stopped'",
    },
    "snapshots": {
        "snapshots_run_id_sandbox_id_fkey": f"sandbox_id = {of_another_run('sandboxes')}",
        "snapshots_run_id_parent_snapshot_id_fkey": (
            f"parent_snapshot_id = {of_another_run('snapshots')}"
        ),
        "snapshots_parent_snapshot_id_check": "parent_snapshot_id = id",
        "snapshots_metadata_check": "metadata = '1'",
        "snapshots_id_check": f"id = {LONG}, parent_snapshot_id = NULL",
        "snapshots_phase_check": "phase = ''",
        "snapshots_size_bytes_check": "size_bytes = -1",
    },
    "phase_results": {
        "phase_results_run_id_fkey": CHILD,
        "phase_results_metadata_check": "metadata = '\"\"'",
        "phase_results_id_check": f"id = {of_another_run('phase_results')}",
        "phase_results_phase_check": "phase = ''",
        "phase_results_attempt_check": "attempt = 0",
        "phase_results_status_check": "status = 'other', finished_at = now()",
        "phase_results_finished_at_check": "finished_at = now()",
    },
    "agent_invocations": {
        "agent_invocations_run_id_fkey": (
            f"{CHILD}, phase_result_id = NULL, parent_invocation_id = NULL"
        ),
        "agent_invocations_run_id_phase_result_id_fkey": (
            f"phase_result_id = {of_another_run('phase_results')}"
        ),
        "agent_invocations_run_id_parent_invocation_id_fkey": (
            f"parent_invocation_id = {of_another_run('agent_invocations')}"
        ),
        "agent_invocations_parent_invocation_id_check": "parent_invocation_id = id",
        "agent_invocations_metadata_check": "metadata = '[]'",
        "agent_invocations_id_check": f"id = {of_another_run('agent_invocations')}",
        "agent_invocations_agent_check": "agent = ''",
        "agent_invocations_provider_check": "provider = ''",
        "agent_invocations_model_check": "model = ''",
        "agent_invocations_status_check": "status = 'other', finished_at = now()",
        "agent_invocations_finish_reason_check": "finish_reason = ''",
        "agent_invocations_input_tokens_check": "input_tokens = 1, cache_read_tokens = 2",
        "agent_invocations_output_tokens_check": "output_tokens = -1",
        "agent_invocations_cache_read_tokens_check": "cache_read_tokens = -1",
        "agent_invocations_cache_write_tokens_check": "cache_write_tokens = -1",
        "agent_invocations_reasoning_tokens_check": "reasoning_tokens = -1",
        "agent_invocations_cost_usd_check": "cost_usd = 'Infinity'",
        "agent_invocations_trace_id_check": "trace_id = ''",
        "agent_invocations_span_id_check": "span_id = ''",
        "agent_invocations_finished_at_check": "status = 'failed'",
    },
    "agent_steps": {
        "agent_steps_run_id_invocation_id_fkey": (
            f"invocation_id = {of_another_run('agent_invocations')}"
        ),
        "agent_steps_metadata_check": "metadata = '[]'",
        "agent_steps_id_check": f"id = {of_another_run('agent_steps')}",
        "agent_steps_position_check": "position = -1",
        "agent_steps_kind_check": "kind = ''",
        "agent_steps_tokens_check": "tokens = -1",
    },
    "tool_calls": {
        "tool_calls_run_id_invocation_id_fkey": (
            f"invocation_id = {of_another_run('agent_invocations')}"
        ),
        "tool_calls_run_id_step_id_fkey": f"step_id = {of_another_run('agent_steps')}",
        "tool_calls_metadata_check": "metadata = '[]'",
        "tool_calls_id_check": f"id = {of_another_run('tool_calls')}",
        "tool_calls_provider_call_id_check": "provider_call_id = ''",
        "tool_calls_name_check": "name = ''",
        "tool_calls_status_check": "status = 'other', finished_at = now()",
        "tool_calls_finished_at_check": "finished_at = now()",
    },
    "memory_records": {
        "memory_records_run_id_fkey": CHILD,
        "memory_records_metadata_check": "metadata = '[]'",
        "memory_records_id_check": f"id = {of_another_run('memory_records')}",
        "memory_records_phase_check": "phase = ''",
        "memory_records_kind_check": "kind = ''",
    },
    "cta_events": {
        "cta_events_run_id_fkey": f"{CHILD}, invocation_id = NULL, tool_call_id = NULL",
        "cta_events_run_id_invocation_id_fkey": (
            f"invocation_id = {of_another_run('agent_invocations')}"
        ),
        "cta_events_run_id_tool_call_id_fkey": f"tool_call_id = {of_another_run('tool_calls')}",
        "cta_events_metadata_check": "metadata = '[]'",
        "cta_events_id_check": f"id = {of_another_run('cta_events')}",
        "cta_events_phase_check": "phase = ''",
        "cta_events_kind_check": "kind = ''",
        "cta_events_status_check": "status = 'other', resolved_at = now()",
        "cta_events_resolved_by_check": "resolved_by = ''",
        "cta_events_resolved_at_check": "status = 'completed'",
    },
}


def fill(call: Caller) -> None:
    """Write rows of several runs into every table; the newest run's row in each stands alone."""
    for create in CREATES:
        call(create.function, create.most(call))
    for create in reversed(CREATES):
        call(create.function, create.least(call))
    call(create_run, NewChatRun())


def broken(call: Caller, table: str, assignments: str) -> str | None:
    """Return the name of the constraint that refuses these values for the table's newest row."""
    key = "id" if table == "runs" else "run_id"
    newest = f"(SELECT {key} FROM runstore.{table} ORDER BY {key} DESC LIMIT 1)"
    update: Any = f"UPDATE runstore.{table} AS t SET {assignments} WHERE {key} = {newest}"
    with pytest.raises(psycopg.errors.IntegrityError) as raised:
        call.execute(update)
    return raised.value.diag.constraint_name


@pytest.mark.owner
@pytest.mark.parametrize("table", REFUSED)
def test_a_row_that_breaks_a_rule_is_refused(call: Caller, table: str) -> None:
    fill(call)
    before = contents(call)
    for constraint, assignments in REFUSED[table].items():
        assert broken(call, table, assignments) == constraint
    assert contents(call) == before


@pytest.mark.parametrize("table", REFUSED)
def test_every_rule_of_a_table_has_its_proof(call: Caller, table: str) -> None:
    rules = call.execute(
        "SELECT conname::text FROM pg_constraint"
        " WHERE conrelid = ('runstore.' || %s)::regclass AND contype IN ('c', 'f')",
        (table,),
    )
    assert {name for (name,) in rules} == REFUSED[table].keys()


@pytest.mark.owner
def test_a_run_takes_all_that_hangs_off_it_along(call: Caller) -> None:
    fill(call)
    kept = call(create_run, NewChatRun())
    assert all(contents(call)[table] for table in REFUSED)
    call.execute("DELETE FROM runstore.runs WHERE id <> %s", (kept.id,))
    assert {table: len(rows) for table, rows in contents(call).items() if rows} == {
        "runs": 1,
        "run_heads": 1,
    }
