"""Runs with something in every table, their exports, and the databases that they move to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Coroutine
from decimal import Decimal
from typing import Any, overload
from uuid import UUID

from psycopg import AsyncConnection, Connection
from pydantic import JsonValue

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
from report_factories import create_draft, draft, new_branch
from runstore import (
    InvocationOutcome,
    NewRunEvent,
    NewRunFork,
    append_run_events,
    complete_agent_invocation,
    complete_cta_event,
    complete_feature_run,
    create_branch_report,
    finish_tool_call,
    fork_run,
    iter_run_export,
    new_run_id,
    pass_phase_result,
    publish_report,
    put_branch_section,
    put_report_section,
    restore_run,
    revise_report,
)
from usage_factories import record


@overload
def export(conn: Connection[Any], run_id: UUID, *, usage: bool = False) -> list[bytes]: ...
@overload
def export(
    conn: AsyncConnection[Any], run_id: UUID, *, usage: bool = False
) -> Coroutine[Any, Any, list[bytes]]: ...
def export(
    conn: Connection[Any] | AsyncConnection[Any], run_id: UUID, *, usage: bool = False
) -> list[bytes] | Coroutine[Any, Any, list[bytes]]:
    """Return all lines of a run's export."""
    if isinstance(conn, AsyncConnection):
        return _export_async(conn, run_id, usage)
    return [*iter_run_export(conn, run_id, usage=usage)]


async def _export_async(conn: AsyncConnection[Any], run_id: UUID, usage: bool) -> list[bytes]:
    return [line async for line in iter_run_export(conn, run_id, usage=usage)]


def resummed(lines: list[bytes]) -> list[bytes]:
    """Give changed lines an end that fits them."""
    *body, _ = lines
    end = {"rows": len(body) - 1, "sha256": hashlib.sha256(b"".join(body)).hexdigest()}
    return [*body, json.dumps({"end": end}).encode() + b"\n"]


def restore_in_place(call: Caller, run_id: UUID) -> None:
    """Delete a run and restore what was exported of it, as if it had moved here.

    That takes the owner's rights.
    """
    lines = call(export, run_id)
    call.execute("DELETE FROM runstore.runs WHERE id = %s", [run_id])
    call(restore_run, lines)


def record_whole_run(call: Caller) -> UUID:
    """Record a run with something in every table, a fork with a branch too; return the fork's id.

    The fork is what has all of it: it shares events with the run that it is a fork of.
    """
    origin = create_run(call, phase="plan", input={"text": "ünïcode \\u0000"}).id
    call(append_run_events, origin, [NewRunEvent(type="token"), NewRunEvent(type="token")])
    report = create_draft(call, "a", "b", run_id=origin)
    fork = call(
        fork_run, origin, 2, NewRunFork(subject_id="user-1", idempotency_key="k", trace_id="t")
    ).id
    record_work(call, fork)
    own = create_draft(call, "a", "b", run_id=fork, summary="In short.")
    call(publish_report, own)
    call(revise_report, own)
    call(put_report_section, own, draft("a", "another text", citations=[{"seq": 1}]))
    branch = call(create_branch_report, new_branch(fork, report)).id
    call(put_branch_section, branch, draft("b", "of the branch"))
    record(call, 5, run_id=fork, costs={"tokens": 7})
    call(complete_feature_run, fork, output={"merged": True})
    return fork


def record_work(call: Caller, run_id: UUID) -> None:
    """Record work of a run: children of children, made before and after their parents."""
    create_sandbox(call, run_id, provider="p", template="t", metadata={"n": 1})
    create_snapshot(call, run_id, size_bytes=1 << 40)
    create_snapshot(call, run_id, id="snapshot-0", parent_snapshot_id="snapshot-1")
    phase = create_phase(call, run_id, input=[1, 2.5]).id
    top = create_invocation(call, run_id, phase_result_id=phase, model="m", provider="p").id
    inner = create_invocation(call, run_id, parent_invocation_id=top).id
    create_invocation(call, run_id, parent_invocation_id=inner)
    step = create_step(call, top, position=1, content="a\r\n🦊", tokens=3).id
    tool = create_call(call, top, step_id=step, provider_call_id="1", arguments={"a": None}).id
    question = create_cta(call, run_id, tool_call_id=tool, request={"q": "?"}).id
    call(complete_cta_event, question, {"yes": True}, resolved_by="mia")
    call(finish_tool_call, tool, result=[1, "two", None])
    create_cta(call, run_id, invocation_id=inner)
    create_memory(call, run_id, phase="plan")
    outcome = InvocationOutcome(
        output="done",
        input_tokens=100,
        output_tokens=7,
        cost_usd=Decimal("0.000001230"),
        usage_raw={"in": 100},
    )
    call(complete_agent_invocation, top, outcome)
    call(pass_phase_result, phase, {"ok": 1})
    call(append_run_events, run_id, EVENTS, append_id=new_run_id())


PAYLOADS: list[JsonValue] = [{"text": "a\r\n🦊"}, [1, 2.5, None], "text", 0, True, None, {}, 1e300]
EVENTS = [NewRunEvent(type="token", payload=payload) for payload in PAYLOADS]
