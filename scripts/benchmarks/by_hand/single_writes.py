"""W1 by hand: append one event, or create one step, each in a commit of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from contestants import Sampler, Sizes, Work, sampler
from payloads import events
from preparation import library_statement, new_child_id, new_invocation, new_run, new_run_async

LIBRARY_APPEND: Final = library_statement("run_events", "append_run_events")
LIBRARY_STEP: Final = library_statement("agent_steps", "create_agent_step")

APPEND: Final = """
WITH head AS (
    UPDATE runstore.run_heads
    SET last_seq = last_seq + 1, heartbeat_at = (SELECT clock_timestamp())
    WHERE run_id = %s AND NOT closed
    RETURNING run_id, last_seq
)

INSERT INTO runstore.run_events (run_id, seq, type, payload)
SELECT run_id, last_seq, %s, %s FROM head
RETURNING seq
"""

STEP: Final = """
INSERT INTO runstore.agent_steps (
    run_id, id, tenant_id, invocation_id, position, kind, content, tokens, finished_at
)
SELECT
    run_id, %s, tenant_id, id,
    (
        SELECT coalesce(max(position), 0) + 1 FROM runstore.agent_steps
        WHERE run_id = %s AND invocation_id = %s
    ),
    %s, %s, %s, clock_timestamp()
FROM runstore.agent_invocations
WHERE run_id = %s AND id = %s
RETURNING run_id, id, created_at
"""


Sending = Callable[[UUID, str, Any], tuple[LiteralString, Any]]
"""Makes of a run's or an invocation's id, a kind and a document what is sent."""


def as_library(run_id: UUID, type: str, payload: Any) -> tuple[LiteralString, Any]:
    """Append with the library's statement, which takes any number of events."""
    return LIBRARY_APPEND, {
        "run_id": run_id,
        "types": [type],
        "payloads": [Jsonb(payload)],
        "expected_seq": None,
        "append_id": None,
    }


def as_one(run_id: UUID, type: str, payload: Any) -> tuple[LiteralString, Any]:
    """Append with a statement that can append one event and nothing else."""
    return APPEND, (run_id, type, Jsonb(payload))


@contextmanager
def append(dsn: str, sizes: Sizes, sending: Sending = as_library) -> Generator[Sampler]:
    given = events(sizes.operations)
    with psycopg.connect(dsn, autocommit=True) as conn:

        def prepare() -> Work:
            run_id = new_run(conn)

            def work() -> None:
                for type, payload in given:
                    assert conn.execute(*sending(run_id, type, payload)).fetchone()

            return work

        yield sampler(prepare, len(given))


@contextmanager
def append_as_one(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with append(dsn, sizes, as_one) as sample:
        yield sample


@contextmanager
def append_through_pool(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    given = events(sizes.operations)
    with ConnectionPool(dsn, kwargs={"autocommit": True}) as pool:

        def prepare() -> Work:
            with pool.connection() as conn:
                run_id = new_run(conn)

            def work() -> None:
                for type, payload in given:
                    with pool.connection() as conn:
                        assert conn.execute(*as_library(run_id, type, payload)).fetchone()

            return work

        yield sampler(prepare, len(given))


@contextmanager
def append_through_async_pool(
    dsn: str, sizes: Sizes, sending: Sending = as_library
) -> Generator[Sampler]:
    given = events(sizes.operations)

    async def start() -> AsyncConnectionPool[AsyncConnection[TupleRow]]:
        pool: AsyncConnectionPool[AsyncConnection[TupleRow]] = AsyncConnectionPool(
            dsn, kwargs={"autocommit": True}, open=False
        )
        await pool.open()
        return pool

    with asyncio.Runner() as runner:
        pool = runner.run(start())

        async def create() -> UUID:
            async with pool.connection() as conn:
                return await new_run_async(conn)

        async def work(run_id: UUID) -> None:
            for type, payload in given:
                async with pool.connection() as conn:
                    cursor = await conn.execute(*sending(run_id, type, payload))
                    assert await cursor.fetchone()

        def prepare() -> Work:
            run_id = runner.run(create())
            return lambda: runner.run(work(run_id))

        yield sampler(prepare, len(given))
        runner.run(pool.close())


@contextmanager
def append_as_one_through_async_pool(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with append_through_async_pool(dsn, sizes, as_one) as sample:
        yield sample


Step = Callable[[UUID, UUID, str, Any], tuple[LiteralString, Any]]


def step_as_library(
    run_id: UUID, invocation_id: UUID, kind: str, content: Any
) -> tuple[LiteralString, Any]:
    """Create a step with the library's statement."""
    return LIBRARY_STEP, {
        "run_id": run_id,
        "id": new_child_id(run_id),
        "invocation_id": invocation_id,
        "position": None,
        "kind": kind,
        "content": Jsonb(content),
        "tokens": 96,
        "metadata": Jsonb({}),
        "finished": True,
    }


def step_as_one(
    run_id: UUID, invocation_id: UUID, kind: str, content: Any
) -> tuple[LiteralString, Any]:
    """Create a finished step without metadata, which takes the next position, and nothing else."""
    ids = new_child_id(run_id), run_id, invocation_id
    return STEP, (*ids, kind, Jsonb(content), 96, run_id, invocation_id)


@contextmanager
def step(dsn: str, sizes: Sizes, sending: Step = step_as_library) -> Generator[Sampler]:
    given = events(sizes.operations)
    with psycopg.connect(dsn, autocommit=True) as conn:

        def prepare() -> Work:
            run_id, invocation_id = new_invocation(conn)

            def work() -> None:
                for kind, content in given:
                    sent = sending(run_id, invocation_id, kind, content)
                    assert conn.execute(*sent).fetchone()

            return work

        yield sampler(prepare, len(given))


@contextmanager
def step_without_more(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with step(dsn, sizes, step_as_one) as sample:
        yield sample
