-- Run forks: runs that go on from an event of another run. A fork refers to the events up to
-- there (run_segments) and copies none; its own events go on with the next number. One that was restored
-- has no segments: the events that it shared are its own.

-- name: fork_run :one
-- Insert a fork with its head and its segments. No row: the run does not exist, has fewer events
-- or some that are purged, the fork's id or idempotency key is taken, or another exclusive run of its thread is active.
WITH origin AS MATERIALIZED (
    SELECT
        runs.id,
        runs.tenant_id,
        runs.kind,
        runs.name,
        runs.phase,
        (
            SELECT coalesce(max(run_segments.to_seq), 0) FROM runstore.run_segments
            WHERE run_segments.run_id = %(run_id)s
        ) AS shared_seq
    FROM runstore.runs
    INNER JOIN runstore.run_heads ON runs.id = run_heads.run_id
    WHERE runs.id = %(run_id)s
        AND run_heads.run_id = %(run_id)s
        AND run_heads.last_seq >= %(at_seq)s
        AND runs.purged_seq IS NULL
    FOR KEY SHARE OF runs
),

run AS (
    INSERT INTO runstore.runs (
        id,
        tenant_id,
        kind,
        name,
        thread_id,
        subject_id,
        phase,
        status,
        input,
        exclusive,
        idempotency_key,
        parent_run_id,
        forked_from_run_id,
        forked_at_seq,
        trace_id,
        metadata,
        started_at
    )
    SELECT
        %(id)s::uuid,
        origin.tenant_id,
        origin.kind,
        coalesce(%(name)s::text, origin.name),
        %(thread_id)s::text,
        %(subject_id)s::text,
        origin.phase,
        CASE origin.kind WHEN 'feature' THEN 'running' ELSE 'pending' END,
        %(input)s::jsonb,
        %(exclusive)s::boolean,
        %(idempotency_key)s::text,
        %(parent_run_id)s::uuid,
        origin.id,
        %(at_seq)s::bigint,
        %(trace_id)s::text,
        %(metadata)s::jsonb,
        CASE origin.kind WHEN 'feature' THEN clock_timestamp() END
    FROM origin
    ON CONFLICT DO NOTHING
    RETURNING
        id,
        tenant_id,
        kind,
        name,
        thread_id,
        subject_id,
        phase,
        status,
        input,
        output,
        error,
        exclusive,
        idempotency_key,
        parent_run_id,
        forked_from_run_id,
        forked_at_seq,
        trace_id,
        metadata,
        created_at,
        started_at,
        updated_at,
        cancel_requested_at,
        finished_at
),

head AS (
    INSERT INTO runstore.run_heads (run_id, last_seq)
    SELECT
        run.id,
        run.forked_at_seq
    FROM run
),

segment AS (
    INSERT INTO runstore.run_segments (run_id, source_run_id, from_seq, to_seq)
    SELECT
        run.id,
        run_segments.source_run_id,
        run_segments.from_seq,
        least(run_segments.to_seq, run.forked_at_seq)
    FROM run
    INNER JOIN runstore.run_segments ON run.forked_from_run_id = run_segments.run_id
    WHERE run_segments.run_id = %(run_id)s
        AND run_segments.from_seq <= run.forked_at_seq
    UNION ALL
    SELECT
        run.id,
        origin.id,
        origin.shared_seq + 1,
        run.forked_at_seq
    FROM run
    CROSS JOIN origin
    WHERE run.forked_at_seq > origin.shared_seq
)

SELECT
    run.id,
    run.tenant_id,
    run.kind,
    run.name,
    run.thread_id,
    run.subject_id,
    run.phase,
    run.status,
    run.input,
    run.output,
    run.error,
    run.exclusive,
    run.idempotency_key,
    run.parent_run_id,
    run.forked_from_run_id,
    run.forked_at_seq,
    run.trace_id,
    run.metadata,
    run.created_at,
    run.started_at,
    run.updated_at,
    run.cancel_requested_at,
    run.finished_at
FROM run;

-- name: list_forks :many
-- List a run's direct forks, oldest first; a run id starts with its time.
SELECT
    id,
    tenant_id,
    kind,
    name,
    thread_id,
    subject_id,
    phase,
    status,
    input,
    output,
    error,
    exclusive,
    idempotency_key,
    parent_run_id,
    forked_from_run_id,
    forked_at_seq,
    trace_id,
    metadata,
    created_at,
    started_at,
    updated_at,
    cancel_requested_at,
    finished_at
FROM runstore.runs
WHERE forked_from_run_id = %(run_id)s
    AND (%(after_id)s::uuid IS NULL OR id > %(after_id)s)
ORDER BY id
LIMIT %(row_limit)s;
