-- Calls to action: questions that a run asks a person. One is pending until the first of an
-- answer, a time-out and a cancellation; from then on it never changes again.

-- name: create_cta_event :one
-- Insert a pending question. No row: the run does not exist, the id is taken, or the tool call has a pending
-- question.
INSERT INTO runstore.cta_events (
    run_id,
    id,
    tenant_id,
    phase,
    kind,
    invocation_id,
    tool_call_id,
    request,
    expires_at,
    metadata
)
SELECT
    runs.id,
    %(id)s::uuid,
    runs.tenant_id,
    %(phase)s::text,
    %(kind)s::text,
    %(invocation_id)s::uuid,
    %(tool_call_id)s::uuid,
    %(request)s::jsonb,
    %(expires_at)s::timestamptz,
    %(metadata)s::jsonb
FROM runstore.runs
WHERE runs.id = %(run_id)s
ON CONFLICT DO NOTHING
RETURNING
    run_id,
    id,
    created_at;

-- name: get_cta_event :one
-- Read a question. No row: it does not exist.
SELECT
    run_id,
    id,
    tenant_id,
    phase,
    kind,
    invocation_id,
    tool_call_id,
    request,
    status,
    response_data,
    expires_at,
    resolved_by,
    metadata,
    created_at,
    resolved_at
FROM runstore.cta_events
WHERE run_id = %(run_id)s
    AND id = %(cta_id)s;

-- name: list_cta_events :many
-- List a tenant's pending questions, oldest first.
SELECT
    run_id,
    id,
    tenant_id,
    phase,
    kind,
    invocation_id,
    tool_call_id,
    request,
    status,
    response_data,
    expires_at,
    resolved_by,
    metadata,
    created_at,
    resolved_at
FROM runstore.cta_events
WHERE tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
    AND status = 'pending'
    AND (
        %(after_created_at)s::timestamptz IS NULL
        OR (created_at, id) > (%(after_created_at)s, %(after_id)s::uuid)
    )
ORDER BY
    created_at,
    id
LIMIT %(row_limit)s;

-- name: complete_cta_event :one
-- Answer a pending question. No row: it does not exist or is not pending.
-- not null: finished_at
UPDATE runstore.cta_events
SET
    status = 'completed',
    response_data = %(response_data)s,
    resolved_by = %(resolved_by)s,
    resolved_at = (SELECT clock_timestamp())
WHERE run_id = %(run_id)s
    AND id = %(cta_id)s
    AND status = 'pending'
RETURNING
    run_id,
    id,
    resolved_at AS finished_at;

-- name: timeout_cta_event :one
-- Give up on a pending question. No row: it does not exist or is not pending.
-- not null: finished_at
UPDATE runstore.cta_events
SET
    status = 'timed_out',
    resolved_at = (SELECT clock_timestamp())
WHERE run_id = %(run_id)s
    AND id = %(cta_id)s
    AND status = 'pending'
RETURNING
    run_id,
    id,
    resolved_at AS finished_at;

-- name: cancel_cta_event :one
-- Withdraw a pending question. No row: it does not exist or is not pending.
-- not null: finished_at
UPDATE runstore.cta_events
SET
    status = 'cancelled',
    resolved_by = %(resolved_by)s,
    resolved_at = (SELECT clock_timestamp())
WHERE run_id = %(run_id)s
    AND id = %(cta_id)s
    AND status = 'pending'
RETURNING
    run_id,
    id,
    resolved_at AS finished_at;

-- name: expire_cta_events :many
-- Give up on every overdue question. One that is being answered at this moment is left to its answer.
-- not null: finished_at
WITH overdue AS (
    SELECT
        run_id,
        id
    FROM runstore.cta_events
    WHERE status = 'pending'
        AND expires_at <= now()
    ORDER BY
        run_id,
        id
    FOR UPDATE SKIP LOCKED
)

UPDATE runstore.cta_events
SET
    status = 'timed_out',
    resolved_at = (SELECT clock_timestamp())
FROM overdue
WHERE cta_events.run_id = overdue.run_id
    AND cta_events.id = overdue.id
RETURNING
    cta_events.run_id,
    cta_events.id,
    cta_events.resolved_at AS finished_at;
