"""`runstore verify`: whether what the database promises is so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final

import click
from psycopg import Connection
from rich.console import Console
from rich.text import Text

from runstore._models import Page, Row
from runstore.run_events import LogAudit, verify_run_events
from runstore.tool_calls import AbandonedToolCall, list_abandoned_tool_calls
from runstore.usage_counters import CounterAudit, verify_usage

from ._arguments import duration
from ._documents import plain
from ._session import Session, on_database
from ._statuses import Status
from ._terminal import Bar, mark, progress, stdout
from ._words import ago, count, one_line

# How many faults of one sort are shown.
_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class _Check:
    """A promise: how it is checked, page by page, and how a fault of it is told."""

    name: str
    promise: str
    list: Callable[..., Page[Any]]
    tell: Callable[[Any], str]

    def faults(self, conn: Connection[Any], bar: Bar) -> Iterator[Row]:
        cursor = None
        while True:
            page = self.list(conn, cursor=cursor)
            yield from page.items
            bar.advance()
            cursor = page.next_cursor
            if cursor is None:
                return


@click.command()
@click.option(
    "--silent-for",
    metavar="DURATION",
    callback=duration,
    default="1h",
    show_default=True,
    help="A running run without a sign of life for so long is dead.",
)
@on_database
def verify(session: Session, *, silent_for: timedelta) -> None:
    """Check usage counters, event logs, and calls of dead runs.

    Those of all tenants. Nothing is locked and nothing is changed. With --json one document. The
    exit status is 1 when there are faults.
    """
    found: dict[_Check, list[Row]] = {}
    with session.connect() as conn, progress("Checking") as bar:
        for check in _checks(silent_for):
            bar.describe(f"Checking that {check.promise}")
            found[check] = [*check.faults(conn, bar)]
    ok = not any(found.values())
    if session.json:
        documents = {check.name: [*map(_document, rows)] for check, rows in found.items()}
        session.answer({"ok": ok, **documents})
    else:
        console = stdout()
        for check, rows in found.items():
            _print(console, check, rows)
    raise click.exceptions.Exit(Status.DONE if ok else Status.FAULTS)


def _checks(silent_for: timedelta) -> list[_Check]:
    abandoned = partial(list_abandoned_tool_calls, silent_for=silent_for)
    return [
        _Check(
            "usage_counters",
            "usage counters are what the log and the holds add up to",
            verify_usage,
            _tell_counter,
        ),
        _Check(
            "run_logs",
            "event logs have no gap and end with their runs",
            verify_run_events,
            _tell_log,
        ),
        _Check("abandoned_tool_calls", "no tool call of a dead run is open", abandoned, _tell_call),
    ]


def _tell_counter(audit: CounterAudit) -> str:
    window = "in total" if audit.window_start is None else f"from {audit.window_start.isoformat()}"
    return (
        f"{audit.subject_id} {window}: used {audit.used:,}, logged {audit.logged:,};"
        f" held {audit.held:,}, reserved {audit.reserved:,} (quota {audit.quota_id})"
    )


def _tell_log(audit: LogAudit) -> str:
    return f"{audit.run_id} {audit.fault}"


def _tell_call(call: AbandonedToolCall) -> str:
    heard = ago(call.heartbeat_at)
    return f"{call.id} {call.name}: its run is {call.run_status}, last heard of {heard}"


def _document(row: Row) -> dict[str, Any]:
    fault = {"fault": row.fault} if isinstance(row, LogAudit) else {}
    return {**plain(row), **fault}


def _print(console: Console, check: _Check, rows: list[Row]) -> None:
    sign = mark("failed" if rows else "completed")
    text = Text(sign.plain[:1], sign.style).append(
        f" {check.promise[:1].upper()}{check.promise[1:]}"
    )
    if rows:
        text.append(f": {count(len(rows), 'fault')}", "red")
    console.print(text)
    for row in rows[:_SHOWN]:
        console.print(f"    {one_line(check.tell(row))}", soft_wrap=True)
    if len(rows) > _SHOWN:
        console.print(f"    and {len(rows) - _SHOWN:,} more; --json names all", style="dim")
