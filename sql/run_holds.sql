-- Run holds: reasons to keep a run. While a run has one that has not expired, no delete gets past
-- it, and nothing of it is purged or erased. Each reason is a row, and is released by itself.

-- name: hold_run :one
-- Keep a run for a reason, or say anew until when and for whom. No row: the run does not exist.
INSERT INTO runstore.run_holds (run_id, reason, tenant_id, held_by, expires_at)
SELECT
    runs.id,
    %(reason)s::text,
    runs.tenant_id,
    %(held_by)s::text,
    %(expires_at)s::timestamptz
FROM runstore.runs
WHERE runs.id = %(run_id)s
FOR KEY SHARE OF runs
ON CONFLICT (run_id, reason) DO UPDATE
    SET
        held_by = excluded.held_by,
        expires_at = excluded.expires_at
RETURNING
    run_id,
    reason,
    tenant_id,
    held_by,
    expires_at,
    created_at;

-- name: release_run_hold :one
-- Delete one reason to keep a run. No row: there is none of this name.
DELETE FROM runstore.run_holds
WHERE run_id = %(run_id)s
    AND reason = %(reason)s
RETURNING
    run_id,
    reason,
    tenant_id,
    held_by,
    expires_at,
    created_at;

-- name: list_run_holds :many
-- List a tenant's holds, or those of one run, by run and reason; those that have expired too.
SELECT
    run_id,
    reason,
    tenant_id,
    held_by,
    expires_at,
    created_at
FROM runstore.run_holds
WHERE tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
    AND (%(run_id)s::uuid IS NULL OR run_id = %(run_id)s)
    AND (
        %(after_run_id)s::uuid IS NULL
        OR (run_id, reason) > (%(after_run_id)s, %(after_reason)s::text)
    )
ORDER BY
    run_id,
    reason
LIMIT %(row_limit)s;
