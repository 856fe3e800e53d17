"""`runstore usage`: what a subject may use, has used, and what it cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, cast, get_args

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runstore.usage_counters import QuotaUsage, get_usage
from runstore.usage_logs import Grouping, UsageSummary, summarize_usage

from ._arguments import moment as read_moment
from ._files import drawn, html_option, write_page
from ._session import Session, on_database
from ._terminal import rule_of, stdout
from ._words import amount, dollars, moment, money, one_line, short, until

_DAYS: Final = 30
_NEAR: Final = 0.8
_NARROW: Final = 100
_PERIODS: Final = ("hour", "day", "week", "month")


@click.command()
@click.argument("subject")
@click.option(
    "--since",
    metavar="TIME",
    callback=read_moment,
    help="Usage from this time or age on.  [default: 30d]",
)
@click.option(
    "--until", "to", metavar="TIME", callback=read_moment, help="Usage before this time or age."
)
@click.option(
    "--by",
    type=click.Choice(get_args(Grouping)),
    multiple=True,
    default=("model",),
    show_default=True,
    help="What to add up by, and one period at most; repeatable.",
)
@html_option
@on_database
def usage(
    session: Session,
    subject: str,
    *,
    since: datetime | None,
    to: datetime | None,
    by: tuple[str, ...],
    html: Path | None,
) -> None:
    """Show a subject's quotas, usage and cost.

    With --json one document.
    """
    to = to or datetime.now(UTC)
    since = since or _days_before(to)
    groupings = cast("tuple[Grouping, ...]", by)
    with session.connect() as conn:
        if html is not None:
            write_page(drawn().render_usage_page(conn, subject, since=since, until=to), html)
            return
        quotas = get_usage(conn, subject)
        found = summarize_usage(conn, subject, since=since, until=to, by=groupings)
    if session.json:
        session.answer(
            {
                "subject_id": subject,
                "quotas": quotas,
                "since": since.isoformat(),
                "until": to.isoformat(),
                "usage": found,
            }
        )
        return
    console = stdout()
    if quotas:
        console.print(_quotas(quotas, console))
    else:
        console.print(f"{subject} has no quotas: its usage is not limited.")
    console.print()
    if found:
        console.print(_summaries(found, by, console))
    console.print(f"From {moment(since)} to {moment(to)}" + ("." if found else ": nothing."))


def _days_before(to: datetime) -> datetime:
    try:
        return to - timedelta(days=_DAYS)
    except OverflowError:
        raise click.BadParameter(
            f"There are no {_DAYS} days before it: give --since.", param_hint="--until"
        ) from None


def _quotas(quotas: list[QuotaUsage], console: Console) -> Table:
    """Draw quotas as wide as the terminal at most: amounts stay whole, the rest gives way."""
    bar = 24 if console.width >= _NARROW else 10
    cells: dict[str, list[Text]] = defaultdict(list)
    for quota in quotas:
        taken = quota.used + quota.held
        share = taken / quota.limit_amount if quota.limit_amount else float(taken > 0)
        color = "red" if share >= 1 else "yellow" if share >= _NEAR else "green"
        said = f"{amount(quota.meter, quota.used)} of {amount(quota.meter, quota.limit_amount)}"
        if quota.held:
            said += f", {amount(quota.meter, quota.held)} held"
        notes = [] if quota.hard else ["soft"]
        if quota.resets_at is not None:
            notes.append(f"resets {until(quota.resets_at)}")
        cells["meter"].append(Text(_meter(quota.meter), "bold"))
        cells["period"].append(
            Text("in total" if quota.period == "total" else f"per {quota.period}")
        )
        cells["bar"].append(Text(rule_of(share, bar), color))
        cells["share"].append(Text(f"{share:.0%}", color))
        cells["amounts"].append(Text(said))
        cells["notes"].append(Text(" · ".join(notes), "dim"))
    widths = {name: max(text.cell_len for text in column) for name, column in cells.items()}
    for name in ("notes", "bar"):
        if sum(widths.values()) + 2 * (len(widths) - 1) > console.width:
            del widths[name]
    table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    for name in widths:
        right = name in ("share", "amounts")
        table.add_column(no_wrap=True, justify="right" if right else "left")
    for row in zip(*(cells[name] for name in widths), strict=True):
        table.add_row(*row)
    return table


def _summaries(found: list[UsageSummary], by: tuple[str, ...], console: Console) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    groups = [grouping for grouping in by if grouping not in _PERIODS]
    period = next((grouping for grouping in by if grouping in _PERIODS), None)
    if period:
        table.add_column(period, no_wrap=True)
    for grouping in groups:
        table.add_column(grouping, no_wrap=True, overflow="ellipsis")
    table.add_column("meter", no_wrap=True)
    table.add_column("amount", justify="right", no_wrap=True)
    table.add_column("")
    table.add_column("cost", justify="right", no_wrap=True)
    most = {
        meter: max(abs(row.amount) for row in found if row.meter == meter)
        for meter in {row.meter for row in found}
    }
    bar = 24 if console.width >= _NARROW else 8
    for row in found:
        cells: list[str | Text] = [_start(row.starts_at, period)] if period else []
        cells += [_GROUPS[grouping](row) for grouping in groups]
        share = abs(row.amount) / (most[row.meter] or 1)
        cost = "" if row.cost_nanousd is None else money(dollars(row.cost_nanousd))
        unpriced = f" ({row.unpriced} unpriced)" if cost and row.unpriced else ""
        table.add_row(
            *cells,
            _meter(row.meter),
            amount(row.meter, row.amount),
            Text(rule_of(share, bar), "blue"),
            cost + unpriced,
        )
    return table


def _start(at: datetime | None, period: str) -> str:
    if at is None:
        return ""
    # Where periods begin. The server tells them in the zone of its session, whichever that is.
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%d %H:%M}" if period == "hour" else f"{at:%Y-%m-%d}"


def _run(row: UsageSummary) -> str:
    return short(row.run_id) if row.run_id else "-"


_GROUPS: Final[dict[str, Callable[[UsageSummary], str]]] = {
    "provider": lambda row: one_line(row.provider or "-"),
    "model": lambda row: one_line(row.model or "-"),
    "run": _run,
}


def _meter(name: str) -> str:
    return "cost" if name == "cost_nanousd" else one_line(name.replace("_", " "))
