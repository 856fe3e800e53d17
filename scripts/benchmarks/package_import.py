"""The package's import: what it costs a program to start with it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from contestants import Sample, Sampler, Sizes

# What the bare interpreter costs is not counted.
PROGRAM: Final = """
import time
wall, cpu = time.perf_counter(), time.process_time()
{}
print(time.process_time() - cpu, time.perf_counter() - wall)
"""

DEPENDENCIES: Final = "import psycopg, psycopg_pool, pydantic"

# pydantic imports most of itself when the first model is made.
MODEL: Final = """
class Model(pydantic.BaseModel):
    number: int
"""


@contextmanager
def dependencies(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    yield lambda: fresh(DEPENDENCIES)


@contextmanager
def dependencies_in_use(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    yield lambda: fresh(DEPENDENCIES + MODEL)


@contextmanager
def library(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    yield lambda: fresh("import runstore")


@contextmanager
def dependencies_and_library(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    yield lambda: fresh(f"{DEPENDENCIES}, runstore")


@contextmanager
def library_for_events(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    yield lambda: fresh(EVENTS)


@contextmanager
def library_in_use(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    yield lambda: fresh(EVERYTHING)


# What a program that appends and replays events has.
EVENTS: Final = """
from runstore import NewRunEvent, append_run_events, iter_run_events, open_pool
NewRunEvent(type="noted")
"""

# All modules, and the schema of every input, which is built when pydantic is first asked about one.
EVERYTHING: Final = """
from runstore import *
from runstore.queries import Input
inputs = [Input]
while inputs:
    model = inputs.pop()
    model.model_rebuild()
    inputs += model.__subclasses__()
"""


def fresh(statements: str) -> Sample:
    """Run statements in a new interpreter, and return what they cost there."""
    command = [sys.executable, "-c", PROGRAM.format(statements)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    cpu, wall = map(float, done.stdout.split())
    return Sample(1, cpu, wall)
