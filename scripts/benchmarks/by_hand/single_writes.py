"""W1 by hand: append one event, or create one step, each in a commit of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from contestants import Sampler, Sizes, Work, sampler
from payloads import events
from preparation import library_statement, new_child_id, new_invocation, new_run, new_run_async

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


@contextmanager
def append(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    given = events(sizes.operations)
    with psycopg.connect(dsn, autocommit=True) as conn:

        def prepare() -> Work:
            run_id = new_run(conn)

            def work() -> None:
                for type, payload in given:
                    row = conn.execute(APPEND, (run_id, type, Jsonb(payload))).fetchone()
                    assert row

            return work

        yield sampler(prepare, len(given))


@contextmanager
def append_with_library_statement(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    """Append one event with the statement that the library sends, which takes any number."""
    given = events(sizes.operations)
    statement = library_statement("run_events", "append_run_events")
    with psycopg.connect(dsn, autocommit=True) as conn:

        def prepare() -> Work:
            run_id = new_run(conn)

            def work() -> None:
                for type, payload in given:
                    parameters = {
                        "run_id": run_id,
                        "types": [type],
                        "payloads": [Jsonb(payload)],
                        "expected_seq": None,
                        "append_id": None,
                    }
                    assert conn.execute(statement, parameters).fetchone()

            return work

        yield sampler(prepare, len(given))


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
                        row = conn.execute(APPEND, (run_id, type, Jsonb(payload))).fetchone()
                    assert row

            return work

        yield sampler(prepare, len(given))


@contextmanager
def append_through_async_pool(dsn: str, sizes: Sizes) -> Generator[Sampler]:
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
                    cursor = await conn.execute(APPEND, (run_id, type, Jsonb(payload)))
                    row = await cursor.fetchone()
                assert row

        def prepare() -> Work:
            run_id = runner.run(create())
            return lambda: runner.run(work(run_id))

        yield sampler(prepare, len(given))
        runner.run(pool.close())


@contextmanager
def step(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    given = events(sizes.operations)
    with psycopg.connect(dsn, autocommit=True) as conn:

        def prepare() -> Work:
            run_id, invocation_id = new_invocation(conn)

            def work() -> None:
                for kind, content in given:
                    step_id = new_child_id(run_id)
                    row = conn.execute(
                        STEP,
                        (
                            step_id,
                            run_id,
                            invocation_id,
                            kind,
                            Jsonb(content),
                            96,
                            run_id,
                            invocation_id,
                        ),
                    ).fetchone()
                    assert row

            return work

        yield sampler(prepare, len(given))
