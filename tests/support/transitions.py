"""Every function that changes a row, with what its tests need to know of it.

What holds for all of them is stated once, in integration/test_transitions.py. An entity that is
new here has to say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from pydantic import JsonValue

from connections import Caller
from factories import (
    create_call,
    create_cta,
    create_invocation,
    create_phase,
    create_run,
    create_sandbox,
    create_step,
)
from runstore import (
    Finished,
    InvocationOutcome,
    RunState,
    cancel_cta_event,
    cancel_run,
    complete_agent_invocation,
    complete_cta_event,
    complete_feature_run,
    fail_feature_run,
    fail_phase_result,
    finish_agent_step,
    finish_tool_call,
    get_agent_invocation,
    get_agent_step,
    get_cta_event,
    get_phase_result,
    get_run,
    get_sandbox,
    get_tool_call,
    new_child_id,
    new_run_id,
    pass_phase_result,
    timeout_cta_event,
    update_feature_run_phase,
    update_sandbox_status,
)
from runstore._models import Row
from runstore._query import Query

OUTPUT: JsonValue = {"text": "ünïcode\r\n", "numbers": [1, 2.5, None]}
ERROR: JsonValue = ["it broke", {"code": 500}]


@dataclass(frozen=True)
class Entity:
    name: str
    """As an error names it."""
    table: str
    fresh: Callable[[Caller], Any]
    """Makes a row that may change, and returns its id."""
    unknown: Callable[[], Any]
    """Makes an id that no row has."""
    stored: Callable[[Caller, Any], Row]
    """Reads the row of an id."""


@dataclass(frozen=True)
class Transition:
    entity: Entity
    function: Query[..., Any]
    arguments: Mapping[str, object]
    leaves: Mapping[str, object]
    """What the fields that it changes hold then, but for times."""
    times: frozenset[str]
    """The fields that hold its time then."""
    answer: Callable[[Any], object]
    """What it answers, by the row as it is then."""
    final: str | None
    """The status that nothing changes afterwards, as an error names it; None: it may change."""
    also_writes: frozenset[str] = frozenset()

    def repeats(self, first: Transition) -> bool:
        """Say whether it finds nothing to change after another one."""
        if self.function is finish_agent_step:
            return self.leaves.items() <= first.leaves.items()
        return self is first

    def __str__(self) -> str:
        said = [self.function.bind.__name__, *self.arguments]
        return "-".join(said if self.final in (None, *said) else [*said, str(self.final)])


def unknown_child() -> UUID:
    return new_child_id(new_run_id())


def fresh_invocation(call: Caller) -> UUID:
    return create_invocation(call, create_run(call).id).id


FEATURE_RUN = Entity(
    "feature run",
    "runs",
    lambda call: create_run(call, phase="plan").id,
    new_run_id,
    lambda call, id: call(get_run, id),
)
RUN = replace(FEATURE_RUN, name="run")
SANDBOX = Entity(
    "sandbox",
    "sandboxes",
    lambda call: create_sandbox(call, create_run(call).id, id=str(uuid4())).id,
    lambda: "another",
    lambda call, id: call(get_sandbox, id),
)
PHASE_RESULT = Entity(
    "phase result",
    "phase_results",
    lambda call: create_phase(call, create_run(call).id).id,
    unknown_child,
    lambda call, id: call(get_phase_result, id),
)
INVOCATION = Entity(
    "agent invocation",
    "agent_invocations",
    fresh_invocation,
    unknown_child,
    lambda call, id: call(get_agent_invocation, id),
)
STEP = Entity(
    "agent step",
    "agent_steps",
    lambda call: create_step(call, fresh_invocation(call), content="before", finished=False).id,
    unknown_child,
    lambda call, id: call(get_agent_step, id),
)
TOOL_CALL = Entity(
    "tool call",
    "tool_calls",
    lambda call: create_call(call, fresh_invocation(call)).id,
    unknown_child,
    lambda call, id: call(get_tool_call, id),
)
CTA = Entity(
    "call to action",
    "cta_events",
    lambda call: create_cta(call, create_run(call).id).id,
    unknown_child,
    lambda call, id: call(get_cta_event, id),
)


def run_change(
    function: Query[..., Any],
    leaves: Mapping[str, object],
    *,
    entity: Entity = FEATURE_RUN,
    final: str | None = None,
    **arguments: object,
) -> Transition:
    ended = {"status": final} if final else {}
    return Transition(
        entity,
        function,
        arguments,
        {**leaves, **ended},
        frozenset({"updated_at", "finished_at"} if final else {"updated_at"}),
        lambda run: RunState(
            id=run.id, status=run.status, phase=run.phase, last_seq=2, updated_at=run.updated_at
        ),
        final,
        frozenset({"run_heads", "run_events"}),
    )


def sandbox_change(status: str, *, final: bool) -> Transition:
    return Transition(
        SANDBOX,
        update_sandbox_status,
        {"status": status},
        {"status": status},
        frozenset({"updated_at", "terminated_at"} if final else {"updated_at"}),
        lambda sandbox: [sandbox],
        status if final else None,
    )


def finish(
    entity: Entity,
    function: Query[..., Any],
    status: str,
    leaves: Mapping[str, object],
    /,
    *,
    time: str = "finished_at",
    **arguments: object,
) -> Transition:
    ended = {} if entity is STEP else {"status": status}
    return Transition(
        entity,
        function,
        arguments,
        {**leaves, **ended},
        frozenset({time}),
        lambda row: Finished(run_id=row.run_id, id=row.id, finished_at=getattr(row, time)),
        status,
    )


def outcome(status: str, **values: Any) -> Transition:
    said: dict[str, Any] = {"status": status, **values}
    data = InvocationOutcome(**said)
    return finish(INVOCATION, complete_agent_invocation, status, values, data=data)


TRANSITIONS = [
    run_change(update_feature_run_phase, {"phase": "建てる"}, phase="建てる"),
    run_change(complete_feature_run, {}, final="completed"),
    run_change(complete_feature_run, {"output": OUTPUT}, final="completed", output=OUTPUT),
    run_change(fail_feature_run, {}, final="failed"),
    run_change(
        fail_feature_run,
        {"output": OUTPUT, "error": ERROR},
        final="failed",
        output=OUTPUT,
        error=ERROR,
    ),
    run_change(cancel_run, {}, entity=RUN, final="cancelled"),
    run_change(cancel_run, {"error": ERROR}, entity=RUN, final="cancelled", error=ERROR),
    sandbox_change("running", final=False),
    sandbox_change("paused", final=False),
    sandbox_change("stopped", final=True),
    sandbox_change("failed", final=True),
    finish(PHASE_RESULT, pass_phase_result, "passed", {"output": OUTPUT}, output=OUTPUT),
    finish(PHASE_RESULT, pass_phase_result, "passed", {}, output=None),
    finish(PHASE_RESULT, fail_phase_result, "failed", {}),
    finish(
        PHASE_RESULT,
        fail_phase_result,
        "failed",
        {"output": OUTPUT, "error": ERROR},
        output=OUTPUT,
        error=ERROR,
    ),
    outcome("completed"),
    outcome("cancelled", error=ERROR),
    outcome(
        "failed",
        output=OUTPUT,
        finish_reason="length",
        error=ERROR,
        input_tokens=2**63 - 1,
        output_tokens=0,
        cache_read_tokens=3,
        cache_write_tokens=2**62,
        reasoning_tokens=7,
        cost_usd=Decimal("12345678901234567890.000000000000000000000000000001"),
        usage_raw={"input": {"cached": 3}},
    ),
    finish(STEP, finish_agent_step, "finished", {}),
    finish(
        STEP,
        finish_agent_step,
        "finished",
        {"content": OUTPUT, "tokens": 0},
        content=OUTPUT,
        tokens=0,
    ),
    finish(TOOL_CALL, finish_tool_call, "completed", {}),
    finish(TOOL_CALL, finish_tool_call, "denied", {}, status="denied"),
    finish(TOOL_CALL, finish_tool_call, "unknown", {"error": 0}, status="unknown", error=0),
    finish(
        TOOL_CALL,
        finish_tool_call,
        "failed",
        {"result": OUTPUT, "error": ERROR},
        status="failed",
        result=OUTPUT,
        error=ERROR,
    ),
    finish(
        CTA,
        complete_cta_event,
        "completed",
        {"response_data": OUTPUT, "resolved_by": "Zoë"},
        time="resolved_at",
        response_data=OUTPUT,
        resolved_by="Zoë",
    ),
    finish(CTA, complete_cta_event, "completed", {}, time="resolved_at", response_data=None),
    finish(CTA, timeout_cta_event, "timed_out", {}, time="resolved_at"),
    finish(CTA, cancel_cta_event, "cancelled", {}, time="resolved_at"),
    finish(
        CTA,
        cancel_cta_event,
        "cancelled",
        {"resolved_by": "user-1"},
        time="resolved_at",
        resolved_by="user-1",
    ),
]
