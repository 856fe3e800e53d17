"""W2 by hand: write many events or steps of a run with executemany."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg.types.json import Jsonb

from contestants import Sampler, Sizes, Work, sampler
from distance import a_millisecond_away
from payloads import events
from preparation import new_child_id, new_invocation, new_run

RESERVE: Final = """
UPDATE runstore.run_heads
SET last_seq = last_seq + %s, heartbeat_at = (SELECT clock_timestamp())
WHERE run_id = %s AND NOT closed
RETURNING last_seq
"""

EVENT: Final = """
INSERT INTO runstore.run_events (run_id, seq, type, payload) VALUES (%s, %s, %s, %s)
"""

STEP: Final = """
INSERT INTO runstore.agent_steps (
    run_id, id, invocation_id, position, kind, content, tokens, finished_at
)
VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp())
"""


@contextmanager
def ingest_events(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    given = events(sizes.ingested)
    with psycopg.connect(dsn, autocommit=True) as conn:

        def prepare() -> Work:
            conn.execute("TRUNCATE runstore.run_events")
            run_id = new_run(conn)

            def work() -> None:
                for start in range(0, len(given), sizes.batch):
                    batch = given[start : start + sizes.batch]
                    with conn.transaction(), conn.cursor() as cursor:
                        row = cursor.execute(RESERVE, (len(batch), run_id)).fetchone()
                        assert row
                        first = row[0] - len(batch) + 1
                        cursor.executemany(
                            EVENT,
                            [
                                (run_id, seq, type, Jsonb(payload))
                                for seq, (type, payload) in enumerate(batch, first)
                            ],
                        )

            return work

        yield sampler(prepare, len(given))


ingest_events_away: Final = a_millisecond_away(ingest_events)


@contextmanager
def ingest_steps(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    given = events(sizes.ingested)
    with psycopg.connect(dsn, autocommit=True) as conn:

        def prepare() -> Work:
            conn.execute("TRUNCATE runstore.agent_steps CASCADE")
            run_id, invocation_id = new_invocation(conn)

            def work() -> None:
                for start in range(0, len(given), sizes.batch):
                    batch = given[start : start + sizes.batch]
                    rows = [
                        (
                            run_id,
                            new_child_id(run_id),
                            invocation_id,
                            position,
                            kind,
                            Jsonb(content),
                            96,
                        )
                        for position, (kind, content) in enumerate(batch, start)
                    ]
                    with conn.transaction(), conn.cursor() as cursor:
                        cursor.executemany(STEP, rows)

            return work

        yield sampler(prepare, len(given))
