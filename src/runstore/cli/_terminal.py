"""The terminal: how wide it is, what it can show, and the marks and bars that are drawn on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Final, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.text import Text

# Where nobody's window says how wide lines may be.
_WIDTH: Final = 120
_WIDEST: Final = 1_000
_DIGITS: Final = len(str(_WIDEST))

_MARKS: Final = {
    "pending": ("○", "yellow"),
    "running": ("●", "blue"),
    "open": ("●", "blue"),
    "creating": ("○", "blue"),
    "paused": ("○", "yellow"),
    "draft": ("○", "yellow"),
    "completed": ("✓", "green"),
    "passed": ("✓", "green"),
    "published": ("✓", "green"),
    "stopped": ("✓", "green"),
    "failed": ("✗", "red"),
    "denied": ("✗", "red"),
    "cancelled": ("⊘", "yellow"),
    "timed_out": ("⊘", "yellow"),
    "unknown": ("?", "yellow"),
    "archived": ("⊘", "dim"),
}

# What stands for the characters that we draw with, where the terminal has none of them.
_ASCII: Final = str.maketrans("○●✓✗⊘·…→━─│├╰•", "o*+x--~>#-||`*")


def stdout() -> InertConsole:
    """Return a console on standard output, that prints data as data and not as markup."""
    return _console(sys.stdout)


def stderr() -> InertConsole:
    """Return a console on standard error, for what is no answer."""
    return _console(sys.stderr)


def _console(file: TextIO) -> InertConsole:
    told = os.environ.get("COLUMNS", "")
    # rich reads the variable too, and takes any number for a width.
    given = min(int(told[:_DIGITS]), _WIDEST) if told.isdecimal() else 0
    width = given or (None if file.isatty() else _WIDTH)
    return InertConsole(file=file, markup=False, emoji=False, highlight=False, width=width)


class InertConsole(Console):
    """A console to which a payload cannot send commands: it moves no cursor, rings no bell."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render, with what cannot be printed replaced."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
                continue
            text = segment.text
            if not self.draws:
                text = text.translate(_ASCII)
            yield Segment(inert(text), segment.style)

    @property
    def draws(self) -> bool:
        """Say whether its encoding has the characters that pictures are drawn with."""
        return self.encoding.lower().startswith("utf")

    def on_broken_pipe(self) -> None:
        """Leave it to the command to end: rich would end the process with a status of its own."""
        raise BrokenPipeError


def inert(text: str) -> str:
    """Return a text with what cannot be printed replaced; line breaks stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def mark(status: str) -> Text:
    """Return a status with its sign, in its color."""
    sign, color = _MARKS.get(status, ("·", ""))
    return Text(f"{sign} {status.replace('_', ' ')}", color)


def rule_of(share: float, width: int) -> str:
    """Draw a share of a bar: from nothing at 0 to the whole width at 1 and beyond."""
    filled = min(width, max(int(share * width), 1 if share > 0 else 0))
    return "━" * filled + "─" * (width - filled)


class Bar:
    """A bar of progress on a terminal; elsewhere it is silent."""

    def __init__(self, progress: Progress, title: str, total: float | None) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=total)

    def describe(self, title: str) -> None:
        """Say what is being done now."""
        self._progress.update(self._task, description=title)

    def advance(self, amount: float = 1) -> None:
        """Note that so much more is done."""
        self._progress.advance(self._task, amount)


@contextmanager
def progress(title: str, *, total: float | None = None, in_bytes: bool = False) -> Generator[Bar]:
    """Show a bar on standard error while the block lasts, when that is a terminal.

    Without a total it shows that something goes on, and how much is done.
    """
    console = stderr()
    count: ProgressColumn = DownloadColumn() if in_bytes else MofNCompleteColumn()
    columns = (
        SpinnerColumn("dots" if console.draws else "line"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        count,
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        yield Bar(shown, title, total)
