"""`runstore runs`: a list of runs, once or live."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final, get_args

import click
from psycopg import Connection
from rich.console import Console, JustifyMethod
from rich.live import Live
from rich.table import Table
from rich.text import Text

from runstore._models import Page, RunKind, RunStatus
from runstore.runs import Run, list_runs

from ._arguments import resolve_run, run_text
from ._pipes import until_closed
from ._session import Session, on_database
from ._terminal import mark, stdout
from ._words import ago, elapsed, fit, gist, moment, one_line, short

# What is left of the names, the phases and the subjects where there is no room for more.
_SHORT: Final = 16


@click.command()
@click.option("--kind", type=click.Choice(get_args(RunKind)), help="Runs of this kind.")
@click.option("--status", type=click.Choice(get_args(RunStatus)), help="Runs in this status.")
@click.option("--name", help="Runs of this name.")
@click.option("--thread", "thread_id", help="Runs of this thread.")
@click.option("--subject", "subject_id", help="Runs for this subject.")
@click.option(
    "--parent", "parent", metavar="RUN", callback=run_text, help="Runs that this run started."
)
@click.option(
    "-n", "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many."
)
@click.option("--cursor", help="Go on where an earlier list ended: its next_cursor.")
@click.option("--watch", is_flag=True, help="Show what changes, until Ctrl-C.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks of --watch.",
)
@on_database
def runs(
    session: Session,
    *,
    parent: str | None,
    watch: bool,
    interval: float,
    limit: int,
    **filters: Any,
) -> None:
    """List runs, newest first.

    With --json one document, {"runs": [...], "next_cursor": ...}; with --watch too a line for each
    run that is new or has changed.
    """
    with session.connect() as conn:
        if parent is not None:
            filters["parent_run_id"] = resolve_run(conn, parent)
        pages = _look(conn, page_size=limit, **filters)
        if watch:
            with until_closed():
                _watch(session, pages, interval)
            return
        page = next(pages)
    if session.json:
        session.answer({"runs": page.items, "next_cursor": page.next_cursor})
        return
    console = stdout()
    if not page.items:
        console.print("There are no such runs.")
        return
    console.print(_table(page.items, console))
    if page.next_cursor:
        told = f"There are older ones: --cursor {page.next_cursor}"
        console.print(told, style="dim", soft_wrap=True)


def _look(conn: Connection[Any], **filters: Any) -> Iterator[Page[Run]]:
    while True:
        yield list_runs(conn, **filters)


def _watch(session: Session, pages: Iterator[Page[Run]], interval: float) -> None:
    console = stdout()
    if session.json:
        for run in _changes(pages, interval):
            session.answer(run)
    elif console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            for page in pages:
                fitting = page.items[: max(1, console.height - 3)]
                live.update(_table(fitting, console), refresh=True)
                time.sleep(interval)
    else:
        for run in _changes(pages, interval):
            console.print(
                moment(run.updated_at),
                short(run.id),
                one_line(run.name or run.kind),
                one_line(run.phase or "-"),
                run.status,
                soft_wrap=True,
            )


def _changes(pages: Iterator[Page[Run]], interval: float) -> Iterator[Run]:
    """Yield the runs that are new or have changed since the look before, oldest first."""
    seen: dict[Any, Run] = {}
    for page in pages:
        yield from (run for run in reversed(page.items) if seen.get(run.id) != run)
        seen = {run.id: run for run in page.items}
        time.sleep(interval)


def _table(found: list[Run], console: Console) -> Table:
    """Draw runs as wide as the terminal at most: ids stay whole, names are what is shortened."""
    cells: dict[str, list[Text]] = {
        "run": [Text(short(run.id), "cyan") for run in found],
        "status": [mark(run.status) for run in found],
        "name": [_name(run) for run in found],
        "phase": [Text(fit(one_line(run.phase or ""), _SHORT)) for run in found],
        "subject": [Text(fit(one_line(run.subject_id or ""), _SHORT)) for run in found],
        "started": [Text(ago(run.started_at or run.created_at)) for run in found],
        "took": [Text(elapsed(run.started_at, run.finished_at)) for run in found],
    }
    widths = {
        name: max(len(name), *(text.cell_len for text in column))
        for name, column in cells.items()
        if any(column)
    }
    wanted = min(widths["name"], _SHORT)
    for name in ("subject", "phase", "took", "started", "name"):
        others = sum(width for each, width in widths.items() if each != "name")
        room = console.width - others - 2 * (len(widths) - 1)
        if room >= wanted:
            break
        widths.pop(name, None)
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in widths:
        justify: JustifyMethod = "right" if name in ("started", "took") else "left"
        most = max(room, len(name)) if name == "name" else None
        table.add_column(name, no_wrap=True, overflow="ellipsis", justify=justify, max_width=most)
    for row in zip(*(cells[name] for name in widths), strict=True):
        table.add_row(*row)
    return table


def _name(run: Run) -> Text:
    text = Text(one_line(run.name or ""))
    if not run.name:
        text.append(one_line(run.thread_id or run.kind), "dim")
    if run.error is not None:
        text.append(f"  {fit(gist(run.error), 60)}", "red")
    return text
