"""A run as a tree in the terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Final
from uuid import UUID

from pydantic import JsonValue
from rich.text import Text
from rich.tree import Tree

from runstore import (
    AgentInvocation,
    InvocationNode,
    PhaseResult,
    Run,
    RunTree,
    ToolCall,
)

Timed = Run | PhaseResult | AgentInvocation | ToolCall

LONGEST: Final = 100

STYLES: Final = {
    "completed": "green",
    "passed": "green",
    "stopped": "green",
    "failed": "red",
    "cancelled": "yellow",
    "timed_out": "yellow",
    "unknown": "yellow",
}


def recorded_seconds(row: Timed) -> float | None:
    """Return how long something took by the database's clock; None while it goes on."""
    return (row.finished_at - row.created_at).total_seconds() if row.finished_at else None


def tree_view(tree: RunTree, seconds: Callable[[Timed], float | None] = recorded_seconds) -> Tree:
    """Draw a run with all that hangs off it; `seconds` says how long a part of it took."""
    run = tree.run
    view = Tree(_line(run.name or run.kind, str(run.id), run.status, seconds(run)))
    for node in tree.sandboxes:
        sandbox = node.sandbox
        branch = view.add(_line("sandbox", sandbox.id, sandbox.status))
        for snapshot in node.snapshots:
            size = "" if snapshot.size_bytes is None else f" ({snapshot.size_bytes} bytes)"
            branch.add(_line("snapshot", snapshot.id + size))
    for phase in tree.phases:
        result = phase.phase_result
        name = f"{result.phase}, attempt {result.attempt}"
        branch = view.add(_line(name, brief(result.error), result.status, seconds(result)))
        for invocation in phase.invocations:
            _add_invocation(branch, invocation, seconds)
    for invocation in tree.invocations:
        _add_invocation(view, invocation, seconds)
    for memory in tree.memory_records:
        view.add(_line(f"memory of {memory.phase}", f"{memory.kind}: {memory.content}"))
    for question in tree.cta_events:
        view.add(_line("question", brief(question.request), question.status))
    return view


def _add_invocation(
    branch: Tree, node: InvocationNode, seconds: Callable[[Timed], float | None]
) -> None:
    invocation = node.invocation
    title = f"{invocation.agent} ({invocation.model or 'no model'})"
    inner = branch.add(_line(title, usage(invocation), invocation.status, seconds(invocation)))
    calls: dict[UUID | None, list[ToolCall]] = defaultdict(list)
    for call in node.tool_calls:
        calls[call.step_id].append(call)
    for step in node.steps:
        under = inner.add(_line(f"step {step.position}", brief(step.content)))
        for call in calls.pop(step.id, []):
            _add_call(under, call, seconds(call))
    for call in (call for stepless in calls.values() for call in stepless):
        _add_call(inner, call, seconds(call))
    for child in node.invocations:
        _add_invocation(inner, child, seconds)


def _add_call(branch: Tree, call: ToolCall, seconds: float | None) -> None:
    under = branch.add(_line(call.name, brief(call.arguments), call.status, seconds))
    for name, answer in (("result", call.result), ("error", call.error)):
        if text := brief(answer):
            under.add(_line(name, text))


def usage(invocation: AgentInvocation) -> str:
    """Say what an invocation used, as far as that was reported."""
    figures = {
        "tokens in": invocation.input_tokens,
        "tokens out": invocation.output_tokens,
        "USD": invocation.cost_usd,
    }
    return ", ".join(f"{figure} {name}" for name, figure in figures.items() if figure is not None)


def _line(title: str, text: str, status: str | None = None, seconds: float | None = None) -> Text:
    line = Text(title, "bold", no_wrap=True, overflow="ellipsis")
    if status:
        line.append(f" {status}", STYLES.get(status, "default"))
    if seconds is not None:
        line.append(f" {seconds:.3f} s", "cyan")
    if text:
        line.append(f"  {shorten(text, LONGEST)}", "dim")
    return line


def brief(value: JsonValue) -> str:
    """Say in a few words what a JSON value holds."""
    if isinstance(value, dict):
        texts = {name: shorten(brief(item), 60) for name, item in value.items()}
        return ", ".join(f"{name}: {text}" for name, text in texts.items() if text)
    if isinstance(value, list):
        return " ".join(map(brief, value))
    return "" if value is None else str(value)


def shorten(text: str, longest: int) -> str:
    """Return a text on one line, cut where it is too long."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
