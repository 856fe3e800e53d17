-- Sandboxes: the isolated machines in which runs work, known by their provider's id.
-- A machine that several runs share has a row for each of them, and a change of its status
-- reaches all of them. A stopped or failed sandbox never changes again.

-- name: create_sandbox_record :one
-- Insert a run's row of a sandbox. No row: the run does not exist, or has the sandbox already.
INSERT INTO runstore.sandboxes (
    run_id,
    id,
    tenant_id,
    provider,
    template,
    status,
    metadata
)
SELECT
    runs.id,
    %(id)s::text,
    runs.tenant_id,
    %(provider)s::text,
    %(template)s::text,
    %(status)s::text,
    %(metadata)s::jsonb
FROM runstore.runs
WHERE runs.id = %(run_id)s
ON CONFLICT (run_id, id) DO NOTHING
RETURNING
    run_id,
    id,
    tenant_id,
    provider,
    template,
    status,
    metadata,
    created_at,
    updated_at,
    terminated_at;

-- name: get_sandbox :one
-- Read a sandbox: one run's row of it, or the newest of them. No row: there is none.
SELECT
    run_id,
    id,
    tenant_id,
    provider,
    template,
    status,
    metadata,
    created_at,
    updated_at,
    terminated_at
FROM runstore.sandboxes
WHERE id = %(sandbox_id)s
    AND (%(run_id)s::uuid IS NULL OR run_id = %(run_id)s)
ORDER BY run_id DESC
LIMIT 1;

-- name: update_sandbox_status :many
-- Change the status of a sandbox wherever it is another and not final; nothing goes back to creating.
-- No row: there is no such sandbox, it has the status, or its status does not allow the change.
UPDATE runstore.sandboxes
SET
    status = %(status)s,
    updated_at = (SELECT clock_timestamp()),
    terminated_at = CASE WHEN %(status)s IN ('stopped', 'failed') THEN (SELECT clock_timestamp()) END
WHERE id = %(sandbox_id)s
    AND status NOT IN ('stopped', 'failed')
    AND status <> %(status)s
    AND %(status)s <> 'creating'
RETURNING
    run_id,
    id,
    tenant_id,
    provider,
    template,
    status,
    metadata,
    created_at,
    updated_at,
    terminated_at;

-- name: find_open_sandbox :maybe
-- Find a run whose row of a sandbox may still change. No row: there is none.
SELECT run_id
FROM runstore.sandboxes
WHERE id = %(sandbox_id)s
    AND status NOT IN ('stopped', 'failed')
ORDER BY run_id
LIMIT 1;

-- name: find_changed_sandboxes :many
-- Find those rows of a sandbox that the last change to a status changed.
SELECT
    run_id,
    id,
    tenant_id,
    provider,
    template,
    status,
    metadata,
    created_at,
    updated_at,
    terminated_at
FROM runstore.sandboxes
WHERE id = %(sandbox_id)s
    AND status = %(status)s
    AND updated_at = (
        SELECT max(newest.updated_at)
        FROM runstore.sandboxes AS newest
        WHERE newest.id = %(sandbox_id)s
            AND newest.status = %(status)s
    )
ORDER BY run_id;
