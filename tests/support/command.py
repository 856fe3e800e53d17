"""The command `runstore`, called in this process, or started as one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from click.testing import CliRunner

from runstore.cli import main

DSN_VARIABLES = ("RUNSTORE_DSN", "DATABASE_URL", "RUNSTORE_TENANT")

# The two ways to start it.
MODULE = (sys.executable, "-W", "error", "-m", "runstore")
INSTALLED = (str(Path(sys.executable).with_name("runstore")),)


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its answer, which is one document."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Its answer, which is a document a line."""
        return [json.loads(line) for line in self.out.splitlines()]


def runstore(*arguments: object, input: str | bytes | None = None, **environment: str) -> Said:
    """Call the command with these variables and without those of the tests' own environment."""
    variables = {**dict.fromkeys(DSN_VARIABLES), "COLUMNS": "120", **environment}
    done = CliRunner().invoke(main, [*map(str, arguments)], input=input, env=variables)
    return Said(done.exit_code, done.stdout, done.stderr)


def stand_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command believe that a person stands at its standard input."""

    def yes(_: object) -> bool:
        return True

    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", yes, raising=False)


def start(
    *arguments: object,
    program: Sequence[str] = MODULE,
    variables: Mapping[str, str] = MappingProxyType({}),
    **options: Any,
) -> subprocess.Popen[str]:
    """Start the command as a process, whose output is read line by line."""
    environment = {name: os.environ[name] for name in os.environ if name not in DSN_VARIABLES}
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(
        [*program, *map(str, arguments)],
        env={**environment, "COLUMNS": "120", **variables},
        **(streams | options),
    )


def command(arguments: Sequence[object]) -> list[str]:
    """Return the command line of a process of its own."""
    return [*MODULE, *map(str, arguments)]
