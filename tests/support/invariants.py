"""What holds in every database whenever nobody is in the middle of a transaction."""

from __future__ import annotations

from typing import Any

from connections import Caller
from usage_factories import disagreements

# Each answers the ids of what breaks it.
INVARIANTS = {
    "a run has one head": """
        SELECT runs.id::text FROM runstore.runs
        LEFT JOIN runstore.run_heads ON runs.id = run_heads.run_id
        WHERE run_heads.run_id IS NULL""",
    "a log is dense up to its head, from where events of it were purged": """
        SELECT runs.id::text FROM runstore.runs
        JOIN runstore.run_heads ON runs.id = run_heads.run_id
        CROSS JOIN LATERAL (
            SELECT greatest(max(to_seq), runs.purged_seq, 0) AS seq
            FROM runstore.run_segments WHERE run_id = runs.id
        ) AS gone
        CROSS JOIN LATERAL (
            SELECT count(*) AS count, min(seq) AS first, max(seq) AS last
            FROM runstore.run_events
            WHERE run_id = runs.id AND seq > coalesce(runs.purged_seq, 0)
        ) AS own
        WHERE own.count <> run_heads.last_seq - gone.seq
            OR own.last <> run_heads.last_seq
            OR own.first <> gone.seq + 1""",
    "a run that has ended is closed, has its time and its last event, and no other is": """
        SELECT runs.id::text FROM runstore.runs
        JOIN runstore.run_heads ON runs.id = run_heads.run_id
        WHERE (runs.status IN ('completed', 'failed', 'cancelled'))
            <> ANY (ARRAY[
                run_heads.closed,
                runs.finished_at IS NOT NULL,
                coalesce(runs.purged_seq = run_heads.last_seq, false) OR EXISTS (
                    SELECT FROM runstore.run_events
                    WHERE run_id = runs.id
                        AND seq = run_heads.last_seq
                        AND type IN ('run.completed', 'run.failed', 'run.cancelled')
                )
            ])""",
    "a fork reads all that it shares, and one that was restored shares nothing": """
        SELECT runs.id::text FROM runstore.runs
        JOIN runstore.run_segments ON runs.id = run_segments.run_id
        GROUP BY runs.id
        HAVING runs.forked_at_seq IS DISTINCT FROM sum(to_seq - from_seq + 1)
            OR runs.forked_at_seq IS DISTINCT FROM max(to_seq)""",
    "what a fork reads is there": """
        SELECT run_id::text FROM runstore.run_segments
        WHERE to_seq - from_seq + 1 <> (
            SELECT count(*) FROM runstore.run_events
            WHERE run_events.run_id = run_segments.source_run_id
                AND seq BETWEEN run_segments.from_seq AND run_segments.to_seq
        )""",
    "a published report has its versions, each with its sections": """
        SELECT reports.id::text FROM runstore.reports
        WHERE coalesce(reports.published_version, 0) <> (
            SELECT count(*) FROM runstore.report_versions
            WHERE run_id = reports.run_id AND report_id = reports.id
        ) OR reports.status = 'published' AND (
            SELECT count(*) FROM runstore.report_sections
            WHERE run_id = reports.run_id AND report_id = reports.id AND status = 'active'
        ) <> (
            SELECT count(*) FROM runstore.report_version_sections
            WHERE run_id = reports.run_id AND report_id = reports.id AND version = reports.version
        )""",
    "a branch that is merged has its time, and no other has": """
        SELECT id::text FROM runstore.branch_reports
        WHERE (status = 'merged') <> (merged_at IS NOT NULL)
            OR (status = 'discarded') <> (discarded_at IS NOT NULL)""",
    "what was settled is in the log, and nothing else of a reservation is": """
        SELECT id::text FROM runstore.usage_reservations
        WHERE (status = 'settled') <> EXISTS (
            SELECT FROM runstore.usage_logs WHERE id = usage_reservations.id
        )""",
}


def broken(call: Caller) -> dict[str, Any]:
    """Return which invariants do not hold, and of what; that counters equal logs is one too."""
    query: Any = " UNION ALL ".join(
        f"SELECT '{name}', id FROM ({body}) AS broken (id)" for name, body in INVARIANTS.items()
    )
    found: dict[str, Any] = {}
    for name, id in call.execute(query):
        found.setdefault(name, []).append(id)
    if wrong := disagreements(call):
        found["counters equal the log and the open holds"] = wrong
    return found
