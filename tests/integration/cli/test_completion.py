from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from command import INSTALLED, runstore
from page_commands import command_blocks
from runstore.cli import main

pytestmark = pytest.mark.once


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_script(shell: str) -> None:
    said = runstore("completion", shell)

    assert said.status == 0
    assert f"_RUNSTORE_COMPLETE={shell}_complete" in said.out
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=said.out, text=True, check=True)


def test_the_page_makes_a_shell_complete(tmp_path: Path) -> None:
    [_, _, block] = command_blocks("docs/cli.md")
    environment = {"HOME": str(tmp_path), "PATH": f"{Path(INSTALLED[0]).parent}:/usr/bin:/bin"}
    for script in (block, "source ~/.bashrc; complete -p runstore"):
        done = subprocess.run(
            ["/bin/bash", "-euc", script],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert "complete" in done.stdout
    fish = tmp_path / ".config" / "fish" / "completions" / "runstore.fish"
    assert "_RUNSTORE_COMPLETE=fish_complete" in fish.read_text(encoding="utf-8")


def test_another_shell_is_refused() -> None:
    assert runstore("completion", "cmd").status == 2


def complete(words: str) -> list[str]:
    """Ask as the script of bash does, and answer what it would offer."""
    environment = {
        **os.environ,
        "_RUNSTORE_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", "from runstore.cli import main; main(prog_name='runstore')"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_commands_and_options_are_completed() -> None:
    assert set(complete("runstore ")) == set(main.commands)
    assert complete("runstore ver") == ["verify"]
    assert "--watch" in complete("runstore runs --w")
    assert complete("runstore runs --status c") == ["completed", "cancelled"]
