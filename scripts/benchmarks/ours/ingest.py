"""W2 with the library: write many events or steps of a run."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final
from uuid import UUID

from psycopg import Connection

import runstore
from contestants import Sampler, Sizes, Work, sampler
from distance import a_millisecond_away
from payloads import events
from preparation import new_invocation, new_run
from runstore import NewAgentStep, NewRunEvent
from runstore.run_events import EventLike

Events = list[tuple[str, Any]]
Make = Callable[[str, Any], EventLike]
Write = Callable[[Connection[Any], UUID, Events], None]


def pair(type: str, payload: Any) -> EventLike:
    return type, payload


def model(type: str, payload: Any) -> EventLike:
    return NewRunEvent(type=type, payload=payload)


def ingest_events(dsn: str, sizes: Sizes, make: Make = pair) -> AbstractContextManager[Sampler]:
    def ingest(conn: Connection[Any], run_id: UUID, given: Events) -> None:
        ends: list[int] = []
        new = (make(*event) for event in given)
        runstore.ingest_run_events(conn, run_id, new, batch_size=sizes.batch, on_batch=ends.append)
        assert len(ends) == len(given) // sizes.batch

    return _events(dsn, sizes, ingest)


def ingest_event_models(dsn: str, sizes: Sizes) -> AbstractContextManager[Sampler]:
    return ingest_events(dsn, sizes, model)


def ingest_large_batches(dsn: str, sizes: Sizes) -> AbstractContextManager[Sampler]:
    return ingest_events(dsn, replace(sizes, batch=min(10 * sizes.batch, sizes.ingested)))


ingest_events_away: Final = a_millisecond_away(ingest_events)
ingest_large_batches_away: Final = a_millisecond_away(ingest_large_batches)


def append_events(dsn: str, sizes: Sizes) -> AbstractContextManager[Sampler]:
    """Call for each batch, so that client and server take turns."""

    def append(conn: Connection[Any], run_id: UUID, given: Events) -> None:
        for start in range(0, len(given), sizes.batch):
            batch = [pair(*event) for event in given[start : start + sizes.batch]]
            assert runstore.append_run_events(conn, run_id, batch)

    return _events(dsn, sizes, append)


def import_events(dsn: str, sizes: Sizes, make: Make = pair) -> AbstractContextManager[Sampler]:
    def import_all(conn: Connection[Any], run_id: UUID, given: Events) -> None:
        assert runstore.import_run_events(conn, run_id, (make(*event) for event in given))

    return _events(dsn, sizes, import_all)


def import_event_models(dsn: str, sizes: Sizes) -> AbstractContextManager[Sampler]:
    return import_events(dsn, sizes, model)


@contextmanager
def _events(dsn: str, sizes: Sizes, write: Write) -> Generator[Sampler]:
    given = events(sizes.ingested)
    with runstore.connect(dsn) as conn:

        def prepare() -> Work:
            conn.execute("TRUNCATE runstore.run_events")
            return partial(write, conn, new_run(conn), given)

        yield sampler(prepare, len(given))


@contextmanager
def ingest_steps(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    given = events(sizes.ingested)
    with runstore.connect(dsn) as conn:

        def prepare() -> Work:
            conn.execute("TRUNCATE runstore.agent_steps CASCADE")
            _, invocation_id = new_invocation(conn)

            def work() -> None:
                for start in range(0, len(given), sizes.batch):
                    batch = [
                        NewAgentStep(
                            invocation_id=invocation_id, kind=kind, content=content, tokens=96
                        )
                        for kind, content in given[start : start + sizes.batch]
                    ]
                    keys = runstore.create_agent_steps(conn, batch)
                    assert len(keys) == len(batch)

            return work

        yield sampler(prepare, len(given))
