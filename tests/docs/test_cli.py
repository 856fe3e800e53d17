"""The page on the command line: every command and option, every exit status, examples that run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from command import DSN_VARIABLES, runstore
from runstore.cli import main
from runstore.cli._statuses import MEANINGS, Status

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## `runstore (\w+)`\n(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL))
COMMON = {"--dsn", "--tenant", "--json", "--verbose"}


def test_every_command_has_a_section() -> None:
    assert list(SECTIONS) == list(main.commands)


@pytest.mark.parametrize("name", main.commands)
def test_every_option_is_told(name: str) -> None:
    options = {
        option
        for parameter in main.commands[name].params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option.startswith("--")
    }

    assert {option for option in options - COMMON if f"`{option}" not in SECTIONS[name]} == set()
    assert all(f"`{option}" in PAGE for option in options)
    for told in re.findall(r"`(--[a-z-]+)`", SECTIONS[name]):
        assert told in options | {"--output"} | COMMON, told


def test_every_exit_status_is_told() -> None:
    _, _, section = PAGE.partition("## Exit statuses\n")

    rows = re.findall(r"^\| (\d+) \| (.*) \|$", section, re.MULTILINE)
    assert rows == [(str(status.value), MEANINGS[status]) for status in Status]


def test_the_first_look_runs(database: str, tmp_path: Path) -> None:
    assert runstore("demo", "--pace", 0, "--dsn", database).status == 0
    _, _, section = PAGE.partition("## A first look\n")
    block = re.search(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert block is not None
    environment = {name: os.environ[name] for name in os.environ if name not in DSN_VARIABLES}
    environment["RUNSTORE_DSN"] = database
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", block[1]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
    assert "demo-user" in done.stdout
    assert "was there already" in done.stdout
