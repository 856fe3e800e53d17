"""Run trees: a whole run, with all that hangs off it, as one typed value."""

from __future__ import annotations

from collections import defaultdict
from operator import attrgetter
from typing import Any, Final, TypeVar, get_args
from uuid import UUID

from . import _sql
from ._models import Row, RunId
from ._query import Rows, Statement, query, reads
from ._statements import maker, not_found
from .agent_invocations import AgentInvocation
from .agent_steps import AgentStep
from .cta_events import CtaEvent
from .errors import InvalidPayload
from .memory_records import MemoryRecord
from .phase_results import PhaseResult
from .runs import Run
from .sandboxes import Sandbox
from .snapshots import Snapshot
from .tool_calls import ToolCall

RowT = TypeVar("RowT", bound=Row)

_SQL: Final = _sql.load("run_trees")


class InvocationNode(Row):
    """An invocation with its steps, its tool calls and the invocations that it made."""

    invocation: AgentInvocation
    steps: list[AgentStep]
    tool_calls: list[ToolCall]
    invocations: list[InvocationNode]


class PhaseNode(Row):
    """One attempt at a phase with the invocations that it made."""

    phase_result: PhaseResult
    invocations: list[InvocationNode]


class SandboxNode(Row):
    """A sandbox with its snapshots."""

    sandbox: Sandbox
    snapshots: list[Snapshot]


class RunTree(Row):
    """A run and all that hangs off it; `invocations` are those that no phase made.

    `truncated` names the tables of which the run has more rows than were asked for.
    """

    run: Run
    sandboxes: list[SandboxNode]
    phases: list[PhaseNode]
    invocations: list[InvocationNode]
    memory_records: list[MemoryRecord]
    cta_events: list[CtaEvent]
    truncated: list[str]


class _Records(Row):
    """A run and its tables, as the query gives them: rows within one row."""

    run: Run
    sandboxes: list[Sandbox]
    snapshots: list[Snapshot]
    phase_results: list[PhaseResult]
    agent_invocations: list[AgentInvocation]
    agent_steps: list[AgentStep]
    tool_calls: list[ToolCall]
    memory_records: list[MemoryRecord]
    cta_events: list[CtaEvent]


_TABLES: Final[dict[str, type[Row]]] = {
    name: get_args(field.annotation)[0]
    for name, field in _Records.model_fields.items()
    if name != "run"
}


@query
@reads(_Records)
def get_run_tree(run_id: RunId, *, max_rows: int = 10_000) -> Statement[RunTree]:
    """Return a run and what hangs off it, but for events, reports and usage, in one round trip.

    All of one snapshot. Phases, invocations, tool calls, memories and questions stand in the
    order in which they were made, steps by their position. The tree is held in memory whole:
    at most the `max_rows` oldest rows of each table are read, and `truncated` names the tables
    that have more. Raises `NotFound`.
    """
    if max_rows < 1:
        raise InvalidPayload("max_rows", "must be at least 1")

    return Statement(
        _SQL["get_run_tree"],
        {"run_id": run_id, "row_limit": max_rows + 1},
        lambda rows: _tree(rows, max_rows),
        lambda: not_found("run", run_id),
        # Planned for the run at hand: a plan made once while the tables were empty would read
        # them whole for ever.
        prepare=False,
    )


def _tree(rows: Rows, max_rows: int) -> RunTree:
    run, *tables = rows[0]
    records: dict[str, list[Any]] = {
        name: [maker(model)(row) for row in table[:max_rows]]
        for (name, model), table in zip(_TABLES.items(), tables, strict=True)
    }
    snapshots = _grouped(records["snapshots"], "sandbox_id")
    steps = _grouped(records["agent_steps"], "invocation_id")
    tool_calls = _grouped(records["tool_calls"], "invocation_id")
    nodes = {
        invocation.id: InvocationNode.model_construct(
            invocation=invocation,
            steps=sorted(steps[invocation.id], key=attrgetter("position")),
            tool_calls=tool_calls[invocation.id],
            invocations=[],
        )
        for invocation in records["agent_invocations"]
    }
    by_phase: dict[UUID | None, list[InvocationNode]] = defaultdict(list)
    for node in nodes.values():
        parent_id = node.invocation.parent_invocation_id
        if parent_id is None:
            by_phase[node.invocation.phase_result_id].append(node)
        elif parent_id in nodes:
            nodes[parent_id].invocations.append(node)
    return RunTree.model_construct(
        run=maker(Run)(run),
        sandboxes=[
            SandboxNode.model_construct(sandbox=sandbox, snapshots=snapshots[sandbox.id])
            for sandbox in records["sandboxes"]
        ],
        phases=[
            PhaseNode.model_construct(phase_result=result, invocations=by_phase[result.id])
            for result in records["phase_results"]
        ],
        invocations=by_phase[None],
        memory_records=records["memory_records"],
        cta_events=records["cta_events"],
        truncated=[
            name for name, table in zip(_TABLES, tables, strict=True) if len(table) > max_rows
        ],
    )


def _grouped(rows: list[RowT], field: str) -> dict[Any, list[RowT]]:
    groups: dict[Any, list[RowT]] = defaultdict(list)
    for row in rows:
        groups[row.__dict__[field]].append(row)
    return groups
