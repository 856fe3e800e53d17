"""What has to be there before anything is measured.

It is written without the library, which the processes that do their work by hand do not import.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final, LiteralString, cast
from uuid import UUID

from psycopg import AsyncConnection, Connection
from psycopg.types.json import Jsonb

from payloads import events

SQL: Final = Path(__file__).resolve().parents[2] / "sql"

AMOUNT: Final = 10
"""What a reservation takes."""

RUN: Final = """
WITH run AS (
    INSERT INTO runstore.runs (id, kind, status)
    VALUES (runstore.new_run_id(), 'chat', 'pending')
    RETURNING id
)

INSERT INTO runstore.run_heads (run_id) SELECT id FROM run
RETURNING run_id
"""

INVOCATION: Final = """
INSERT INTO runstore.agent_invocations (run_id, id, agent)
VALUES (%s, runstore.new_child_id(%s), 'bench')
RETURNING id
"""

QUOTA: Final = """
WITH quota AS (
    INSERT INTO runstore.quotas (subject_id, id, meter, period, limit_amount)
    VALUES (%s, runstore.new_child_id(runstore.new_run_id()), 'tokens', 'total', %s)
    RETURNING tenant_id, subject_id, id
)

INSERT INTO runstore.usage_counters (tenant_id, subject_id, quota_id, window_start)
SELECT tenant_id, subject_id, id, '-infinity' FROM quota
RETURNING quota_id
"""


def new_run(conn: Connection[Any]) -> UUID:
    row = conn.execute(RUN).fetchone()
    assert row
    return cast(UUID, row[0])


async def new_run_async(conn: AsyncConnection[Any]) -> UUID:
    row = await (await conn.execute(RUN)).fetchone()
    assert row
    return cast(UUID, row[0])


def new_invocation(conn: Connection[Any]) -> tuple[UUID, UUID]:
    """Return the ids of a new run and of an invocation in it."""
    run_id = new_run(conn)
    row = conn.execute(INVOCATION, (run_id, run_id)).fetchone()
    assert row
    return run_id, row[0]


def new_child_id(run_id: UUID) -> UUID:
    """Make an id as the schema wants it: the run's with 48 random bits."""
    return UUID(int=run_id.int | int.from_bytes(os.urandom(6), "big"))


def library_statement(file: str, name: str) -> LiteralString:
    """Return a statement of the library as it stands in its file."""
    text = (SQL / f"{file}.sql").read_text(encoding="utf-8")
    found = re.search(rf"^-- name: {name} :.*?(?=^-- name: |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found
    # Any, and so a LiteralString: the files ship with the project and hold no input.
    statement: Any = found[0].strip().removesuffix(";")
    return cast(LiteralString, statement)


def filled_run(conn: Connection[Any], count: int) -> UUID:
    """Return the id of a new run with so many events."""
    run_id = new_run(conn)
    rows = [
        (run_id, seq, type, Jsonb(payload)) for seq, (type, payload) in enumerate(events(count), 1)
    ]
    with conn.transaction(), conn.cursor() as cursor:
        cursor.execute(
            "UPDATE runstore.run_heads SET last_seq = %s WHERE run_id = %s", (count, run_id)
        )
        cursor.executemany(
            "INSERT INTO runstore.run_events (run_id, seq, type, payload) VALUES (%s, %s, %s, %s)",
            rows,
        )
    # Autovacuum is off, and would have done it.
    conn.execute("VACUUM ANALYZE runstore.run_events")
    return run_id


def limit_of(reservations: int) -> int:
    """Return the limit into which nine tenths of so many reservations fit."""
    return reservations * 9 // 10 * AMOUNT


def new_quota(conn: Connection[Any], limit: int) -> tuple[str, UUID]:
    """Return a new subject, and the id of the quota on tokens that it has for good."""
    subject_id = f"subject {new_run(conn)}"
    row = conn.execute(QUOTA, (subject_id, limit)).fetchone()
    assert row
    return subject_id, row[0]


def held(conn: Connection[Any], quota_id: UUID) -> int:
    """Return how much is held of a quota that has one window."""
    row = conn.execute(
        "SELECT held FROM runstore.usage_counters WHERE quota_id = %s", (quota_id,)
    ).fetchone()
    assert row
    return cast(int, row[0])
