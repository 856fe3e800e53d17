-- Run purges: finding what is old. What is done about it is in run_removals.sql.

-- name: list_finished_runs :many
-- List a tenant's runs that finished before a time, the oldest first; on demand only those whose log
-- was not purged.
-- not null: gone_seq, finished_at
WITH finished AS MATERIALIZED (
    SELECT
        id,
        finished_at
    FROM runstore.runs
    WHERE tenant_id = runstore.current_tenant_id()
        AND finished_at IS NOT NULL
        AND finished_at < %(finished_before)s
        AND (NOT %(with_events)s OR events_purged_at IS NULL)
        AND (
            %(after_finished_at)s::timestamptz IS NULL
            OR (finished_at, id) > (%(after_finished_at)s, %(after_id)s::uuid)
        )
    ORDER BY
        finished_at,
        id
    LIMIT %(row_limit)s
)

SELECT
    runs.id AS run_id,
    greatest(
        (
            SELECT max(run_segments.to_seq) FROM runstore.run_segments
            WHERE run_segments.run_id = runs.id
        ),
        runs.purged_seq,
        0
    ) AS gone_seq,
    run_heads.last_seq,
    finished.finished_at,
    runs.purged_seq,
    runs.events_purged_at
FROM finished
INNER JOIN runstore.runs ON finished.id = runs.id
INNER JOIN runstore.run_heads ON finished.id = run_heads.run_id
ORDER BY
    finished.finished_at,
    finished.id;
