"""Databases filled with so many events, and with what belongs to them."""

from __future__ import annotations

from typing import Any, Final

from psycopg import Connection
from psycopg.types.json import Jsonb

from payloads import payload

EVENTS_PER_RUN: Final = 20
RUNS_PER_SUBJECT: Final = 25

BYTES_PER_EVENT: Final = 1600
"""What an event takes of the disk, generously: its rows, its index, its WAL."""

_RUNS_PER_STATEMENT: Final = 20_000

# One run of twenty still runs, and has shared events with the run before it. Each has left an entry
# in the log of usage.
_RUNS: Final = """
WITH run AS (
    INSERT INTO runstore.runs (id, kind, name, subject_id, status, started_at, finished_at)
    SELECT
        runstore.new_run_id(),
        'feature',
        'pipeline ' || number %% 100,
        'subject ' || number %% %(subjects)s,
        CASE WHEN number %% 20 = 0 THEN 'running' ELSE 'completed' END,
        now(),
        CASE WHEN number %% 20 <> 0 THEN now() END
    FROM generate_series(%(first)s::bigint, %(last)s) AS number
    ON CONFLICT DO NOTHING
    RETURNING id, subject_id, status
), segment AS (
    INSERT INTO runstore.run_segments (run_id, source_run_id, from_seq, to_seq)
    SELECT id, before, 1, 10
    FROM (SELECT id, status, lag(id) OVER (ORDER BY id) AS before FROM run) AS following
    WHERE status = 'running' AND before IS NOT NULL
), head AS (
    INSERT INTO runstore.run_heads (run_id, last_seq, closed)
    SELECT id, %(events)s, status <> 'running' FROM run
), usage AS (
    INSERT INTO runstore.usage_logs (id, meter, subject_id, amount, run_id)
    SELECT runstore.new_child_id(id), 'tokens', subject_id, 10, id FROM run
)
INSERT INTO runstore.run_events (run_id, seq, type, payload)
SELECT run.id, seq, 'message', %(payload)s FROM run, generate_series(1, %(events)s) AS seq
"""

_QUOTAS: Final = """
WITH quota AS (
    INSERT INTO runstore.quotas (subject_id, id, meter, period, limit_amount)
    SELECT
        'subject ' || number,
        runstore.new_child_id(runstore.new_run_id()),
        'tokens',
        'total',
        1000000000
    FROM generate_series(0, %(subjects)s - 1) AS number
    RETURNING tenant_id, subject_id, id
)
INSERT INTO runstore.usage_counters (tenant_id, subject_id, quota_id, window_start)
SELECT tenant_id, subject_id, id, '-infinity' FROM quota
"""


def subjects_of(events: int) -> int:
    """Return how many subjects so many events have."""
    return max(events // EVENTS_PER_RUN // RUNS_PER_SUBJECT, 1)


def fill(conn: Connection[Any], events: int) -> None:
    """Fill a migrated database, on a superuser's connection."""
    subjects = subjects_of(events)
    # The rows fit each other, and to check every foreign key would take most of the time.
    conn.execute("SET session_replication_role = replica")
    runs = events // EVENTS_PER_RUN
    parameters = {
        "subjects": subjects,
        "events": EVENTS_PER_RUN,
        "payload": Jsonb(payload(1)),
    }
    for first in range(1, runs + 1, _RUNS_PER_STATEMENT):
        last = min(first + _RUNS_PER_STATEMENT - 1, runs)
        conn.execute(_RUNS, {**parameters, "first": first, "last": last})
    conn.execute(_QUOTAS, {"subjects": subjects})
    conn.execute("RESET session_replication_role")
    conn.execute("VACUUM ANALYZE")
    conn.execute("CHECKPOINT")
