"""Valid inputs, every value of which may be given, and rows made of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from connections import Caller
from runstore import (
    Created,
    NewAgentInvocation,
    NewAgentStep,
    NewCtaEvent,
    NewFeatureRun,
    NewMemoryRecord,
    NewPhaseResult,
    NewSandbox,
    NewSnapshot,
    NewToolCall,
    Run,
    Sandbox,
    Snapshot,
    create_agent_invocation,
    create_agent_step,
    create_cta_event,
    create_feature_run,
    create_memory_record,
    create_phase_result,
    create_sandbox_record,
    create_snapshot_record,
    create_tool_call,
)


def _over(values: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    return defaults | values


def new_feature_run(**values: Any) -> NewFeatureRun:
    return NewFeatureRun(**_over(values, name="ship-feature"))


def new_sandbox(run_id: UUID, **values: Any) -> NewSandbox:
    return NewSandbox(**_over(values, run_id=run_id, id="sandbox-1"))


def new_snapshot(run_id: UUID, **values: Any) -> NewSnapshot:
    return NewSnapshot(**_over(values, run_id=run_id, id="snapshot-1", sandbox_id="sandbox-1"))


def new_phase_result(run_id: UUID, **values: Any) -> NewPhaseResult:
    return NewPhaseResult(**_over(values, run_id=run_id, phase="build"))


def new_agent_invocation(run_id: UUID, **values: Any) -> NewAgentInvocation:
    return NewAgentInvocation(**_over(values, run_id=run_id, agent="coder"))


def new_agent_step(invocation_id: UUID, **values: Any) -> NewAgentStep:
    return NewAgentStep(**_over(values, invocation_id=invocation_id, kind="message"))


def new_tool_call(invocation_id: UUID, **values: Any) -> NewToolCall:
    return NewToolCall(**_over(values, invocation_id=invocation_id, name="shell"))


def new_memory_record(run_id: UUID, **values: Any) -> NewMemoryRecord:
    return NewMemoryRecord(
        **_over(values, run_id=run_id, kind="fact", content="The build needs Node.")
    )


def new_cta_event(run_id: UUID, **values: Any) -> NewCtaEvent:
    return NewCtaEvent(**_over(values, run_id=run_id, kind="approval"))


def create_run(call: Caller, **values: Any) -> Run:
    return call(create_feature_run, new_feature_run(**values))


def create_sandbox(call: Caller, run_id: UUID, **values: Any) -> Sandbox:
    return call(create_sandbox_record, new_sandbox(run_id, **values))


def create_snapshot(call: Caller, run_id: UUID, **values: Any) -> Snapshot:
    return call(create_snapshot_record, new_snapshot(run_id, **values))


def create_phase(call: Caller, run_id: UUID, **values: Any) -> Created:
    return call(create_phase_result, new_phase_result(run_id, **values))


def create_invocation(call: Caller, run_id: UUID, **values: Any) -> Created:
    return call(create_agent_invocation, new_agent_invocation(run_id, **values))


def create_step(call: Caller, invocation_id: UUID, **values: Any) -> Created:
    return call(create_agent_step, new_agent_step(invocation_id, **values))


def create_call(call: Caller, invocation_id: UUID, **values: Any) -> Created:
    return call(create_tool_call, new_tool_call(invocation_id, **values))


def create_memory(call: Caller, run_id: UUID, **values: Any) -> Created:
    return call(create_memory_record, new_memory_record(run_id, **values))


def create_cta(call: Caller, run_id: UUID, **values: Any) -> Created:
    return call(create_cta_event, new_cta_event(run_id, **values))
