"""DBOS: a workflow's steps, each of which leaves its result in the database."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from dbos import DBOS, DBOSConfig

from contestants import Sampler, Sizes, sampler
from payloads import PHASES, events, payload


@DBOS.step()
def record(given: dict[str, Any]) -> dict[str, Any]:
    return given


@DBOS.workflow()
def steps(count: int) -> None:
    for _, given in events(count):
        record(given)


@DBOS.workflow()
def life(number: int) -> None:
    given = payload(number)
    for phase in PHASES[1:]:
        DBOS.set_event("phase", phase)
        record(given)
        record(given)


@contextmanager
def launched(dsn: str) -> Generator[None]:
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": dsn,
        "run_admin_server": False,
        "log_level": "ERROR",
    }
    DBOS(config=config)
    DBOS.launch()
    try:
        yield
    finally:
        DBOS.destroy()


@contextmanager
def append(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with launched(dsn):
        yield sampler(lambda: lambda: steps(sizes.operations), sizes.operations)


@contextmanager
def live(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    """Let a life be a workflow: its phases are events, its tool calls steps."""

    def work() -> None:
        waiting = [
            DBOS.start_workflow(life, number) for number in range(min(sizes.clients, sizes.lives))
        ]
        for number in range(len(waiting), sizes.lives):
            waiting.pop(0).get_result()
            waiting.append(DBOS.start_workflow(life, number))
        for handle in waiting:
            handle.get_result()

    with launched(dsn):
        yield sampler(lambda: work, sizes.lives)
