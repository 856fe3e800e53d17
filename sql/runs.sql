-- Runs of either kind: what they share, and finding them; how chat runs begin.

-- name: create_run :one
-- Insert a pending chat run with its head. No row: its id or its idempotency key is taken, or
-- another exclusive run of its thread is active.
WITH run AS (
    INSERT INTO runstore.runs (
        id,
        tenant_id,
        kind,
        name,
        thread_id,
        subject_id,
        status,
        input,
        exclusive,
        idempotency_key,
        parent_run_id,
        trace_id,
        metadata
    )
    VALUES (
        %(id)s,
        coalesce(%(tenant_id)s::text, runstore.current_tenant_id()),
        'chat',
        %(name)s,
        %(thread_id)s,
        %(subject_id)s,
        'pending',
        %(input)s,
        %(exclusive)s,
        %(idempotency_key)s,
        %(parent_run_id)s,
        %(trace_id)s,
        %(metadata)s
    )
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
    INSERT INTO runstore.run_heads (run_id)
    SELECT run.id
    FROM run
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

-- name: find_created_run :maybe
-- Find the run that stands in the way of a create: by its id, else by its idempotency key, else
-- the active exclusive run of its thread.
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
    OR (
        %(exclusive)s
        AND tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
        AND thread_id = %(thread_id)s
        AND exclusive
        AND status IN ('pending', 'running')
    )
ORDER BY
    id <> %(id)s,
    idempotency_key IS DISTINCT FROM %(idempotency_key)s
LIMIT 1;

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
    AND (%(parent_run_id)s::uuid IS NULL OR parent_run_id = %(parent_run_id)s)
    AND (%(before_id)s::uuid IS NULL OR id < %(before_id)s)
ORDER BY id DESC
LIMIT %(row_limit)s;

-- name: find_runs_between :many
-- Find the newest two runs, of any tenant, whose ids lie between two.
SELECT
    id,
    tenant_id,
    kind,
    name,
    status,
    created_at
FROM runstore.runs
WHERE id BETWEEN %(first_id)s AND %(last_id)s
ORDER BY id DESC
LIMIT 2;

-- name: delete_run :one
-- Delete a run that has ended, with all that hangs off it and the holds on it that have expired.
-- No row: it does not exist or is active.
WITH run AS (
    DELETE FROM runstore.runs
    WHERE id = %(run_id)s
        AND status IN ('completed', 'failed', 'cancelled')
    RETURNING id
),

expired_hold AS (
    DELETE FROM runstore.run_holds
    USING run
    WHERE run_holds.run_id = %(run_id)s
        AND run_holds.run_id = run.id
        AND run_holds.expires_at <= now()
)

SELECT run.id
FROM run;
