"""A trajectory of SWE-agent as a feature run, and the trajectory back from the run's rows.

- The run's `input` is how SWE-agent was configured (`environment`, `replay_config`), its `output`
  is the `info` with the patch (`submission`), its `metadata` all else that the file says
  (`history`, the messages). The run completed if the agent submitted, and failed otherwise.
- The phases are derived from the actions; see `split_into_phases`. Each is one attempt with one
  invocation. A phase that the agent left behind passed, the last one if the agent submitted.
- Each entry of `trajectory` is one step, with what the model said, and one tool call with the
  action, the observation and, as metadata, `execution_time` and `state`. Times in the rows'
  own columns are those of the import: a trajectory has no others.
- SWE-agent counts tokens and cost for the run as a whole. They stand on the last invocation, so
  that a sum over the run's invocations is right.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, cast
from uuid import UUID

from psycopg import Connection
from pydantic import JsonValue

from runstore import (
    InvocationOutcome,
    NewAgentInvocation,
    NewAgentStep,
    NewFeatureRun,
    NewPhaseResult,
    NewSandbox,
    NewToolCall,
    complete_agent_invocation,
    complete_feature_run,
    create_agent_invocation,
    create_agent_steps,
    create_feature_run,
    create_phase_result,
    create_sandbox_record,
    create_tool_calls,
    fail_feature_run,
    fail_phase_result,
    get_run_tree,
    pass_phase_result,
    transaction,
    update_feature_run_phase,
    update_sandbox_status,
)
from swe_agent import Entry, Trajectory, entries_of, find, find_text, split_into_phases

AGENT: Final = "SWE-agent"

# Which fields go where; what is named nowhere goes into the run's metadata and the step's content.
RUN_INPUT: Final = {"environment", "replay_config"}
RUN_OUTPUT: Final = {"info"}
CALL_ARGUMENTS: Final = {"action"}
CALL_RESULT: Final = {"observation"}
CALL_METADATA: Final = {"execution_time", "state"}


def record_trajectory(conn: Connection[Any], trajectory: Trajectory, key: str) -> UUID:
    """Record a trajectory, all of it or nothing, and return the id of its run.

    `key` stands for the trajectory: to record it again changes nothing and answers the same run.
    """
    data = NewFeatureRun(
        name=AGENT,
        input=part(trajectory, RUN_INPUT),
        idempotency_key=key,
        metadata=rest(trajectory, RUN_INPUT | RUN_OUTPUT | {"trajectory"}),
    )
    with transaction(conn):
        run = create_feature_run(conn, data)
        if run.id != data.id:
            return run.id
        record_sandbox(conn, run.id, trajectory)
        entries = entries_of(trajectory)
        for phase, indexes in split_into_phases(entries).items():
            record_phase(conn, run.id, phase, indexes, trajectory)
        output: JsonValue = part(trajectory, RUN_OUTPUT)
        if submitted(trajectory):
            complete_feature_run(conn, run.id, output=output)
        else:
            fail_feature_run(conn, run.id, error="the agent did not submit", output=output)
    return run.id


def record_sandbox(conn: Connection[Any], run_id: UUID, trajectory: Trajectory) -> None:
    """Record the machine that the agent worked in. The id is ours: the file does not tell one."""
    deployment = find(trajectory, "replay_config", "env", "deployment")
    sandbox = NewSandbox(
        run_id=run_id,
        id=f"{AGENT}-{run_id}",
        provider=find_text(deployment, "type"),
        template=find_text(deployment, "image"),
        status="running",
    )
    create_sandbox_record(conn, sandbox)
    update_sandbox_status(conn, sandbox.id, "stopped")


def record_phase(
    conn: Connection[Any], run_id: UUID, phase: str, indexes: range, trajectory: Trajectory
) -> None:
    """Record some of the entries as one attempt at a phase."""
    update_feature_run_phase(conn, run_id, phase)
    attempt = create_phase_result(conn, NewPhaseResult(run_id=run_id, phase=phase))
    invocation = create_agent_invocation(
        conn,
        NewAgentInvocation(
            phase_result_id=attempt.id,
            agent=AGENT,
            model=find_text(trajectory, "replay_config", "agent", "model", "name"),
        ),
    )
    entries = entries_of(trajectory)
    steps = [new_step(invocation.id, index, entries[index]) for index in indexes]
    create_agent_steps(conn, steps)
    create_tool_calls(
        conn, [new_call(step, entries[index]) for step, index in zip(steps, indexes, strict=True)]
    )
    is_last = indexes.stop == len(entries)
    complete_agent_invocation(conn, invocation.id, outcome(trajectory, is_last=is_last))
    if is_last and not submitted(trajectory):
        fail_phase_result(conn, attempt.id, error="the agent did not submit")
    else:
        pass_phase_result(conn, attempt.id, {"entries": len(indexes)})


def new_step(invocation_id: UUID, index: int, entry: Entry) -> NewAgentStep:
    """Return what the model said in an entry; its position is the entry's in the whole file."""
    return NewAgentStep(
        invocation_id=invocation_id,
        position=index,
        kind="turn",
        content=rest(entry, CALL_ARGUMENTS | CALL_RESULT | CALL_METADATA),
    )


