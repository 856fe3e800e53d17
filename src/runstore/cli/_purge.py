"""`runstore purge`: old runs, or their events alone, out of the database."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime

import click
from rich.table import Table
from rich.text import Text

from runstore.run_purges import RunPurge, purge_run_events, purge_runs

from ._arguments import moment as read_moment
from ._session import Session, on_database
from ._terminal import progress, stderr, stdout
from ._words import count, moment


@click.command()
@click.option(
    "--before",
    metavar="TIME",
    required=True,
    callback=read_moment,
    help="Runs that finished before this time or age: 2026-01-31, 90d.",
)
@click.option("--events-only", is_flag=True, help="Their events alone; the rest is kept.")
@click.option("--dry-run", is_flag=True, help="Say what would be purged; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask whether to purge it.")
@on_database
def purge(
    session: Session, *, before: datetime, events_only: bool, dry_run: bool, yes: bool
) -> None:
    """Delete runs that ended long ago, or their events.

    A run goes with all that hangs off it. What would go is counted first, and is purged when you
    say so. It goes in small batches, beside everything else; stopped at any point, it goes on when
    it is called again. Runs that are held, or of which a fork needs something, are kept. With
    --json one document.
    """
    work = purge_run_events if events_only else purge_runs
    with session.connect() as conn:
        would = work(conn, before, dry_run=True, tenant_id=session.tenant)
        if dry_run or not would.runs:
            _answer(session, would, before, events_only=events_only)
            return
        if not yes:
            _confirm(session, would, before, events_only=events_only)
        with progress("Purging", total=would.runs) as bar:
            done = 0

            def told(purge: RunPurge) -> None:
                nonlocal done
                bar.advance(purge.runs - done)
                done = purge.runs

            try:
                purged = work(conn, before, tenant_id=session.tenant, on_batch=told)
            except KeyboardInterrupt:
                stderr().print(f"Stopped after {count(done, 'run')}; call it again to go on.")
                raise
    _answer(session, purged, before, events_only=events_only)


def _confirm(session: Session, would: RunPurge, before: datetime, *, events_only: bool) -> None:
    if session.json or not sys.stdin.isatty():
        raise click.UsageError("Give --yes to purge, or --dry-run to see what would go.")
    console = stderr()
    for renderable in _told(would, before, events_only=events_only):
        console.print(renderable)
    if not click.confirm("Purge it?", err=True):
        raise click.exceptions.Exit(0)


def _answer(session: Session, purge: RunPurge, before: datetime, *, events_only: bool) -> None:
    if session.json:
        session.answer({**purge.model_dump(mode="json"), "before": before.isoformat()})
        return
    console = stdout()
    for renderable in _told(purge, before, events_only=events_only):
        console.print(renderable)


def _told(purge: RunPurge, before: datetime, *, events_only: bool) -> Iterator[Text | Table]:
    what = "The events of " if events_only else ""
    does = "would be purged" if purge.dry_run else "were purged"
    yield Text(f"{what}{count(purge.runs, 'run')} that finished before {moment(before)} {does}.")
    table = Table.grid(padding=(0, 0, 0, 2), pad_edge=True)
    table.add_column(style="dim")
    table.add_column()
    table.add_column(justify="right")
    for title, counts in (("deleted", purge.rows), ("kept", purge.kept)):
        for place, (name, number) in enumerate(sorted(counts.items())):
            table.add_row("" if place else title, str(name).replace("_", " "), f"{number:,}")
    if table.row_count:
        yield table
