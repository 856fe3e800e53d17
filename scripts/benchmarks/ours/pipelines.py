"""20 steps of an agent in a transaction: call by call, and in a pipeline; near and far."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from psycopg import Connection

import runstore
from contestants import Sampler, Sizes, Work, sampler
from distance import a_millisecond_away
from payloads import events
from preparation import new_invocation
from runstore import NewAgentStep

CALLS: Final = 20

Given = list[tuple[str, Any]]


def _steps(invocation_id: UUID, given: Given) -> list[NewAgentStep]:
    return [
        NewAgentStep(invocation_id=invocation_id, kind=kind, content=content, tokens=96)
        for kind, content in given
    ]


def _call_by_call(conn: Connection[Any], invocation_id: UUID, given: Given) -> None:
    with runstore.transaction(conn):
        for step in _steps(invocation_id, given):
            runstore.create_agent_step(conn, step)


def _in_a_pipeline(conn: Connection[Any], invocation_id: UUID, given: Given) -> None:
    with runstore.pipeline(conn) as calls:
        replies = [
            calls.send(runstore.create_agent_step, step) for step in _steps(invocation_id, given)
        ]
    assert all(reply.value for reply in replies)


@contextmanager
def _writing(dsn: str, sizes: Sizes, write: Any) -> Generator[Sampler]:
    count = max(sizes.operations // CALLS, 1) * CALLS
    given = events(count)
    with runstore.connect(dsn) as conn:

        def prepare() -> Work:
            _, invocation_id = new_invocation(conn)

            def work() -> None:
                for start in range(0, count, CALLS):
                    write(conn, invocation_id, given[start : start + CALLS])

            return work

        yield sampler(prepare, count)


@contextmanager
def call_by_call(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with _writing(dsn, sizes, _call_by_call) as sample:
        yield sample


@contextmanager
def in_a_pipeline(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with _writing(dsn, sizes, _in_a_pipeline) as sample:
        yield sample


call_by_call_away: Final = a_millisecond_away(call_by_call)
in_a_pipeline_away: Final = a_millisecond_away(in_a_pipeline)
