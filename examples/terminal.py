"""What both programs print with."""

from __future__ import annotations

import sys
from typing import Final

from rich.console import Console

# Where nobody's window says how wide lines may be.
WIDTH: Final = 120


def open_console() -> Console:
    """Return a console on standard output that prints data as data, not as markup."""
    width = None if sys.stdout.isatty() else WIDTH
    return Console(markup=False, emoji=False, highlight=False, width=width)


def print_verbatim(console: Console, text: str) -> None:
    """Print a text as it is, on one line however long, so that it can be copied."""
    console.print(text, soft_wrap=True)
