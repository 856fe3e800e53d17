-- Phase results: one row for each attempt at a phase of a run.
-- An attempt starts as running; one that passed or failed never changes again.

-- name: create_phase_result :one
-- Insert a running attempt; without a number it is the next one of its phase.
-- No row: the run does not exist, or the id or the number is taken.
INSERT INTO runstore.phase_results (
    run_id,
    id,
    tenant_id,
    phase,
    attempt,
    input,
    metadata
)
SELECT
    runs.id,
    %(id)s::uuid,
    runs.tenant_id,
    %(phase)s::text,
    coalesce(
        %(attempt)s::integer,
        (
            SELECT coalesce(max(earlier.attempt), 0) + 1
            FROM runstore.phase_results AS earlier
            WHERE earlier.run_id = %(run_id)s
                AND earlier.phase = %(phase)s
        )
    ),
    %(input)s::jsonb,
    %(metadata)s::jsonb
FROM runstore.runs
WHERE runs.id = %(run_id)s
ON CONFLICT DO NOTHING
RETURNING
    run_id,
    id,
    created_at;

-- name: get_phase_result :one
-- Read one attempt. No row: it does not exist.
SELECT
    run_id,
    id,
    tenant_id,
    phase,
    attempt,
    status,
    input,
    output,
    error,
    metadata,
    created_at,
    finished_at
FROM runstore.phase_results
WHERE run_id = %(run_id)s
    AND id = %(phase_result_id)s;

-- name: get_phase_results :many
-- Read all attempts of a run, in the order in which they were made.
SELECT
    run_id,
    id,
    tenant_id,
    phase,
    attempt,
    status,
    input,
    output,
    error,
    metadata,
    created_at,
    finished_at
FROM runstore.phase_results
WHERE run_id = %(run_id)s
ORDER BY
    created_at,
    id;

-- name: pass_phase_result :one
-- Pass a running attempt. No row: it does not exist or has ended.
-- not null: finished_at
UPDATE runstore.phase_results
SET
    status = 'passed',
    output = %(output)s,
    finished_at = (SELECT clock_timestamp())
WHERE run_id = %(run_id)s
    AND id = %(phase_result_id)s
    AND status = 'running'
RETURNING
    run_id,
    id,
    finished_at;

-- name: fail_phase_result :one
-- Fail a running attempt. No row: it does not exist or has ended.
-- not null: finished_at
UPDATE runstore.phase_results
SET
    status = 'failed',
    output = %(output)s,
    error = %(error)s,
    finished_at = (SELECT clock_timestamp())
WHERE run_id = %(run_id)s
    AND id = %(phase_result_id)s
    AND status = 'running'
RETURNING
    run_id,
    id,
    finished_at;
