"""The invocations of a run in the order in which a page tells of them, however deep they lie."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from runstore.run_trees import InvocationNode, RunTree
from runstore.tool_calls import ToolCall

# Deeper ones would have no room for their text, and browsers nest some 500 elements at most.
_NESTED: Final = 12


@dataclass(frozen=True)
class Part:
    """Where the page begins to tell of an invocation, or ends."""

    node: InvocationNode
    level: int
    """1 for what no other invocation made."""
    begins: bool
    is_flat: bool
    """Whether it stands beside the invocation that made it, and not in it."""


def walk(nodes: Iterable[InvocationNode]) -> Iterator[tuple[InvocationNode, int]]:
    """Visit invocations, each before those that it made, with their levels: 1 for the first."""
    waiting = [(node, 1) for node in nodes][::-1]
    while waiting:
        node, level = waiting.pop()
        yield node, level
        waiting += [(made, level + 1) for made in node.invocations[::-1]]


def all_invocations(tree: RunTree) -> Iterator[InvocationNode]:
    """Visit the invocations of a run: those of its phases first."""
    for phase in tree.phases:
        yield from (node for node, _ in walk(phase.invocations))
    yield from (node for node, _ in walk(tree.invocations))


def outline(nodes: Iterable[InvocationNode]) -> Iterator[Part]:
    """Nest invocations in those that made them, down to a level; deeper ones stand side by side."""
    entered: list[Part] = []
    for node, level in walk(nodes):
        while len(entered) >= min(level, _NESTED):
            yield _end(entered.pop())
        entered.append(Part(node, level, begins=True, is_flat=level > _NESTED))
        yield entered[-1]
    while entered:
        yield _end(entered.pop())


def _end(part: Part) -> Part:
    return Part(part.node, part.level, begins=False, is_flat=part.is_flat)


def calls_by_step(node: InvocationNode) -> Mapping[UUID | None, list[ToolCall]]:
    """Return an invocation's tool calls by their step; under None those whose step is not shown."""
    steps = {step.id for step in node.steps}
    calls: dict[UUID | None, list[ToolCall]] = defaultdict(list)
    for call in node.tool_calls:
        calls[call.step_id if call.step_id in steps else None].append(call)
    return calls
