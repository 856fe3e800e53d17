"""What stands on the command line: runs, durations, times."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

import click
from psycopg import Connection

from runstore.errors import NotFound
from runstore.ids import run_of
from runstore.runs import find_runs_between, list_runs

from ._words import short

_LATEST: Final = "latest"
_PREFIX: Final = re.compile(r"[0-9a-f]{4,32}", re.IGNORECASE)
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)")
_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}

# The most that the database counts to, and the most rows of which it can be asked for one more.
MOST: Final = (1 << 63) - 1
MOST_ROWS: Final = MOST - 1


def refuse_what_is_no_text(ctx: click.Context) -> None:
    """Refuse arguments that are not UTF-8; the names of files need not be."""
    for param in ctx.command.params:
        given = ctx.params.get(param.name or "")
        for text in cast("tuple[object, ...]", given) if isinstance(given, tuple) else (given,):
            if isinstance(text, str) and not _is_text(text):
                raise click.BadParameter("is not UTF-8.", ctx, param)


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def run_text(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse what is no id of a run or of what belongs to it, no beginning of one, not `latest`."""
    if value is None or value == _LATEST or _PREFIX.fullmatch(value.replace("-", "")):
        return value
    raise click.BadParameter(f"{value!r} is neither an id, the beginning of one, nor 'latest'.")


def duration(ctx: click.Context, param: click.Parameter, value: str) -> timedelta:
    """Read a duration: 90s, 15m, 12h, 30d, 4w."""
    match = _DURATION.fullmatch(value.strip())
    try:
        if match is not None:
            return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
    except OverflowError:
        raise click.BadParameter(f"{value!r} is too long.") from None
    raise click.BadParameter(f"{value!r} is no duration like 90s, 15m, 12h, 30d or 4w.")


def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Read a time: a date, with its time and zone or without, or an age, a duration ago.

    Without a zone it is of the user's.
    """
    if value is None:
        return None
    try:
        if _DURATION.fullmatch(value.strip()):
            return datetime.now(UTC) - duration(ctx, param, value)
        return datetime.fromisoformat(value.strip()).astimezone()
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{value!r} is neither a time like 2026-01-31 nor an age like 7d."
        ) from None


def run_argument(function: Any) -> Any:
    """Give a command the argument RUN."""
    return click.argument("run", callback=run_text)(function)


def resolve_run(conn: Connection[Any], text: str) -> UUID:
    """Return the id of the run that an argument means. Raises `NotFound`."""
    if text == _LATEST:
        newest = list_runs(conn, page_size=1).items
        if not newest:
            raise NotFound("the latest run")
        return newest[0].id
    digits = text.replace("-", "").lower()
    first, last = (UUID(digits.ljust(32, digit)) for digit in "0f")
    if first == last:
        return run_of(first)
    found = find_runs_between(conn, first, last)
    if not found:
        raise NotFound("run", f"{text}…")
    if len(found) > 1:
        others = " and ".join(short(run.id) for run in found)
        raise click.BadParameter(f"{text!r} begins the ids of several runs, such as {others}.")
    return found[0].id
