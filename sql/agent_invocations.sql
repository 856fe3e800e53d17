-- Agent invocations: one row for each call of an agent, from its start to its outcome.
-- Token counts include what their names suggest they leave out: input_tokens the cached ones,
-- output_tokens the reasoning. NULL says that the provider did not report; it is never 0 for that.
-- An invocation that has ended never changes again.

-- name: create_agent_invocation :one
-- Insert a running invocation. No row: the run does not exist, or the id is taken.
INSERT INTO runstore.agent_invocations (
    run_id,
    id,
    tenant_id,
    phase_result_id,
    parent_invocation_id,
    agent,
    provider,
    model,
    input,
    trace_id,
    span_id,
    metadata
)
SELECT
    runs.id,
    %(id)s::uuid,
    runs.tenant_id,
    %(phase_result_id)s::uuid,
    %(parent_invocation_id)s::uuid,
    %(agent)s::text,
    %(provider)s::text,
    %(model)s::text,
    %(input)s::jsonb,
    %(trace_id)s::text,
    %(span_id)s::text,
    %(metadata)s::jsonb
FROM runstore.runs
WHERE runs.id = %(run_id)s
ON CONFLICT (run_id, id) DO NOTHING
RETURNING
    run_id,
    id,
    created_at;

-- name: get_agent_invocation :one
-- Read an invocation. No row: it does not exist.
SELECT
    run_id,
    id,
    tenant_id,
    phase_result_id,
    parent_invocation_id,
    agent,
    provider,
    model,
    status,
    input,
    output,
    finish_reason,
    error,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_write_tokens,
    reasoning_tokens,
    cost_usd,
    usage_raw,
    trace_id,
    span_id,
    metadata,
    created_at,
    finished_at
FROM runstore.agent_invocations
WHERE run_id = %(run_id)s
    AND id = %(invocation_id)s;

-- name: list_agent_invocations :many
-- List a run's invocations, oldest first; of one attempt at a phase when it is named.
SELECT
    run_id,
    id,
    tenant_id,
    phase_result_id,
    parent_invocation_id,
    agent,
    provider,
    model,
    status,
    input,
    output,
    finish_reason,
    error,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_write_tokens,
    reasoning_tokens,
    cost_usd,
    usage_raw,
    trace_id,
    span_id,
    metadata,
    created_at,
    finished_at
FROM runstore.agent_invocations
WHERE run_id = %(run_id)s
    AND (%(phase_result_id)s::uuid IS NULL OR phase_result_id = %(phase_result_id)s)
    AND (
        %(after_created_at)s::timestamptz IS NULL
        OR (created_at, id) > (%(after_created_at)s, %(after_id)s::uuid)
    )
ORDER BY
    created_at,
    id
LIMIT %(row_limit)s;

-- name: complete_agent_invocation :one
-- Give a running invocation its outcome. No row: it does not exist or has ended.
-- not null: finished_at
UPDATE runstore.agent_invocations
SET
    status = %(status)s,
    output = %(output)s,
    finish_reason = %(finish_reason)s,
    error = %(error)s,
    input_tokens = %(input_tokens)s,
    output_tokens = %(output_tokens)s,
    cache_read_tokens = %(cache_read_tokens)s,
    cache_write_tokens = %(cache_write_tokens)s,
    reasoning_tokens = %(reasoning_tokens)s,
    cost_usd = %(cost_usd)s,
    usage_raw = %(usage_raw)s,
    finished_at = (SELECT clock_timestamp())
WHERE run_id = %(run_id)s
    AND id = %(invocation_id)s
    AND status = 'running'
RETURNING
    run_id,
    id,
    finished_at;
