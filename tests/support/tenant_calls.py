"""A tenant that has rows in every table, and how each public function could reach for them.

Whoever adds a public function that takes a connection says in `CALLS` how it is called with what
is another tenant's, or in `APART` why it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

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
    new_agent_invocation,
    new_agent_step,
    new_cta_event,
    new_feature_run,
    new_memory_record,
    new_phase_result,
    new_sandbox,
    new_snapshot,
    new_tool_call,
)
from report_factories import create_branch, create_draft, draft, new_branch, new_report, put_branch
from runstore import (
    InvocationOutcome,
    NewChatRun,
    NewRunEvent,
    NewRunFork,
    append_run_events,
    complete_feature_run,
    hold_run,
    publish_report,
    set_tenant,
)
from usage_factories import (
    SUBJECT,
    make_quota,
    new_quota,
    new_reservation,
    new_usage,
    record,
    reserve,
)
from whole_runs import export

OWNER: Final = "acme"
"""The tenant whose rows they are."""
STRANGER: Final = "globex"

LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)

APART: Final = {
    "check_schema": "reads what yoyo has applied",
    "erase_subject": "commits, and has a test of its own",
    "get_price": "prices are for every tenant",
    "iter_run_events": "has a test of its own",
    "iter_run_export": "has a test of its own",
    "list_prices": "prices are for every tenant",
    "pipeline": "sends the calls of others",
    "price_usage": "prices are for every tenant",
    "purge_run_events": "commits, and has a test of its own",
    "purge_runs": "commits, and has a test of its own",
    "purge_usage": "commits, and has a test of its own",
    "set_price": "prices are for every tenant",
    "set_tenant": "says whose rows they are",
    "transaction": "reads and writes nothing",
}


class Scene:
    """What the owner has: ids of one row of everything."""

    def __init__(self, call: Caller) -> None:
        call(set_tenant, OWNER)
        self.run = create_run(
            call, name=OWNER, phase="plan", thread_id=OWNER, subject_id=SUBJECT
        ).id
        self.events = [NewRunEvent(type="token", payload={"text": OWNER})]
        call(append_run_events, self.run, self.events)
        self.ended = create_run(call, name=OWNER).id
        call(complete_feature_run, self.ended)
        self.sandbox = create_sandbox(call, self.run, id=OWNER).id
        self.snapshot = create_snapshot(call, self.run, id=OWNER, sandbox_id=OWNER).id
        self.phase = create_phase(call, self.run, input=OWNER).id
        self.invocation = create_invocation(call, self.run, agent=OWNER).id
        self.step = create_step(call, self.invocation, content=OWNER).id
        self.tool_call = create_call(call, self.invocation, name=OWNER).id
        self.memory = create_memory(call, self.run, content=OWNER).id
        self.cta = create_cta(call, self.run, kind=OWNER, expires_at=LONG_AGO).id
        self.report = create_draft(call, "a", "b", run_id=self.run, title=OWNER)
        call(publish_report, create_draft(call, "a", run_id=self.run, title=OWNER))
        self.published = create_draft(call, "a", run_id=self.run, title=OWNER)
        call(publish_report, self.published)
        self.branch = create_branch(call, self.report)
        put_branch(call, self.branch, "a", OWNER)
        make_quota(call)
        self.reservation = reserve(call).id
        self.overdue = reserve(call).id
        record(call)
        call(hold_run, self.run, OWNER)
        self.exported = call(export, self.run)
        # A fault will be made in the log of this one.
        self.faulty = create_run(call, name=OWNER).id


Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def given(*args: Any, **kwargs: Any) -> Arguments:
    return args, kwargs


def of(name: str) -> Callable[[Scene], Arguments]:
    """Return the arguments of a call that has nothing but an id."""
    return lambda scene: given(getattr(scene, name))


AT_ONCE: Final = timedelta(0)
TENANT: Final[dict[str, Any]] = {"tenant_id": OWNER}


CALLS: Final[dict[str, Callable[[Scene], Arguments]]] = {
    "advance_feature_run": lambda scene: given(
        scene.run, "build", [new_tool_call(scene.invocation)]
    ),
    "append_run_events": lambda scene: given(scene.run, scene.events),
    "archive_report": of("report"),
    "cancel_cta_event": of("cta"),
    "cancel_run": of("run"),
    "close_open_tool_calls": lambda scene: given(scene.run, "gone"),
    "complete_agent_invocation": lambda scene: given(scene.invocation, InvocationOutcome(output=1)),
    "complete_cta_event": lambda scene: given(scene.cta, "yes"),
    "complete_feature_run": of("run"),
    "complete_run": of("run"),
    "create_agent_invocation": lambda scene: given(new_agent_invocation(scene.run)),
    "create_agent_step": lambda scene: given(new_agent_step(scene.invocation)),
    "create_agent_steps": lambda scene: given([new_agent_step(scene.invocation)]),
    "create_branch_report": lambda scene: given(
        new_branch(runstore.run_of(scene.branch), scene.report)
    ),
    "create_cta_event": lambda scene: given(new_cta_event(scene.run)),
    "create_feature_run": lambda _: given(new_feature_run(**TENANT)),
    "create_memory_record": lambda scene: given(new_memory_record(scene.run)),
    "create_phase_result": lambda scene: given(new_phase_result(scene.run)),
    "create_report": lambda scene: given(new_report(scene.run)),
    "create_run": lambda _: given(NewChatRun(**TENANT)),
    "create_sandbox_record": lambda scene: given(new_sandbox(scene.run, id="another")),
    "create_snapshot_record": lambda scene: given(
        new_snapshot(scene.run, id="another", sandbox_id=OWNER)
    ),
    "create_tool_call": lambda scene: given(new_tool_call(scene.invocation)),
    "create_tool_calls": lambda scene: given([new_tool_call(scene.invocation)]),
    "delete_run": of("ended"),
    "discard_branch_report": of("branch"),
    "expire_cta_events": lambda _: given(),
    "expire_reservations": lambda _: given(),
    "fail_feature_run": of("run"),
    "fail_phase_result": of("phase"),
    "fail_run": lambda scene: given(scene.run, error="why"),
    "find_runs_between": lambda _: given(UUID(int=0), UUID(int=2**128 - 1)),
    "finish_agent_step": of("step"),
    "finish_tool_call": of("tool_call"),
    "fork_run": lambda scene: given(scene.run, 1, NewRunFork()),
    "get_agent_invocation": of("invocation"),
    "get_agent_step": of("step"),
    "get_branch_report": of("branch"),
    "get_cta_event": of("cta"),
    "get_memory_record": of("memory"),
    "get_memory_records": of("run"),
    "get_phase_result": of("phase"),
    "get_phase_results": of("run"),
    "get_published_report": of("published"),
    "get_report": of("report"),
    "get_reservation": of("reservation"),
    "get_run": of("run"),
    "get_run_head": of("run"),
    "get_run_tree": of("run"),
    "get_sandbox": of("sandbox"),
    "get_snapshot": lambda scene: given(scene.run, scene.snapshot),
    "get_tool_call": of("tool_call"),
    "get_usage": lambda _: given(SUBJECT, **TENANT),
    "heartbeat_run": of("run"),
    "hold_run": lambda scene: given(scene.run, "audit"),
    "import_run_events": lambda scene: given(scene.run, scene.events),
    "ingest_run_events": lambda scene: given(scene.run, scene.events),
    "list_abandoned_tool_calls": lambda _: given(silent_for=AT_ONCE),
    "list_agent_invocations": of("run"),
    "list_agent_steps": of("invocation"),
    "list_branch_reports": lambda scene: given(report_id=scene.report),
    "list_cta_events": lambda _: given(**TENANT),
    "list_forks": of("run"),
    "list_open_tool_calls": of("run"),
    "list_quotas": lambda _: given(**TENANT),
    "list_report_sections": of("report"),
    "list_report_versions": of("published"),
    "list_reports": lambda _: given(**TENANT),
    "list_run_holds": lambda _: given(**TENANT),
    "list_runs": lambda _: given(**TENANT),
    "list_snapshots": of("run"),
    "list_stalled_runs": lambda _: given(silent_for=AT_ONCE, **TENANT),
    "list_tool_calls": of("run"),
    "list_usage_logs": lambda _: given(SUBJECT, **TENANT),
    "merge_branch_report": of("branch"),
    "order_report_sections": lambda scene: given(scene.report, ["b", "a"]),
    "pass_phase_result": lambda scene: given(scene.phase, "done"),
    "publish_report": of("report"),
    "put_branch_section": lambda scene: given(scene.branch, draft("a", "new")),
    "put_report_section": lambda scene: given(scene.report, draft("a", "new")),
    "read_run_events": of("run"),
    "rebuild_usage_counters": lambda _: given(SUBJECT, **TENANT),
    "record_usage": lambda _: given(new_usage(**TENANT)),
    "release_run_hold": lambda scene: given(scene.run, OWNER),
    "release_usage": of("reservation"),
    "remove_branch_section": lambda scene: given(scene.branch, "a"),
    "remove_quota": lambda _: given(SUBJECT, "tokens", "total", **TENANT),
    "remove_report_section": lambda scene: given(scene.report, "a"),
    "renew_reservation": of("reservation"),
    "request_cancel": of("run"),
    "reserve_usage": lambda _: given(new_reservation(**TENANT)),
    "restore_run": lambda scene: given(scene.exported),
    "revert_branch_section": lambda scene: given(scene.branch, "a"),
    "revise_report": of("published"),
    "set_quota": lambda _: given(new_quota(limit_amount=7, **TENANT)),
    "settle_usage": lambda scene: given(scene.reservation, {"tokens": 5}),
    "start_run": of("run"),
    "summarize_usage": lambda _: given(
        SUBJECT, since=LONG_AGO, until=datetime.now(UTC) + timedelta(days=1), **TENANT
    ),
    "timeout_cta_event": of("cta"),
    "update_feature_run_phase": lambda scene: given(scene.run, "build"),
    "update_report": lambda scene: given(scene.report, title="new"),
    "update_sandbox_status": lambda scene: given(scene.sandbox, "stopped"),
    "verify_run_events": lambda _: given(),
    "verify_usage": lambda _: given(),
}


def ids_of(scene: Scene) -> set[str]:
    return {str(value) for value in vars(scene).values() if isinstance(value, UUID)}
