"""How values are put into words: times, amounts, ids, documents."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, cast
from uuid import UUID

from rich.cells import cell_len, set_cell_size

from runstore.ids import run_of

from ._documents import as_json

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_RUN_DIGITS: Final = 23

_SHORT: Final = 9.95
_NANO: Final = Decimal("1e-9")


def short(run_id: UUID) -> str:
    """Return the part of a run's id that is its own; as an argument it stands for the whole id."""
    return str(run_id)[:_RUN_DIGITS] if run_of(run_id) == run_id else str(run_id)


def moment(at: datetime) -> str:
    """Return a time of the user's clock, to the second."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def ago(at: datetime) -> str:
    """Say how long ago something was, roughly."""
    seconds = max(0.0, (datetime.now(UTC) - at).total_seconds())
    for unit, size in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def until(at: datetime) -> str:
    """Say how long it is until something, roughly; or how long it has been due."""
    seconds = (at - datetime.now(UTC)).total_seconds()
    text = duration(abs(seconds))
    return f"in {text}" if seconds >= 0 else f"{text} overdue"


def duration(seconds: float) -> str:
    """Put a duration into at most two units."""
    if seconds < _SHORT / 10:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s" if seconds < _SHORT else f"{seconds:.0f} s"
    for large, size, small, part in (
        ("d", _DAY, "h", _HOUR),
        ("h", _HOUR, "min", _MINUTE),
        ("min", _MINUTE, "s", 1),
    ):
        if seconds >= size:
            whole, rest = divmod(int(seconds), size)
            return f"{whole} {large} {rest // part} {small}" if rest // part else f"{whole} {large}"
    return f"{seconds:.0f} s"


def elapsed(start: datetime | None, end: datetime | None) -> str:
    """Say how long something took by the database's clock, or has been going on."""
    if start is None:
        return ""
    now = datetime.now(UTC)
    return duration(max(0.0, ((end or now) - start).total_seconds())) + ("" if end else " …")


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Put a number of things into words."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def money(usd: Decimal) -> str:
    """Return an amount of US dollars without the zeros that say nothing, but with cents."""
    text = f"{usd:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    _, _, digits = text.partition(".")
    return f"${text}{'' if len(digits) > 1 else '.00' if not digits else '0'}"


def dollars(nanousd: int) -> Decimal:
    """Return an amount of 1e-9 USD in US dollars."""
    return (nanousd * _NANO).normalize()


def amount(meter: str, number: int) -> str:
    """Return an amount of a meter; money as money."""
    return money(dollars(number)) if meter == "cost_nanousd" else f"{number:,}"


def one_line(name: str) -> str:
    """Return a name without its line breaks: what follows one would pass for a line of ours."""
    return " ".join(name.splitlines())


def document(value: object) -> str:
    """Return a JSON document as one line; a text as it is, without its line breaks."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else as_json(value).decode()
    return " ".join(text.split())


def gist(value: object) -> str:
    """Return a document as a person would read it: texts as they are, members one after another.

    Members that say nothing are left out, and so are names where there is one member alone.
    """
    if not isinstance(value, Mapping):
        return _member(value)
    given = cast("Mapping[str, object]", value)
    members = {name: text for name, member in given.items() if (text := _member(member))}
    role = members.pop("role", None) if "content" in members else None
    if role:
        return f"{role}: {gist(members)}"
    alone = next(iter(members)) if len(members) == 1 else None
    if alone is not None and isinstance(given[alone], str | list):
        return members[alone]
    return " · ".join(f"{one_line(name)}: {text}" for name, text in members.items())


def _member(value: object) -> str:
    if isinstance(value, list):
        items = cast("list[object]", value)
        if items and all(isinstance(item, str) for item in items):
            return " ".join(document(item) for item in items)
        value = items
    return "" if value in ("", {}, []) else document(value)


def fit(text: str, width: int) -> str:
    """Shorten a line to so many columns of the terminal."""
    if cell_len(text) <= width:
        return text
    return f"{set_cell_size(text, max(width - 1, 0)).rstrip()}…"
