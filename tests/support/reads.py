"""Every public function that reads, with how to call it.

What holds for all of them is stated once, in reliability/test_cancellation.py. A function that is
new in `runstore` has to be here, or among the writes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import runstore
from connections import Caller
from factories import (
    create_call,
    create_cta,
    create_invocation,
    create_memory,
    create_phase,
    create_run,
    create_sandbox,
    create_snapshot,
    create_step,
)
from report_factories import create_branch, create_draft
from usage_factories import SUBJECT, make_quota, record, reserve
from writes import EVENTS, Arguments, a_price, given

# They make connections and values, or use them in ways of their own.
OTHERS = frozenset(
    {
        "connect",
        "connect_async",
        "format_sse",
        "is_retryable",
        "listen_run_events",
        "new_child_id",
        "new_run_id",
        "notify_run_events",
        "open_pool",
        "open_pool_async",
        "payload_rules",
        "pipeline",
        "run_of",
        "run_transaction",
        "set_payload_rules",
        "set_tenant",
        "transaction",
    }
)


def reads(call: Caller) -> dict[str, Arguments]:
    """Make something for each read to find, and return their arguments by their names."""
    run_id = create_run(call, thread_id="thread").id
    call(runstore.append_run_events, run_id, EVENTS)
    sandbox = create_sandbox(call, run_id)
    snapshot = create_snapshot(call, run_id, sandbox_id=sandbox.id)
    phase = create_phase(call, run_id)
    invocation = create_invocation(call, run_id, phase_result_id=phase.id)
    step = create_step(call, invocation.id)
    tool_call = create_call(call, invocation.id)
    memory = create_memory(call, run_id)
    question = create_cta(call, run_id)
    report_id = create_draft(call, "a", run_id=run_id)
    branch_id = create_branch(call, report_id)
    call(runstore.publish_report, report_id)
    call(runstore.set_price, price := a_price())
    make_quota(call)
    record(call)
    reservation = reserve(call)
    call(runstore.complete_feature_run, run_id)
    since, until = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=1)

    return {
        "check_schema": given(),
        "find_runs_between": given(run_id, run_id),
        "get_agent_invocation": given(invocation.id),
        "get_agent_step": given(step.id),
        "get_branch_report": given(branch_id),
        "get_cta_event": given(question.id),
        "get_memory_record": given(memory.id),
        "get_memory_records": given(run_id),
        "get_phase_result": given(phase.id),
        "get_phase_results": given(run_id),
        "get_price": given(price.provider, price.model, price.meter, price.valid_from),
        "get_published_report": given(report_id),
        "get_report": given(report_id),
        "get_reservation": given(reservation.id),
        "get_run": given(run_id),
        "get_run_head": given(run_id),
        "get_run_tree": given(run_id),
        "get_sandbox": given(sandbox.id),
        "get_snapshot": given(run_id, snapshot.id),
        "get_tool_call": given(tool_call.id),
        "get_usage": given(SUBJECT),
        "iter_run_events": given(run_id, page_size=2),
        "iter_run_export": given(run_id),
        "list_abandoned_tool_calls": given(silent_for=timedelta(0)),
        "list_agent_invocations": given(run_id),
        "list_agent_steps": given(invocation.id),
        "list_branch_reports": given(report_id=report_id),
        "list_cta_events": given(),
        "list_forks": given(run_id),
        "list_open_tool_calls": given(run_id),
        "list_prices": given(price.provider),
        "list_quotas": given(),
        "list_report_sections": given(report_id),
        "list_report_versions": given(report_id),
        "list_reports": given(),
        "list_run_holds": given(),
        "list_runs": given(),
        "list_snapshots": given(run_id),
        "list_stalled_runs": given(silent_for=timedelta(0)),
        "list_tool_calls": given(run_id),
        "list_usage_logs": given(SUBJECT),
        "price_usage": given(price.provider, price.model, {price.meter: 7}),
        "read_run_events": given(run_id),
        "summarize_usage": given(SUBJECT, since=since, until=until),
        "tail_run_events": given(run_id, page_size=2),
        "verify_run_events": given(),
        "verify_usage": given(),
    }
