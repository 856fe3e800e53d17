-- Runs of either kind: what they share, and finding them.
-- A run in a final status (completed, failed, cancelled) never changes again.

-- name: get_run :one
-- Read a run. No row: it does not exist.
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
WHERE id = %(run_id)s;

-- name: find_created_run :maybe
-- Find the run that stands in the way of a create: by its id, else by its idempotency key.
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
WHERE id = %(id)s
    OR (
        tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
        AND idempotency_key = %(idempotency_key)s
    )
ORDER BY id <> %(id)s
LIMIT 1;

-- name: list_runs :many
-- List a tenant's runs, newest first; a run id starts with its time.
-- It is planned for its filters each time, so that each of them finds its index.
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
WHERE tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
    AND (%(kind)s::text IS NULL OR kind = %(kind)s)
    AND (%(status)s::text IS NULL OR status = %(status)s)
    AND (%(thread_id)s::text IS NULL OR thread_id = %(thread_id)s)
    AND (%(subject_id)s::text IS NULL OR subject_id = %(subject_id)s)
    AND (%(name)s::text IS NULL OR name = %(name)s)
    AND (%(before_id)s::uuid IS NULL OR id < %(before_id)s)
ORDER BY id DESC
LIMIT %(row_limit)s;

-- name: cancel_run :one
-- Cancel a run that has not ended. No row: it does not exist or has ended.
WITH head AS (
    UPDATE runstore.run_heads
    SET
        last_seq = last_seq + 1,
        closed = true,
        heartbeat_at = (SELECT clock_timestamp())
    WHERE run_id = %(run_id)s
        AND NOT closed
    RETURNING
        run_id,
        last_seq
),

run AS (
    UPDATE runstore.runs
    SET
        status = 'cancelled',
        error = %(error)s,
        updated_at = (SELECT clock_timestamp()),
        finished_at = (SELECT clock_timestamp())
    FROM head
    WHERE runs.id = %(run_id)s
        AND runs.id = head.run_id
    RETURNING
        runs.id,
        runs.status,
        runs.phase,
        runs.updated_at
),

event AS (
    INSERT INTO runstore.run_events (run_id, seq, type)
    SELECT
        head.run_id,
        head.last_seq,
        'run.cancelled'
    FROM head
)

SELECT
    run.id,
    run.status,
    run.phase,
    head.last_seq,
    run.updated_at
FROM run
CROSS JOIN head;

-- name: heartbeat_run :one
-- Say that a run's worker is alive, and hear whether the run should stop.
-- No row: the run does not exist or has ended.
UPDATE runstore.run_heads
SET heartbeat_at = (SELECT clock_timestamp())
FROM runstore.runs
WHERE run_heads.run_id = %(run_id)s
    AND NOT run_heads.closed
    AND runs.id = %(run_id)s
RETURNING
    run_heads.run_id,
    run_heads.heartbeat_at,
    runs.cancel_requested_at;

-- name: list_stalled_runs :many
-- List a tenant's running runs that have given no sign of life for a while, longest silent first.
SELECT
    runs.id,
    runs.tenant_id,
    runs.kind,
    runs.name,
    runs.thread_id,
    runs.phase,
    runs.started_at,
    run_heads.heartbeat_at
FROM runstore.runs
INNER JOIN runstore.run_heads ON runs.id = run_heads.run_id
WHERE runs.tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
    AND runs.status = 'running'
    AND run_heads.heartbeat_at < now() - %(silent_for)s::interval
    AND (
        %(after_heartbeat_at)s::timestamptz IS NULL
        OR (run_heads.heartbeat_at, runs.id) > (%(after_heartbeat_at)s, %(after_id)s::uuid)
    )
ORDER BY
    run_heads.heartbeat_at,
    runs.id
LIMIT %(row_limit)s;
