-- Memory records: what a run carries from one phase to the next. They are never changed.

-- name: create_memory_record :one
-- Insert a memory. No row: the run does not exist, or the id is taken.
INSERT INTO runstore.memory_records (
    run_id,
    id,
    tenant_id,
    phase,
    kind,
    content,
    metadata
)
SELECT
    runs.id,
    %(id)s::uuid,
    runs.tenant_id,
    %(phase)s::text,
    %(kind)s::text,
    %(content)s::text,
    %(metadata)s::jsonb
FROM runstore.runs
WHERE runs.id = %(run_id)s
ON CONFLICT (run_id, id) DO NOTHING
RETURNING
    run_id,
    id,
    created_at;

-- name: get_memory_record :one
-- Read one memory. No row: it does not exist.
SELECT
    run_id,
    id,
    tenant_id,
    phase,
    kind,
    content,
    metadata,
    created_at
FROM runstore.memory_records
WHERE run_id = %(run_id)s
    AND id = %(memory_record_id)s;

-- name: get_memory_records :many
-- Read all memories of a run, oldest first.
SELECT
    run_id,
    id,
    tenant_id,
    phase,
    kind,
    content,
    metadata,
    created_at
FROM runstore.memory_records
WHERE run_id = %(run_id)s
ORDER BY
    created_at,
    id;
