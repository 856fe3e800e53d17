"""A run's tree on the terminal: branches on the left, and what each took and cost in columns."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runstore.reports import Report
from runstore.run_trees import RunTree

from ._terminal import mark
from ._tree_lines import Line, invocations_of, left_open, lines_of
from ._words import count, elapsed, fit, gist, moment, money, one_line

_NARROW: Final = 90
_SHORTEST: Final = 12
# How wide a branch is.
_LEVEL: Final = 3
_NO_TIME: Final = "0 ms"


def render_tree(
    tree: RunTree, reports: list[Report], console: Console, *, brief: bool, full: bool
) -> None:
    """Print a run: what it is, what it took, and all that hangs off it."""
    # A third of the width is for branches.
    levels = max(console.width // 3 // _LEVEL, 1)
    rows = [*_rows(lines_of(tree, reports, brief=brief), levels)]
    for text in _heading(tree, console, full=full):
        console.print(text, soft_wrap=full)
    if rows:
        console.print()
        _print_rows(rows, console, full=full)
    if tree.truncated:
        tables = ", ".join(tree.truncated)
        console.print(f"Not all rows are shown, of {tables}: see --max-rows.", style="yellow")


def _heading(tree: RunTree, console: Console, *, full: bool) -> Iterator[Text]:
    run = tree.run
    head = Text(one_line(run.name or run.kind), "bold").append("  ").append(mark(run.status))
    took = elapsed(run.started_at, run.finished_at)
    yield head.append(f"  {took}" if took else "")
    kind = "pipeline" if run.kind == "feature" else run.kind
    facts = [f"{kind} {run.id}", f"made {moment(run.created_at)}"]
    facts += [
        f"{name} {one_line(value)}"
        for name, value in (
            ("phase", run.phase),
            ("thread", run.thread_id),
            ("subject", run.subject_id),
        )
        if value
    ]
    if run.forked_from_run_id is not None:
        facts.append(f"fork of {run.forked_from_run_id} at {run.forked_at_seq}")
    yield from _joined(facts, console.width)
    yield from _joined([*_sums(tree)], console.width)
    for name, value, color in (
        ("input", run.input, ""),
        ("output", run.output, ""),
        ("error", run.error, "red"),
    ):
        if value is not None:
            line = Text(f"{name:<7}", "red" if color else "dim")
            said = gist(value)
            room = max(console.width - 8, _SHORTEST)
            yield line.append(said if full else fit(said, room), color)


def _joined(facts: list[str], width: int) -> Iterator[Text]:
    """Yield as many facts to a line as stand on it whole."""
    line = ""
    for fact in facts:
        longer = f"{line} · {fact}" if line else fact
        if line and cell_len(longer) > width:
            yield Text(line, "dim")
            longer = fact
        line = longer
    if line:
        yield Text(line, "dim")


def _sums(tree: RunTree) -> Iterator[str]:
    made = [node.invocation for node in invocations_of(tree)]
    calls = [call for node in invocations_of(tree) for call in node.tool_calls]
    failed = sum(call.status == "failed" for call in calls)
    for number, noun in ((len(tree.phases), "phase"), (len(made), "invocation")):
        if number:
            yield count(number, noun)
    if calls:
        yield count(len(calls), "tool call") + (f" ({failed} failed)" if failed else "")
    asked = [row.input_tokens for row in made if row.input_tokens is not None]
    written = [row.output_tokens for row in made if row.output_tokens is not None]
    if asked:
        yield f"{sum(asked):,} tokens in" + (f", {sum(written):,} out" if written else "")
    elif written:
        yield f"{sum(written):,} tokens out"
    costs = [row.cost_usd for row in made if row.cost_usd is not None]
    if costs:
        yield money(sum(costs, Decimal()))
    if number := left_open(tree):
        yield f"{number} open when the run ended"


def _rows(lines: list[Line], levels: int) -> Iterator[tuple[str, Line]]:
    """Yield each line with the branches that lead to it.

    Of what stands deeper than `levels` the nearest branches are drawn, behind the number of those
    that are not.
    """
    left = [(line, 0, "", line is lines[-1]) for line in reversed(lines)]
    while left:
        line, depth, guide, last = left.pop()
        hidden = f"…{depth - levels} " if depth > levels else ""
        yield f"{hidden}{guide}{'╰─ ' if last else '├─ '}", line
        below = (guide + ("   " if last else "│  "))[-levels * _LEVEL :]
        left += [(each, depth + 1, below, each is line.below[-1]) for each in reversed(line.below)]


def _print_rows(rows: list[tuple[str, Line]], console: Console, *, full: bool) -> None:
    if full:
        for guide, line in rows:
            console.print(_label(guide, line, None), *_figures(line), soft_wrap=True)
        return
    figures = [_figures(line) for _, line in rows]
    kept = [
        place
        for place in range(4)
        if any(cells[place].plain for cells in figures)
        and not (console.width < _NARROW and place > 1)
    ]
    room = _room(figures, kept, console)
    labels = [_label(guide, line, room) for guide, line in rows]
    table = Table.grid(padding=(0, 0, 0, 2))
    # On a wide terminal the columns stay near to what they are of.
    longest = max(label.cell_len for label in labels)
    table.add_column(no_wrap=True, width=min(longest, room))
    for place in kept:
        table.add_column(no_wrap=True, justify="left" if place == 0 else "right")
    for label, cells in zip(labels, figures, strict=True):
        table.add_row(label, *(cells[place] for place in kept))
    console.print(table)


def _room(figures: list[list[Text]], kept: list[int], console: Console) -> int:
    """Return how many columns are left for the branches."""
    taken = sum(max(cells[place].cell_len for cells in figures) + 2 for place in kept)
    return max(console.width - taken, _SHORTEST)


def _label(guide: str, line: Line, room: int | None) -> Text:
    text = Text(guide, "dim", no_wrap=True).append(line.title, line.color or "default")
    if not line.said:
        return text
    left = None if room is None else room - text.cell_len - 1
    if left is None:
        return text.append(f" {line.said}", line.said_color)
    return text.append(f" {fit(line.said, max(left, 1))}", line.said_color) if left > 1 else text


def _figures(line: Line) -> list[Text]:
    """Return status, duration, tokens and cost of a line."""
    asked, written = line.tokens
    status = Text() if line.status is None else mark(line.status)
    took = elapsed(line.start, line.end) if line.start and (line.end or line.status) else ""
    if line.status is None and took == _NO_TIME:
        took = ""
    tokens = "" if asked is None and written is None else _tokens(asked, written)
    cost = "" if line.cost is None else money(line.cost)
    return [status, Text(took), Text(tokens, "dim"), Text(cost)]


def _tokens(asked: int | None, written: int | None) -> str:
    if asked is None:
        return f"{written:,}"
    return f"{asked:,} → {'?' if written is None else f'{written:,}'}"
