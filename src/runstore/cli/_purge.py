"""`runstore purge`: old runs, their events alone, or old usage, out of the database."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from runstore.run_purges import RunPurge, purge_run_events, purge_runs
from runstore.usage_purges import UsagePurge, purge_usage

from ._arguments import moment as read_moment
from ._session import Session, on_database
from ._terminal import progress, stderr, stdout
from ._words import count, moment

Purge = RunPurge | UsagePurge


@dataclass(frozen=True)
class _Work:
    """What can be purged, and how a purge of it is told."""

    purge: Callable[..., Any]
    what: str
    noun: str

    def done(self, purge: Purge) -> int:
        """Count what a purge did, in what it is told in."""
        return purge.runs if isinstance(purge, RunPurge) else sum(purge.rows.values())

    def told(self, purge: Purge, before: datetime) -> Iterator[Text | Table]:
        """Say what a purge did or would do, and to how much of what."""
        does = "would be purged" if purge.dry_run else "were purged"
        what = self.what.format(count(self.done(purge), self.noun))
        yield Text(f"{what} before {moment(before)} {does}.")
        table = Table.grid(padding=(0, 0, 0, 2), pad_edge=True)
        table.add_column(style="dim")
        table.add_column()
        table.add_column(justify="right")
        kept = purge.kept if isinstance(purge, RunPurge) else {}
        for title, counts in (("deleted", purge.rows), ("kept", kept)):
            for place, (name, number) in enumerate(sorted(counts.items())):
                table.add_row("" if place else title, str(name).replace("_", " "), f"{number:,}")
        if table.row_count:
            yield table


_RUNS = _Work(purge_runs, "{} that finished", "run")
_EVENTS = _Work(purge_run_events, "The events of {} that finished", "run")
_USAGE = _Work(purge_usage, "{} of usage from", "row")


@click.command()
@click.option(
    "--before",
    metavar="TIME",
    required=True,
    callback=read_moment,
    help="Runs that finished before this time or age: 2026-01-31, 90d.",
)
@click.option("--events-only", is_flag=True, help="Their events alone; the rest is kept.")
@click.option("--usage", is_flag=True, help="What was used before then, and no runs.")
@click.option("--dry-run", is_flag=True, help="Say what would be purged; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask whether to purge it.")
@on_database
def purge(
    session: Session, *, before: datetime, events_only: bool, usage: bool, dry_run: bool, yes: bool
) -> None:
    """Delete runs that ended long ago, or their events, or old usage.

    A run goes with all that hangs off it. What would go is counted first, and is purged when you
    say so. It goes in small batches, beside everything else; stopped at any point, it goes on when
    it is called again. Runs that are held, or of which a fork needs something, are kept. Quotas
    forget nothing of what was used. With --json one document.
    """
    if events_only and usage:
        raise click.UsageError("--events-only and --usage are two purges: call it twice.")
    work = _USAGE if usage else _EVENTS if events_only else _RUNS
    with session.connect() as conn:
        would = work.purge(conn, before, dry_run=True, tenant_id=session.tenant)
        total = work.done(would)
        if dry_run or not total:
            _answer(session, work, would, before)
            return
        if not yes:
            _confirm(session, work, would, before)
        with progress("Purging", total=total) as bar:
            done = 0

            def told(purge: Purge) -> None:
                nonlocal done
                bar.advance(work.done(purge) - done)
                done = work.done(purge)

            try:
                purged = work.purge(conn, before, tenant_id=session.tenant, on_batch=told)
            except KeyboardInterrupt:
                stderr().print(f"Stopped after {count(done, work.noun)}; call it again to go on.")
                raise
    _answer(session, work, purged, before)


def _confirm(session: Session, work: _Work, would: Purge, before: datetime) -> None:
    if session.json or not sys.stdin.isatty():
        raise click.UsageError("Give --yes to purge, or --dry-run to see what would go.")
    console = stderr()
    for renderable in work.told(would, before):
        console.print(renderable)
    if not click.confirm("Purge it?", err=True):
        raise click.exceptions.Exit(0)


def _answer(session: Session, work: _Work, purge: Purge, before: datetime) -> None:
    if session.json:
        session.answer({**purge.model_dump(mode="json"), "before": before.isoformat()})
        return
    console = stdout()
    for renderable in work.told(purge, before):
        console.print(renderable)
