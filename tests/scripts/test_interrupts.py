"""Ctrl-C ends what the scripts run: cleaned up, without a stack trace, with status 130."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

SCRIPTS = Path(__file__).parents[2] / "scripts"
INTERRUPT = "os.kill(os.getpid(), signal.SIGINT)"


def interruptible(tmp_path: Path, program: str, *arguments: str) -> tuple[int, str, str]:
    file = tmp_path / "program.py"
    file.write_text(f"import atexit, os, signal, sys\n{program}")
    (tmp_path / "neighbour.py").write_text(f"import os, signal\n{INTERRUPT}")
    done = subprocess.run(
        [sys.executable, SCRIPTS / "interruptible.py", file, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_program_runs_as_by_itself(tmp_path: Path) -> None:
    program = "print(__name__, os.path.basename(sys.argv[0]), *sys.argv[1:]); sys.exit(3)"
    assert interruptible(tmp_path, program, "--a", "b") == (3, "__main__ program.py --a b\n", "")


@pytest.mark.parametrize(
    ("program", "out"),
    [
        ("import neighbour", ""),
        (f"try:\n  {INTERRUPT}\nfinally:\n  print('cleaned up')", "cleaned up\n"),
        (f"print('done', flush=True)\natexit.register(lambda: {INTERRUPT})", "done\n"),
    ],
    ids=["while it imports", "at work", "when it is done"],
)
def test_an_interrupted_program_says_nothing(tmp_path: Path, program: str, out: str) -> None:
    assert interruptible(tmp_path, program) == (130, out, "")


def test_every_program_of_a_script_is_interruptible() -> None:
    scripts = [path for path in SCRIPTS.iterdir() if path.is_file() and not path.suffix]
    texts = {path.name: path.read_text(encoding="utf-8") for path in scripts}

    assert len(texts) > 15
    assert [
        name for name, text in texts.items() if re.search(r"exec \S*python\"? [^-]", text)
    ] == []
    for name in ("bench", "chaos", "demo"):
        assert "\nbecome " in texts[name]


def drill_folders() -> set[Path]:
    return set(Path("/tmp").glob("runstore-drill-*/cluster/socket"))  # noqa: S108 - where it is.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("demo", ["--data-dir", "{folder}/data"]),
        ("bench", ["W1", "--smoke", "--commits", "relaxed"]),
        ("chaos", ["--minutes", "5"]),
    ],
)
def test_a_script_is_interrupted_at_its_work(name: str, arguments: list[str], folder: Path) -> None:
    before = drill_folders()
    with subprocess.Popen(
        [SCRIPTS / name, *(argument.format(folder=folder) for argument in arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        if name == "chaos":
            wait_until(lambda: bool(drill_folders() - before))
        else:
            process.stdout.readline()
        # To the script and all that it started, as a terminal does it.
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert err in ("", "Interrupted.\n")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
