"""The tables of docs/performance.md, each between a pair of marks that name it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "performance.md"
MARKED: Final = re.compile(r"(<!-- bench: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def update(tables: Mapping[str, str]) -> None:
    """Put tables in the place of those that have their names.

    Raises `KeyError` for one that the document has no place for.
    """
    text = DOCUMENT.read_text(encoding="utf-8")
    missing = tables.keys() - {found[2] for found in MARKED.finditer(text)}
    if missing:
        raise KeyError(f"{DOCUMENT.name} has no place for {', '.join(sorted(missing))}")

    def replaced(found: re.Match[str]) -> str:
        table = tables.get(found[2])
        return found[0] if table is None else f"{found[1]}\n{table}\n\n{found[3]}"

    DOCUMENT.write_text(MARKED.sub(replaced, text), encoding="utf-8")
