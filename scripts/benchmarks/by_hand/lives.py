"""W4 by hand: the life of a run, each of its operations one statement and one commit."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from contestants import Sampler, Sizes, sampler
from payloads import PHASES, payload
from preparation import new_child_id

CREATE: Final = """
WITH run AS (
    INSERT INTO runstore.runs (id, kind, name, phase, status, input, started_at)
    VALUES (runstore.new_run_id(), 'feature', %s, %s, 'running', %s, clock_timestamp())
    RETURNING id, phase, created_at
), head AS (
    INSERT INTO runstore.run_heads (run_id, last_seq) SELECT id, 1 FROM run
), event AS (
    INSERT INTO runstore.run_events (run_id, seq, type, payload)
    SELECT id, 1, 'run.started', jsonb_build_object('phase', phase) FROM run
)
SELECT id, created_at FROM run
"""

INVOCATION: Final = """
INSERT INTO runstore.agent_invocations (run_id, id, tenant_id, agent, input)
SELECT id, %s, tenant_id, %s, %s FROM runstore.runs WHERE id = %s
RETURNING id, created_at
"""

PHASE: Final = """
WITH head AS (
    UPDATE runstore.run_heads
    SET last_seq = last_seq + 1, heartbeat_at = (SELECT clock_timestamp())
    WHERE run_id = %s AND NOT closed
    RETURNING run_id, last_seq
), run AS (
    UPDATE runstore.runs SET phase = %s, updated_at = (SELECT clock_timestamp())
    FROM head
    WHERE runs.id = head.run_id
    RETURNING runs.status, runs.phase, runs.updated_at
), event AS (
    INSERT INTO runstore.run_events (run_id, seq, type, payload)
    SELECT run_id, last_seq, 'run.phase_changed', jsonb_build_object('phase', %s::text) FROM head
)
SELECT head.last_seq, run.status, run.phase, run.updated_at FROM head CROSS JOIN run
"""

TOOL_CALL: Final = """
INSERT INTO runstore.tool_calls (
    run_id, id, tenant_id, invocation_id, name, arguments, status, result, finished_at
)
SELECT run_id, %s, tenant_id, id, %s, %s, 'completed', %s, clock_timestamp()
FROM runstore.agent_invocations
WHERE run_id = %s AND id = %s
RETURNING id, created_at
"""

COMPLETE: Final = """
WITH head AS (
    UPDATE runstore.run_heads
    SET last_seq = last_seq + 1, closed = true, heartbeat_at = (SELECT clock_timestamp())
    WHERE run_id = %s AND NOT closed
    RETURNING run_id, last_seq
), run AS (
    UPDATE runstore.runs
    SET
        status = 'completed',
        output = %s,
        updated_at = (SELECT clock_timestamp()),
        finished_at = (SELECT clock_timestamp())
    FROM head
    WHERE runs.id = head.run_id
    RETURNING runs.status, runs.updated_at
), event AS (
    INSERT INTO runstore.run_events (run_id, seq, type)
    SELECT run_id, last_seq, 'run.completed' FROM head
)
SELECT head.last_seq, run.status, run.updated_at FROM head CROSS JOIN run
"""


async def fetch(conn: AsyncConnection[Any], statement: Any, parameters: tuple[Any, ...]) -> Any:
    row = await (await conn.execute(statement, parameters)).fetchone()
    assert row
    return row[0]


async def one_life(conn: AsyncConnection[Any], number: int) -> None:
    given = payload(number)
    run_id: UUID = await fetch(conn, CREATE, ("bench", PHASES[0], Jsonb(given)))
    invocation_id = new_child_id(run_id)
    await fetch(conn, INVOCATION, (invocation_id, "coder", Jsonb(given), run_id))
    for phase in PHASES[1:]:
        await fetch(conn, PHASE, (run_id, phase, phase))
        for name in ("shell", "edit"):
            call_id = new_child_id(run_id)
            result = Jsonb({"text": given["content"]})
            arguments = Jsonb(given["usage"])
            await fetch(conn, TOOL_CALL, (call_id, name, arguments, result, run_id, invocation_id))
    await fetch(conn, COMPLETE, (run_id, Jsonb(given)))


@contextmanager
def live(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    async def connect() -> list[AsyncConnection[Any]]:
        return [await AsyncConnection.connect(dsn, autocommit=True) for _ in range(sizes.clients)]

    with asyncio.Runner() as runner:
        connections = runner.run(connect())

        async def client(conn: AsyncConnection[Any], number: int) -> None:
            for life in range(number, sizes.lives, sizes.clients):
                await one_life(conn, life)

        async def work() -> None:
            async with asyncio.TaskGroup() as clients:
                for number, conn in enumerate(connections):
                    clients.create_task(client(conn, number))

        yield sampler(lambda: lambda: runner.run(work()), sizes.lives)
        for conn in connections:
            runner.run(conn.close())