def new_call(step: NewAgentStep, entry: Entry) -> NewToolCall:
    """Return what the tool did in an entry.

    The ids by which the model called its tools stay in `history`: there one id occurs more than
    once, and a tool call's `provider_call_id` is unique.
    """
    words = str(entry["action"]).split()
    return NewToolCall(
        invocation_id=step.invocation_id,
        step_id=step.id,
        name=words[0][:255] if words else "nothing",
        arguments=part(entry, CALL_ARGUMENTS),
        status="completed",
        result=part(entry, CALL_RESULT),
        metadata=part(entry, CALL_METADATA),
    )


def outcome(trajectory: Trajectory, *, is_last: bool) -> InvocationOutcome:
    """Return how an invocation ended. The last one carries what SWE-agent counted for the run."""
    if not is_last:
        return InvocationOutcome()
    statistics = find(trajectory, "info", "model_stats")
    reason = find_text(trajectory, "info", "exit_status")
    cost = find(statistics, "instance_cost")
    return InvocationOutcome(
        status="completed" if submitted(trajectory) else "failed",
        finish_reason=reason[:255] if reason else None,
        input_tokens=counted(statistics, "tokens_sent"),
        output_tokens=counted(statistics, "tokens_received"),
        cost_usd=Decimal(str(cost)) if cost and isinstance(cost, int | float) else None,
        usage_raw=statistics,
    )


def counted(statistics: JsonValue, name: str) -> int | None:
    """Return a number of tokens that was counted, else None.

    SWE-agent writes 0 where it did not count, as in a replay of recorded actions: no call of a
    model takes 0 tokens. The same goes for the cost.
    """
    tokens = find(statistics, name)
    return tokens if tokens and isinstance(tokens, int) else None


def submitted(trajectory: Trajectory) -> bool:
    """Say whether the agent handed in its work, be it because its budget was spent."""
    return (find_text(trajectory, "info", "exit_status") or "").startswith("submitted")


def read_trajectory(conn: Connection[Any], run_id: UUID) -> Trajectory:
    """Return the trajectory that a run was recorded from, put together from the run's rows."""
    tree = get_run_tree(conn, run_id)
    if tree.truncated:
        raise ValueError(f"the run has too many {', '.join(tree.truncated)} to be read at once")
    entries: dict[int, Entry] = {}
    for node in (node for phase in tree.phases for node in phase.invocations):
        calls = {call.step_id: call for call in node.tool_calls}
        for step in node.steps:
            call = calls[step.id]
            parts = (step.content, call.arguments, call.result, call.metadata)
            entries[step.position] = joined(*parts)
    trajectory = joined(tree.run.input, tree.run.output, tree.run.metadata)
    return {**trajectory, "trajectory": [entries[position] for position in sorted(entries)]}


def part(document: dict[str, JsonValue], names: set[str]) -> dict[str, JsonValue]:
    """Return the fields of a document that have one of these names."""
    return {name: value for name, value in document.items() if name in names}


def rest(document: dict[str, JsonValue], names: set[str]) -> dict[str, JsonValue]:
    """Return the fields of a document that have none of these names."""
    return {name: value for name, value in document.items() if name not in names}


def joined(*parts: JsonValue) -> dict[str, JsonValue]:
    """Put the parts of a document together again."""
    document: dict[str, JsonValue] = {}
    for fields in parts:
        document |= cast("dict[str, JsonValue]", fields)
    return document
