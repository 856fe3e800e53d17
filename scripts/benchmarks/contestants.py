"""What a contestant is, and how its work is measured."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

Work = Callable[[], object]


@dataclass(frozen=True)
class Sizes:
    """How much work is in one sample of each workload."""

    operations: int = 500
    ingested: int = 50_000
    batch: int = 500
    replayed: int = 10_000
    page: int = 200
    lives: int = 40
    clients: int = 8
    reservations: int = 800
    workers: int = 16


SMALLEST = Sizes(
    operations=4,
    ingested=20,
    batch=10,
    replayed=30,
    page=10,
    lives=2,
    clients=2,
    reservations=8,
    workers=2,
)


@dataclass(frozen=True)
class Sample:
    """What one stretch of work cost: seconds of the client's CPU, and of the clock."""

    operations: int
    cpu: float
    wall: float


Sampler = Callable[[], Sample]
Opening = Callable[[str, Sizes], AbstractContextManager[Sampler]]
"""Opens what a contestant needs, on the database of this DSN."""


@dataclass(frozen=True)
class Contestant:
    """One way to do a workload, in a process of its own.

    `opening` is the place of its `Opening`, as `module:name`. `against` is the contestant to whose
    cost its own is put in relation, `bar` what that ratio of CPU may be at most, `wall_bar` the
    same for the clock. `python` is the interpreter to use when it is not this one.
    """

    name: str
    opening: str
    against: str | None = None
    bar: float | None = None
    wall_bar: float | None = None
    python: str | None = None


def cpu_seconds() -> float:
    """Return the CPU time of this process, its own and the kernel's for it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def sampler(prepare: Callable[[], Work], operations: int) -> Sampler:
    """Measure the work that each call of `prepare` gives; `prepare` itself is not measured."""

    def sample() -> Sample:
        work = prepare()
        gc.collect()
        wall, cpu = time.perf_counter(), cpu_seconds()
        work()
        return Sample(operations, cpu_seconds() - cpu, time.perf_counter() - wall)

    return sample
