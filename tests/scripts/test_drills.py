"""The drills do what they say, in their shortest forms."""

import subprocess
import sys
from pathlib import Path

import pytest

DRILLS = Path(__file__).parents[2] / "scripts" / "drills"


def drill(name: str, *arguments: str) -> str:
    """Run a drill to its end, and return what it printed."""
    command = [sys.executable, str(DRILLS / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_server_that_is_killed_again_and_again_loses_and_doubles_nothing() -> None:
    said = drill("chaos.py", "--minutes", "0.2", "--every", "1")

    for fault in ("kill a session", "shut down at once", "end all sessions", "kill the server"):
        assert fault in said
    assert said.endswith("violations           0\n")


@pytest.mark.slow
def test_a_synchronous_standby_that_is_promoted_has_all_that_was_acknowledged() -> None:
    short = ("--rounds", "1", "--seconds", "0.5")
    said = drill("failover.py", *short, "--replication", "synchronous")

    rows = said.splitlines()[1:]
    assert ["behind" in row for row in rows] == [False, True]
    for row in rows:
        acknowledged, lost, doubled = map(int, row.split()[-3:])
        assert acknowledged > 0
        assert (lost, doubled) == (0, 0)


@pytest.mark.slow
def test_what_is_restored_is_whole() -> None:
    said = drill("restore.py", "--seconds", "0.5")

    assert "recovery up to the moment before" in said
    assert said.endswith("both copies are whole\n")
