"""The commands of pages that have no test of their own do what the pages say, or are there to."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]


def commands(page: str) -> list[list[str]]:
    """Return the commands of a page as words, without what is said about them."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = "".join(BLOCK.findall(text)).splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


PAGES = {page: commands(page) for page in ("README.md", "docs/pages.md", "docs/performance.md")}
SCRIPTS = {
    (words[0], option)
    for page in PAGES.values()
    for words in page
    if words[0].startswith("scripts/")
    for option in ["--help", *(word for word in words[1:] if word.startswith("--"))]
    # Its arguments are pytest's.
    if words[0] != "scripts/test"
}


def test_every_command_is_of_a_kind_that_is_tried() -> None:
    kinds = {words[0].partition("/")[0] for page in PAGES.values() for words in page}
    assert kinds == {"pip", "yoyo", "runstore", "scripts"}


def test_what_is_installed_names_extras_that_exist() -> None:
    named = [
        re.fullmatch(r"runstore\[([a-z,]+)\]", words[2])
        for page in PAGES.values()
        for words in page
        if words[:2] == ["pip", "install"]
    ]
    assert len(named) >= 3
    for match in named:
        assert match
        assert set(match[1].split(",")) <= EXTRAS.keys()


@pytest.mark.parametrize("script", sorted({script for script, _ in SCRIPTS}))
def test_a_script_has_the_options_that_are_named(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    shown = subprocess.run(
        [ROOT / script, "--help"], capture_output=True, text=True, check=True, timeout=120
    ).stdout

    assert {option for name, option in SCRIPTS if name == script and option not in shown} == set()


def test_the_commands_of_the_readme_run(database: str, tmp_path: Path) -> None:
    """In their order, with a database in the place of the demonstration's own."""
    ours = [words for words in PAGES["README.md"] if words[0] == "runstore"]
    assert [words[1] for words in ours] == ["demo", "runs", "show", "export"]
    environment = {**os.environ, "RUNSTORE_DSN": database, "COLUMNS": "100"}
    for words in ours:
        more = ["--dsn", database, "--pace", "0"] if words[1] == "demo" else []
        # It goes on until it is stopped.
        shown = [word for word in words[1:] if word != "--watch"]
        done = subprocess.run(
            [sys.executable, "-m", "runstore", *shown, *more],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, (words, done.stderr)
    assert (tmp_path / "run.jsonl").stat().st_size > 1000
