-- Snapshots: saved states of a sandbox, known by their provider's id.

-- name: create_snapshot_record :one
-- Insert a snapshot. No row: its run has no such sandbox, or has the snapshot already.
INSERT INTO runstore.snapshots (
    run_id,
    id,
    tenant_id,
    sandbox_id,
    phase,
    parent_snapshot_id,
    size_bytes,
    metadata
)
SELECT
    sandboxes.run_id,
    %(id)s::text,
    sandboxes.tenant_id,
    sandboxes.id,
    %(phase)s::text,
    %(parent_snapshot_id)s::text,
    %(size_bytes)s::bigint,
    %(metadata)s::jsonb
FROM runstore.sandboxes
WHERE sandboxes.run_id = %(run_id)s
    AND sandboxes.id = %(sandbox_id)s
ON CONFLICT (run_id, id) DO NOTHING
RETURNING
    run_id,
    id,
    tenant_id,
    sandbox_id,
    phase,
    parent_snapshot_id,
    size_bytes,
    metadata,
    created_at;

-- name: get_snapshot :one
-- Read a snapshot of a run. No row: there is none.
SELECT
    run_id,
    id,
    tenant_id,
    sandbox_id,
    phase,
    parent_snapshot_id,
    size_bytes,
    metadata,
    created_at
FROM runstore.snapshots
WHERE run_id = %(run_id)s
    AND id = %(snapshot_id)s;

-- name: list_snapshots :many
-- List a run's snapshots, oldest first; of one sandbox when it is named.
SELECT
    run_id,
    id,
    tenant_id,
    sandbox_id,
    phase,
    parent_snapshot_id,
    size_bytes,
    metadata,
    created_at
FROM runstore.snapshots
WHERE run_id = %(run_id)s
    AND (%(sandbox_id)s::text IS NULL OR sandbox_id = %(sandbox_id)s)
    AND (
        %(after_created_at)s::timestamptz IS NULL
        OR (created_at, id) > (%(after_created_at)s, %(after_id)s::text)
    )
ORDER BY
    created_at,
    id
LIMIT %(row_limit)s;
