"""Diagrams of pages are drawn for the site, and nothing has to be loaded to see them."""

from __future__ import annotations

import re
import sys
from importlib import import_module

import pytest

from page_commands import ROOT

pytestmark = pytest.mark.once

pytest.importorskip("mmdr", reason="the extra docs is not installed")
sys.path.insert(0, str(ROOT / "scripts" / "documentation"))
diagrams = import_module("diagrams")

PAGE = (ROOT / "docs" / "schema.md").read_text(encoding="utf-8")


def test_the_schema_is_drawn() -> None:
    drawn = diagrams.drawn_diagrams(PAGE, "schema.md")

    [(address, svg)] = drawn.items()
    assert address == "schema.1.svg"
    for table in re.findall(r"^## ([a-z_]+)$", PAGE, re.MULTILINE):
        assert f">{table}<" in svg, table
    assert set(re.findall(r"\bhttps?://[\w.]+", svg)) == {"http://www.w3.org"}
    assert "<script" not in svg


def test_the_page_shows_what_is_drawn() -> None:
    shown = diagrams.with_drawn_diagrams(PAGE, "schema.md")

    assert "```mermaid" not in shown
    assert "](schema.1.svg)" in shown
    # All else is as it was.
    assert shown.partition("## Functions")[2] == PAGE.partition("## Functions")[2]
