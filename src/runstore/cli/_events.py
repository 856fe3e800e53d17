"""`runstore events` and `runstore tail`: the log of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import closing
from itertools import islice
from typing import Final

import click
from rich.console import Console
from rich.text import Text

from runstore.run_events import RunEvent, get_run_head
from runstore.run_tails import iter_run_events, tail_run_events

from ._arguments import MOST, resolve_run, run_argument
from ._pipes import until_closed
from ._session import Session, on_database
from ._terminal import mark, stderr, stdout
from ._words import document, fit, gist, one_line

_COLORS: Final = {
    "run.completed": "green",
    "run.failed": "red",
    "run.cancelled": "yellow",
    "run.cancel_requested": "yellow",
}
_SHORTEST: Final = 20
_WIDE: Final = 100

_after = click.option(
    "--after",
    type=click.IntRange(0, MOST),
    default=0,
    help="Only events after this number.",
)
_type = click.option("--type", "types", multiple=True, help="Only events of this type; repeatable.")
_full = click.option("--full", is_flag=True, help="Show whole payloads, however long.")


@click.command()
@run_argument
@_after
@_type
@click.option("-n", "--limit", type=click.IntRange(1, MOST), help="At most so many events.")
@_full
@on_database
def events(
    session: Session, run: str, *, after: int, types: tuple[str, ...], limit: int | None, full: bool
) -> None:
    """List the events of a run, in their order.

    RUN is an id, the beginning of one, or "latest". With --json a line for each event.
    """
    with session.connect() as conn:
        run_id = resolve_run(conn, run)
        last_seq = get_run_head(conn, run_id).last_seq
        found = iter_run_events(conn, run_id, after=after)
        _print(session, islice(_of_types(found, types), limit), last_seq, full=full)


@click.command()
@run_argument
@_after
@_type
@_full
@on_database
def tail(session: Session, run: str, *, after: int, types: tuple[str, ...], full: bool) -> None:
    """Follow a run: print its events until it has ended.

    RUN is an id, the beginning of one, or "latest". With --json a line for each event. An outage of
    up to a minute is waited for, and no event is lost or shown twice.
    """
    # The pool says on its own what it tries; we say what came of it.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    with session.connect() as conn:
        # A wrong DSN is found here, at once, where a pool would go on trying.
        run_id = resolve_run(conn, run)
        last_seq = get_run_head(conn, run_id).last_seq
    with (
        until_closed(),
        session.open_pool() as pool,
        closing(tail_run_events(pool, run_id, after=after)) as found,
    ):
        _print(session, _of_types(found, types), last_seq, full=full)
        if not session.json:
            with pool.connection() as conn:
                console = stderr()
                ended = get_run_head(conn, run_id).status
                console.print(Text("The run has ended: ").append(mark(ended)))


def _of_types(found: Iterable[RunEvent], types: tuple[str, ...]) -> Iterable[RunEvent]:
    return (event for event in found if not types or event.type in types)


def _print(session: Session, found: Iterable[RunEvent], last_seq: int, *, full: bool) -> None:
    console = stdout()
    digits = len(str(max(last_seq, 999)))
    for event in found:
        if session.json:
            session.answer(event)
        else:
            console.print(_line(event, digits, console, full=full), soft_wrap=True)
        console.file.flush()


def _line(event: RunEvent, digits: int, console: Console, *, full: bool) -> Text:
    wide = console.width >= _WIDE
    time = f"{event.created_at.astimezone():%H:%M:%S.%f}"[: 12 if wide else 8]
    line = Text(f"{event.seq:>{digits}} ", "cyan")
    line.append(f"{time} ", "dim")
    color = _COLORS.get(event.type, "magenta" if event.type.startswith("run.") else "bold")
    type_ = one_line(event.type)
    line.append(type_ if full else fit(type_, 28), color)
    said = document(event.payload) if full else gist(event.payload)
    if said and event.payload != {}:
        room = console.width - line.cell_len - 1
        line.append(f" {said if full else fit(said, max(room, _SHORTEST))}")
    return line
