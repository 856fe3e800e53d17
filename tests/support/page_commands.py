"""The commands that a page of the documentation tells its reader to type."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def command_blocks(page: str) -> list[str]:
    """Return the blocks of a page that are for a shell."""
    return BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))


def page_commands(page: str) -> list[list[str]]:
    """Return the commands of a page as words, without what is said about them."""
    lines = "".join(command_blocks(page)).splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]
