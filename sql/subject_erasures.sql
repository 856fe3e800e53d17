-- Subject erasures: removing a person from the record, and blanking what has to stay.
-- Locks are those of run_removals.sql: a batch passes over what somebody else has locked, and waits
-- for nothing else for longer than a moment.

-- name: adopt_runs :one
-- Give a subject the runs without one that its runs started or that were forked from them, and
-- count them. One level at a time: those that they started follow with the next call.
-- not null: row_count
WITH follower AS MATERIALIZED (
    SELECT child.id
    FROM runstore.runs AS own
    INNER JOIN runstore.runs AS child ON own.id = child.parent_run_id
    WHERE own.tenant_id = runstore.current_tenant_id()
        AND own.subject_id = %(subject_id)s
        AND child.tenant_id = own.tenant_id
        AND child.subject_id IS NULL
    UNION
    SELECT fork.id
    FROM runstore.runs AS own
    INNER JOIN runstore.runs AS fork ON own.id = fork.forked_from_run_id
    WHERE own.tenant_id = runstore.current_tenant_id()
        AND own.subject_id = %(subject_id)s
        AND fork.subject_id IS NULL
    LIMIT %(row_limit)s
),

locked AS MATERIALIZED (
    SELECT runs.id
    FROM follower
    INNER JOIN runstore.runs ON follower.id = runs.id
    WHERE runs.subject_id IS NULL
    ORDER BY runs.id
    FOR NO KEY UPDATE OF runs SKIP LOCKED
),

adopted AS (
    UPDATE runstore.runs
    SET subject_id = %(subject_id)s
    FROM locked
    WHERE runs.id = locked.id
    RETURNING runs.id
)

SELECT count(*) AS row_count
FROM adopted;

-- name: list_subject_runs :many
-- List a subject's runs, newest first, so that forks come before what they were forked from.
-- not null: gone_seq
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
    run_heads.closed
FROM runstore.runs
INNER JOIN runstore.run_heads ON runs.id = run_heads.run_id
WHERE runs.tenant_id = runstore.current_tenant_id()
    AND runs.subject_id = %(subject_id)s
    AND (%(before_id)s::uuid IS NULL OR runs.id < %(before_id)s)
ORDER BY runs.id DESC
LIMIT %(row_limit)s;

-- name: blank_run_events :one
-- Blank the payloads of a stretch of a run's own events, and count them. The run is locked.
-- not null: row_count
WITH event AS (
    UPDATE runstore.run_events
    SET payload = '{}'
    WHERE run_id = %(run_id)s
        AND seq > %(after_seq)s
        AND seq <= %(to_seq)s
        AND payload <> '{}'
    RETURNING seq
)

SELECT count(*) AS row_count
FROM event;

-- name: blank_run :one
-- Blank what a run says of the person it was for. The run is locked. No row: it does not exist.
UPDATE runstore.runs
SET
    name = CASE WHEN kind = 'feature' THEN 'erased' END,
    thread_id = NULL,
    subject_id = NULL,
    input = NULL,
    output = NULL,
    error = NULL,
    exclusive = false,
    idempotency_key = NULL,
    trace_id = NULL,
    metadata = '{}'
WHERE id = %(run_id)s
RETURNING id;

-- name: blank_answers :one
-- Blank a subject's name in calls to action that it answered, but in runs that a hold keeps, and
-- count them.
-- not null: row_count
WITH locked AS MATERIALIZED (
    SELECT
        run_id,
        id
    FROM runstore.cta_events
    WHERE tenant_id = runstore.current_tenant_id()
        AND resolved_by = %(subject_id)s
        AND NOT EXISTS (
            SELECT FROM runstore.run_holds
            WHERE run_holds.run_id = cta_events.run_id
                AND (run_holds.expires_at IS NULL OR run_holds.expires_at > now())
        )
    ORDER BY
        run_id,
        id
    LIMIT %(row_limit)s
    FOR NO KEY UPDATE SKIP LOCKED
),

answer AS (
    UPDATE runstore.cta_events
    SET resolved_by = NULL
    FROM locked
    WHERE cta_events.run_id = locked.run_id
        AND cta_events.id = locked.id
    RETURNING cta_events.id
)

SELECT count(*) AS row_count
FROM answer;

-- name: count_subject_rows :many
-- Count what still has a subject's name, but for its runs, by table and by whether a hold keeps it. Of
-- reservations these are the open
-- ones, those given, and those that ended since a time, or ever.
-- not null: table_name, held, row_count
SELECT
    'cta_events' AS table_name,
    answer.held,
    count(*) AS row_count
FROM (
    SELECT
        run_id IN (
            SELECT run_holds.run_id FROM runstore.run_holds
            WHERE run_holds.run_id = cta_events.run_id
                AND (run_holds.expires_at IS NULL OR run_holds.expires_at > now())
        ) AS held
    FROM runstore.cta_events
    WHERE tenant_id = runstore.current_tenant_id()
        AND resolved_by = %(subject_id)s
) AS answer
GROUP BY answer.held
UNION ALL
SELECT
    'quotas' AS table_name,
    false AS held,
    count(*) AS row_count
FROM runstore.quotas
WHERE tenant_id = runstore.current_tenant_id()
    AND subject_id = %(subject_id)s
UNION ALL
SELECT
    'usage_logs' AS table_name,
    false AS held,
    count(*) AS row_count
FROM runstore.usage_logs
WHERE tenant_id = runstore.current_tenant_id()
    AND subject_id = %(subject_id)s
UNION ALL
SELECT
    'usage_reservations' AS table_name,
    false AS held,
    count(*) AS row_count
FROM (
    SELECT id
    FROM runstore.usage_reservations
    WHERE tenant_id = runstore.current_tenant_id()
        AND subject_id = %(subject_id)s
        AND status = 'held'
    UNION
    SELECT id
    FROM runstore.usage_reservations
    WHERE id = ANY(%(reservation_ids)s::uuid[])
        AND tenant_id = runstore.current_tenant_id()
        AND subject_id = %(subject_id)s
    UNION
    SELECT id
    FROM runstore.usage_reservations
    WHERE tenant_id = runstore.current_tenant_id()
        AND finished_at >= coalesce(%(ended_since)s::timestamptz, '-infinity')
        AND subject_id = %(subject_id)s
) AS reservation;
