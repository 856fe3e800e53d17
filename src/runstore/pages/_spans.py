"""When the parts of a run took place, and for what they waited: the rows of its timeline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from runstore.cta_events import CtaEvent
from runstore.run_trees import InvocationNode, PhaseNode, RunTree
from runstore.tool_calls import ToolCall

from ._outline import all_invocations, walk

SpanKind = Literal["phase", "invocation", "tool", "question"]

_TICKS: Final = 5
# A span is never drawn thinner than this part of the whole, or nobody would find it.
_LEAST: Final = 0.15


@dataclass(frozen=True)
class Wait:
    """A part of a span in which it waited for another one."""

    left: float
    width: float
    label: str


@dataclass(frozen=True)
class Span:
    """A row of the timeline. `left` and `width` are percents of the whole, times are seconds."""

    anchor: str
    kind: SpanKind
    depth: int
    name: str
    status: str
    left: float
    width: float
    starts: float
    took: float | None
    waits: list[Wait] = field(default_factory=list[Wait])


@dataclass(frozen=True)
class Timeline:
    """The spans of a run between its start and its end, or the last that is known of it."""

    spans: list[Span]
    ticks: list[tuple[float, float]]
    """Where a mark stands, in percent, and for how many seconds after the start."""
    seconds: float
    left_out: int
    """How many tool calls have no row of their own."""


Timed = PhaseNode | InvocationNode | ToolCall | CtaEvent


def timeline(tree: RunTree, *, max_rows: int) -> Timeline:
    """Lay out a run. Tool calls lose their rows, the last ones first, when there are too many."""
    scale = _Scale(tree)
    spans = list(_spans(tree, scale))
    over = len(spans) - max_rows
    if over > 0:
        tools = [index for index, span in enumerate(spans) if span.kind == "tool"]
        dropped = set(tools[-over:]) if over < len(tools) else set(tools)
        spans = [span for index, span in enumerate(spans) if index not in dropped]
    else:
        dropped = set[int]()
    ticks = [(100 * index / _TICKS, scale.seconds * index / _TICKS) for index in range(_TICKS + 1)]
    return Timeline(spans, ticks, scale.seconds, len(dropped))


class _Scale:
    """Turns times into places."""

    def __init__(self, tree: RunTree) -> None:
        times = [tree.run.created_at, *_times(tree)]
        self.start = min(times)
        end = max(times) if tree.run.finished_at is None else max(tree.run.finished_at, *times)
        self.end = max(end, self.start + timedelta(milliseconds=1))
        self.seconds = (self.end - self.start).total_seconds()

    def place(self, start: datetime, end: datetime | None) -> tuple[float, float]:
        left = 100 * (start - self.start).total_seconds() / self.seconds
        right = 100 * ((end or self.end) - self.start).total_seconds() / self.seconds
        left = min(max(left, 0.0), 100 - _LEAST)
        return round(left, 3), round(max(min(right, 100.0) - left, _LEAST), 3)


def _times(tree: RunTree) -> Iterator[datetime]:
    for node in _all(tree):
        start, end = _when(node)
        yield start
        if end is not None:
            yield end


def _all(tree: RunTree) -> Iterator[Timed]:
    yield from tree.phases
    for node in all_invocations(tree):
        yield node
        yield from node.tool_calls
    yield from tree.cta_events


def _when(node: Timed) -> tuple[datetime, datetime | None]:
    if isinstance(node, PhaseNode):
        return node.phase_result.created_at, node.phase_result.finished_at
    if isinstance(node, InvocationNode):
        return node.invocation.created_at, node.invocation.finished_at
    if isinstance(node, ToolCall):
        return node.created_at, node.finished_at
    return node.created_at, node.resolved_at


def _spans(tree: RunTree, scale: _Scale) -> Iterator[Span]:
    by_phase: dict[str | None, list[CtaEvent]] = defaultdict(list)
    by_invocation: dict[UUID | None, list[CtaEvent]] = defaultdict(list)
    for question in tree.cta_events:
        by_phase[question.phase].append(question)
        by_invocation[question.invocation_id].append(question)
    for phase in tree.phases:
        yield _span(scale, phase, 0, by_phase[phase.phase_result.phase])
        yield from _invocation_spans(phase.invocations, scale, 1, by_invocation)
    yield from _invocation_spans(tree.invocations, scale, 0, by_invocation)
    for question in tree.cta_events:
        yield _span(scale, question, 0, [])


def _invocation_spans(
    nodes: Iterable[InvocationNode],
    scale: _Scale,
    depth: int,
    questions: Mapping[UUID | None, list[CtaEvent]],
) -> Iterator[Span]:
    for node, level in walk(nodes):
        own = depth + level - 1
        asked = questions[node.invocation.id]
        yield _span(scale, node, own, [*node.tool_calls, *node.invocations, *asked])
        for call in node.tool_calls:
            yield _span(scale, call, own + 1, [])


def _span(scale: _Scale, node: Timed, depth: int, awaited: Sequence[Timed]) -> Span:
    kind, name, status = _described(node)
    start, end = _when(node)
    left, width = scale.place(start, end)
    starts = (start - scale.start).total_seconds()
    took = None if end is None else seconds_between(start, end)
    waits = _waits(scale, (left, width), awaited)
    return Span(anchor_of(node), kind, depth, name, status, left, width, starts, took, waits)


def _described(node: Timed) -> tuple[SpanKind, str, str]:
    if isinstance(node, PhaseNode):
        result = node.phase_result
        again = "" if result.attempt == 1 else f", attempt {result.attempt}"
        return "phase", f"{result.phase}{again}", result.status
    if isinstance(node, InvocationNode):
        return "invocation", node.invocation.agent, node.invocation.status
    if isinstance(node, ToolCall):
        return "tool", node.name, node.status
    return "question", node.kind, node.status


def _waits(scale: _Scale, place: tuple[float, float], awaited: Sequence[Timed]) -> list[Wait]:
    """Return what a span waited for, cut to it and measured in percent of it."""
    left, width = place
    waits: list[Wait] = []
    for node in awaited:
        start, length = scale.place(*_when(node))
        begin, end = max(start, left), min(start + length, left + width)
        if end > begin:
            part = round(100 * (begin - left) / width, 3), round(100 * (end - begin) / width, 3)
            waits.append(Wait(*part, _described(node)[1]))
    return waits


def seconds_between(start: datetime, end: datetime) -> float:
    """Return how long something took; what a transaction wrote and finished at once took 0."""
    return max((end - start).total_seconds(), 0.0)


def anchor_of(node: Timed) -> str:
    """Return where on the page a node is told in full."""
    if isinstance(node, PhaseNode):
        id = node.phase_result.id
    else:
        id = node.invocation.id if isinstance(node, InvocationNode) else node.id
    return f"{_described(node)[0]}-{id}"
