"""A run's tree as lines: what each says, how deep it stands, what it took and cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from uuid import UUID

from pydantic import JsonValue

from runstore.cta_events import CtaEvent
from runstore.reports import Report
from runstore.run_trees import InvocationNode, PhaseNode, RunTree, SandboxNode
from runstore.tool_calls import ToolCall

from ._words import count, gist, one_line


@dataclass(slots=True)
class Line:
    """A line of the tree, with the lines below it; `said` is a document, put into words."""

    title: str
    color: str = ""
    said: str = ""
    said_color: str = "dim"
    status: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    tokens: tuple[int | None, int | None] = (None, None)
    cost: Decimal | None = None
    below: list[Line] = field(default_factory=list["Line"])

    def __post_init__(self) -> None:
        self.title, self.said = one_line(self.title), one_line(self.said)


def invocations_of(tree: RunTree) -> Iterator[InvocationNode]:
    """Yield all invocations of a run, callers before those that they called.

    Agents may call each other to any depth, as Python's own calls may not.
    """
    left = [*reversed(tree.invocations)]
    left += [node for phase in reversed(tree.phases) for node in reversed(phase.invocations)]
    while left:
        node = left.pop()
        yield node
        left += reversed(node.invocations)


def left_open(tree: RunTree) -> int:
    """Count what was still open when a run ended, whether it is drawn or not."""
    if tree.run.finished_at is None:
        return 0
    nodes = [*invocations_of(tree)]
    ends = [
        *(node.phase_result.finished_at for node in tree.phases),
        *(node.invocation.finished_at for node in nodes),
        *(step.finished_at for node in nodes for step in node.steps),
        *(call.finished_at for node in nodes for call in node.tool_calls),
        *(question.resolved_at for question in tree.cta_events),
    ]
    return ends.count(None)


def lines_of(tree: RunTree, reports: list[Report], *, brief: bool) -> list[Line]:
    """Return what stands below the run itself, in the order in which it began.

    What is still open in a run that has ended goes on no longer than the run did.
    """
    questions: dict[UUID | None, list[CtaEvent]] = defaultdict(list)
    for question in tree.cta_events:
        questions[question.tool_call_id or question.invocation_id].append(question)
    draw = _Drawing(questions, brief)
    # Those that were called before their callers, below which they stand.
    for node in reversed([*invocations_of(tree)]):
        draw.invocation(node)
    lines = [draw.phase(node) for node in tree.phases]
    lines += draw.drawn(tree.invocations)
    lines += [draw.question(question) for question in questions[None]]
    lines.sort(key=lambda line: (line.start is None, line.start))
    lines += [_report(report) for report in reports]
    if not brief:
        lines += [_sandbox(node) for node in tree.sandboxes]
        if tree.memory_records:
            lines.append(_memories(tree))
    if tree.run.finished_at is not None:
        _end(lines, tree.run.finished_at)
    return lines


def _end(lines: list[Line], at: datetime) -> None:
    left = [*lines]
    while left:
        line = left.pop()
        if line.start is not None and line.end is None:
            line.end = at
        left += line.below


@dataclass(slots=True)
class _Drawing:
    questions: dict[UUID | None, list[CtaEvent]]
    brief: bool
    invocations: dict[UUID, Line] = field(default_factory=dict[UUID, Line])

    def phase(self, node: PhaseNode) -> Line:
        result = node.phase_result
        attempt = f" #{result.attempt}" if result.attempt > 1 else ""
        line = Line(
            f"{result.phase}{attempt}",
            "bold",
            status=result.status,
            start=result.created_at,
            end=result.finished_at,
        )
        line.below = self.drawn(node.invocations)
        line.below += _outcome(result.error, None if self.brief else result.output)
        return line

    def invocation(self, node: InvocationNode) -> None:
        made = node.invocation
        line = Line(
            made.agent,
            "cyan",
            said=made.model or "",
            status=made.status,
            start=made.created_at,
            end=made.finished_at,
            tokens=(made.input_tokens, made.output_tokens),
            cost=made.cost_usd,
        )
        if not self.brief:
            line.below = self._work(node)
        line.below += [self.question(question) for question in self.questions[made.id]]
        line.below += self.drawn(node.invocations)
        line.below += _outcome(made.error, None if self.brief else made.output)
        self.invocations[made.id] = line

    def drawn(self, nodes: list[InvocationNode]) -> list[Line]:
        return [self.invocations[node.invocation.id] for node in nodes]

    def _work(self, node: InvocationNode) -> list[Line]:
        calls: dict[UUID | None, list[ToolCall]] = defaultdict(list)
        for call in node.tool_calls:
            calls[call.step_id].append(call)
        lines: list[Line] = []
        for step in node.steps:
            line = Line(
                f"{step.position} {step.kind}",
                said=gist(step.content),
                said_color="",
                status="open" if step.finished_at is None else None,
                start=step.created_at,
                end=step.finished_at,
                tokens=(None, step.tokens),
            )
            line.below = [self._call(call) for call in calls.pop(step.id, [])]
            lines.append(line)
        others = [call for group in calls.values() for call in group]
        return lines + [self._call(call) for call in sorted(others, key=attrgetter("created_at"))]

    def _call(self, call: ToolCall) -> Line:
        line = Line(
            call.name,
            "magenta",
            said=gist(call.arguments),
            status=call.status,
            start=call.created_at,
            end=call.finished_at,
        )
        line.below = [self.question(question) for question in self.questions[call.id]]
        line.below += _outcome(call.error, call.result)
        return line

    def question(self, question: CtaEvent) -> Line:
        line = Line(
            question.kind,
            "yellow",
            said=gist(question.request),
            said_color="",
            status=question.status,
            start=question.created_at,
            end=question.resolved_at,
        )
        if question.status == "completed":
            who = f"{question.resolved_by}: " if question.resolved_by else ""
            line.below.append(Line("→", "green", said=f"{who}{gist(question.response_data)}"))
        return line


def _outcome(error: JsonValue, result: JsonValue) -> list[Line]:
    lines: list[Line] = []
    if gist(result):
        lines.append(Line("→", "green", said=gist(result)))
    if error is not None:
        lines.append(Line("✗", "red", said=gist(error), said_color="red"))
    return lines


def _report(report: Report) -> Line:
    said = f"{report.title} · version {report.version}"
    return Line(f"report {report.id}", "blue", said=said, status=report.status)


def _sandbox(node: SandboxNode) -> Line:
    box = node.sandbox
    said = " ".join(filter(None, (box.provider, box.template)))
    line = Line(f"sandbox {box.id}", "blue", said=said, status=box.status)
    for snapshot in node.snapshots:
        size = "" if snapshot.size_bytes is None else count(snapshot.size_bytes, "byte")
        line.below.append(Line(f"snapshot {snapshot.id}", said=size))
    return line


def _memories(tree: RunTree) -> Line:
    line = Line(count(len(tree.memory_records), "memory", "memories"), "blue")
    for memory in tree.memory_records:
        where = f"{memory.phase} " if memory.phase else ""
        line.below.append(Line(f"{where}{memory.kind}", said=gist(memory.content)))
    return line
