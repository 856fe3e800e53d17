"""The page of one run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from runstore._query import Steps, operation
from runstore.errors import EventsPurged, InvalidPayload
from runstore.reports import ReportDocument, get_report, list_reports
from runstore.run_events import MAX_PAGE_SIZE, RunEvent, read_run_events
from runstore.run_trees import RunTree, get_run_tree

from ._charts import Chart, stacked_bars
from ._outline import all_invocations, calls_by_step, outline
from ._rendering import brief, render
from ._spans import anchor_of, seconds_between, timeline

_MAX_ROWS: Final = 400
_MAX_REPORTS: Final = 20
_GOOD: Final = frozenset({"completed", "passed", "running", "pending", "open"})


@dataclass(frozen=True)
class Trouble:
    """Something that did not go well, and where the page tells it."""

    anchor: str
    what: str
    status: str
    error: JsonValue


@dataclass
class Used:
    """What one agent used of one model."""

    agent: str
    model: str
    calls: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Turn:
    """A message of the conversation, or the tokens of one that came piece by piece."""

    role: str
    text: str
    first_seq: int
    last_seq: int
    calls: list[str]


@operation
def render_run_page(run_id: UUID, *, max_rows: int = 5_000, max_events: int = 2_000) -> Steps[str]:
    """Return a run as one self-contained HTML page.

    A timeline says who waited for whom; then tokens and cost by agent and model, what went wrong,
    the conversation where there is one, every invocation with its steps and tool calls, questions
    to people, memories, machines and reports, and the log, which can be searched.

    At most the `max_rows` oldest rows of each table, the `max_events` first events and the 20
    newest reports are shown, and the page says what is left out, or was purged. The tree, the log
    and the reports are read in one transaction. Raises `NotFound`, or `InvalidPayload` for limits
    below 1.
    """
    if not 1 <= max_events <= MAX_PAGE_SIZE:
        raise InvalidPayload("max_events", f"must be from 1 to {MAX_PAGE_SIZE}")
    tree = yield from get_run_tree.bind(run_id, max_rows=max_rows)
    purged_seq = 0
    try:
        log = yield from read_run_events.bind(run_id, page_size=max_events)
    except EventsPurged as purged:
        purged_seq = purged.purged_seq
        log = yield from read_run_events.bind(run_id, after=purged_seq, page_size=max_events)
    listed = yield from list_reports.bind(run_id=run_id, page_size=_MAX_REPORTS)
    reports: list[ReportDocument] = []
    for each in listed.items:
        document = yield from get_report.bind(each.id)
        reports.append(document)
    return render(
        "run.html.jinja",
        tree=tree,
        run=tree.run,
        timeline=timeline(tree, max_rows=_MAX_ROWS),
        troubles=list(_troubles(tree)),
        used=(used := _used(tree)),
        token_chart=_token_chart(used),
        turns=list(_turns(log.events)),
        events=log.events,
        last_seq=log.last_seq,
        purged_seq=purged_seq,
        reports=reports,
        has_more_reports=listed.next_cursor is not None,
        invocations=[node.invocation for node in all_invocations(tree)],
        tool_call_count=sum(len(node.tool_calls) for node in all_invocations(tree)),
        outline=outline,
        calls_by_step=calls_by_step,
        anchor_of=anchor_of,
        seconds_between=seconds_between,
    )


def _troubles(tree: RunTree) -> Iterator[Trouble]:
    for phase in tree.phases:
        result = phase.phase_result
        if result.status not in _GOOD:
            what = f"phase {result.phase}, attempt {result.attempt}"
            yield Trouble(anchor_of(phase), what, result.status, result.error)
    for node in all_invocations(tree):
        if node.invocation.status not in _GOOD:
            yield Trouble(
                anchor_of(node),
                node.invocation.agent,
                node.invocation.status,
                node.invocation.error,
            )
        for call in node.tool_calls:
            if call.status not in _GOOD:
                what = f"{call.name}, called by {node.invocation.agent}"
                yield Trouble(anchor_of(call), what, call.status, call.error)
    for question in tree.cta_events:
        if question.status == "timed_out":
            yield Trouble(anchor_of(question), question.kind, question.status, None)


def _used(tree: RunTree) -> list[Used]:
    totals: dict[tuple[str, str], Used] = {}
    for node in all_invocations(tree):
        invocation = node.invocation
        key = (invocation.agent, invocation.model or "no model")
        total = totals.setdefault(key, Used(*key))
        total.calls += 1
        total.input_tokens = _plus(total.input_tokens, invocation.input_tokens)
        total.output_tokens = _plus(total.output_tokens, invocation.output_tokens)
        if invocation.cost_usd is not None:
            total.cost_usd = (total.cost_usd or Decimal(0)) + invocation.cost_usd
        if invocation.finished_at is not None:
            took = seconds_between(invocation.created_at, invocation.finished_at)
            total.seconds = (total.seconds or 0.0) + took
    return sorted(
        totals.values(), key=lambda each: -((each.input_tokens or 0) + (each.output_tokens or 0))
    )


def _plus(total: int | None, more: int | None) -> int | None:
    return total if more is None else (total or 0) + more


def _token_chart(used: Iterable[Used]) -> Chart | None:
    by_agent: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for each in used:
        tokens = (each.input_tokens or 0) + (each.output_tokens or 0)
        if tokens:
            by_agent[each.agent][each.model] += tokens
    models = sorted({model for models in by_agent.values() for model in models})
    if not models:
        return None
    return stacked_bars(
        [brief(agent, 24) for agent in by_agent],
        {model: [by_agent[agent].get(model) for agent in by_agent] for model in models},
    )


def _turns(events: Iterable[RunEvent]) -> Iterator[Turn]:
    """Read a conversation out of the log: payloads with a role, and pieces of text between them.

    The forms are those of chat completions: `content` is a text or a list of parts with a `text`.
    """
    pieces: list[RunEvent] = []
    for event in events:
        payload = event.payload
        if not isinstance(payload, dict):
            continue
        role = payload.get("role")
        if isinstance(role, str):
            text = _text(payload.get("content", payload.get("text")))
            # The whole message often follows its pieces.
            yield from (turn for turn in _streamed(pieces) if turn.text != text)
            pieces = []
            yield Turn(role, text, event.seq, event.seq, _called(payload.get("tool_calls")))
        elif isinstance(payload.get("text"), str) and not event.type.startswith("run."):
            pieces.append(event)
    yield from _streamed(pieces)


def _streamed(pieces: list[RunEvent]) -> Iterator[Turn]:
    if pieces:
        texts = [event.payload["text"] for event in pieces if isinstance(event.payload, dict)]
        yield Turn("streamed", "".join(map(str, texts)), pieces[0].seq, pieces[-1].seq, [])


def _text(content: JsonValue) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "\n".join(part for part in parts if isinstance(part, str))
    return ""


def _called(calls: JsonValue) -> list[str]:
    if not isinstance(calls, list):
        return []
    functions = [call.get("function") if isinstance(call, dict) else None for call in calls]
    return [
        f"{function.get('name')}({brief(function.get('arguments', ''))})"
        for function in functions
        if isinstance(function, dict)
    ]
