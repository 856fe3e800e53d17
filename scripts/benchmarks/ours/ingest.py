"""W2 with the library: write many events or steps of a run."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import runstore
from contestants import Sampler, Sizes, Work, sampler
from payloads import events
from preparation import new_invocation, new_run
from runstore import NewAgentStep, NewRunEvent
from runstore.run_events import EventLike

Make = Callable[[str, Any], EventLike]


def pair(type: str, payload: Any) -> EventLike:
    return type, payload


def model(type: str, payload: Any) -> EventLike:
    return NewRunEvent(type=type, payload=payload)


@contextmanager
def ingest_events(dsn: str, sizes: Sizes, make: Make = pair) -> Generator[Sampler]:
    given = events(sizes.ingested)
    with runstore.connect(dsn) as conn:

        def prepare() -> Work:
            conn.execute("TRUNCATE runstore.run_events")
            run_id = new_run(conn)

            def work() -> None:
                numbers: list[int] = []
                new = (make(*event) for event in given)
                runstore.ingest_run_events(
                    conn, run_id, new, batch_size=sizes.batch, on_batch=numbers.append
                )
                assert len(numbers) == len(given) // sizes.batch

            return work

        yield sampler(prepare, len(given))


@contextmanager
def append_events(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    """Call for each batch, so that client and server take turns."""
    given = events(sizes.ingested)
    with runstore.connect(dsn) as conn:

        def prepare() -> Work:
            conn.execute("TRUNCATE runstore.run_events")
            run_id = new_run(conn)

            def work() -> None:
                for start in range(0, len(given), sizes.batch):
                    batch = [pair(*event) for event in given[start : start + sizes.batch]]
                    assert runstore.append_run_events(conn, run_id, batch)

            return work

        yield sampler(prepare, len(given))


@contextmanager
def ingest_event_models(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with ingest_events(dsn, sizes, model) as sample:
        yield sample


@contextmanager
def import_events(dsn: str, sizes: Sizes, make: Make = pair) -> Generator[Sampler]:
    given = events(sizes.ingested)
    with runstore.connect(dsn) as conn:

        def prepare() -> Work:
            conn.execute("TRUNCATE runstore.run_events")
            run_id = new_run(conn)

            def work() -> None:
                new = (make(*event) for event in given)
                assert runstore.import_run_events(conn, run_id, new)

            return work

        yield sampler(prepare, len(given))


@contextmanager
def import_event_models(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with import_events(dsn, sizes, model) as sample:
        yield sample


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
