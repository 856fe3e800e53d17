"""Ctrl-C while the command begins or ends: it says nothing, as in the middle of its work."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from command import INSTALLED, MODULE, start

pytestmark = pytest.mark.once

# Python runs it before all else. The signal comes when a module is looked for, or at the very end.
INTERRUPTER = """
import atexit, os, signal, sys, threading, weakref

POINT = os.environ["POINT"]

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

class Interrupter:
    def find_spec(self, name, path=None, target=None):
        if name == POINT:
            interrupt()
        elif POINT == f"as garbage before {name}":
            # An exception in a callback goes nowhere.
            garbage = Interrupter()
            reference = weakref.ref(garbage, lambda _: interrupt())
            del garbage
            threading.Event().wait(30)

sys.meta_path.insert(0, Interrupter())
if POINT == "the end":
    atexit.register(interrupt)
"""

# From the first module that the command imports to the last.
BEGINNING = ["runstore.cli", "click", "psycopg", "pydantic", "rich.table", "runstore.cli._verify"]
PROGRAMS = {"installed": INSTALLED, "module": MODULE}


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "sitecustomize.py").write_text(INTERRUPTER)
    return {"PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
@pytest.mark.parametrize("point", BEGINNING)
def test_it_ends_without_a_word_while_it_begins(
    point: str, program: Sequence[str], variables: Mapping[str, str]
) -> None:
    with start("--version", program=program, variables={**variables, "POINT": point}) as process:
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_it_ends_without_a_word_when_it_has_answered(
    program: Sequence[str], variables: Mapping[str, str]
) -> None:
    with start(
        "--version", program=program, variables={**variables, "POINT": "the end"}
    ) as process:
        out, err = process.communicate(timeout=60)
    assert out.startswith("runstore, version ")
    assert (process.returncode, err) == (130, "")


def test_it_ends_without_a_word_while_a_command_imports_what_it_alone_needs(
    variables: Mapping[str, str],
) -> None:
    with start("migrate", "--dry-run", variables={**variables, "POINT": "yoyo"}) as process:
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130


def test_an_interrupt_that_cannot_be_raised_is_heeded_later(variables: Mapping[str, str]) -> None:
    point = "as garbage before yoyo"
    with start("migrate", "--dry-run", variables={**variables, "POINT": point}) as process:
        assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130


def test_it_ignores_what_it_was_told_to_ignore(variables: Mapping[str, str]) -> None:
    """As a shell tells what it starts in the background."""
    shell = ("/bin/sh", "-c", "trap '' INT; exec \"$@\"", "sh")
    for point in ("click", "yoyo"):
        with start(
            "migrate",
            "--dry-run",
            program=[*shell, *MODULE],
            variables={**variables, "POINT": point, "PGHOST": os.devnull},
        ) as process:
            process.communicate(timeout=60)
        assert process.returncode == 4, point
