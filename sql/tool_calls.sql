-- Tool calls: one row for each call that an agent made, written open before the tool runs and
-- finished after. A call that a crash left open can be seen and closed.
-- A finished call never changes again.

-- name: create_tool_call :one
-- Insert a call, open or already finished. No row: the invocation does not exist, or the id or the provider's id
-- is taken.
INSERT INTO runstore.tool_calls (
    run_id,
    id,
    tenant_id,
    invocation_id,
    step_id,
    provider_call_id,
    name,
    arguments,
    status,
    result,
    error,
    metadata,
    finished_at
)
SELECT
    agent_invocations.run_id,
    %(id)s::uuid,
    agent_invocations.tenant_id,
    agent_invocations.id,
    %(step_id)s::uuid,
    %(provider_call_id)s::text,
    %(name)s::text,
    %(arguments)s::jsonb,
    %(status)s::text,
    %(result)s::jsonb,
    %(error)s::jsonb,
    %(metadata)s::jsonb,
    CASE WHEN %(status)s::text <> 'open' THEN clock_timestamp() END
FROM runstore.agent_invocations
WHERE agent_invocations.run_id = %(run_id)s
    AND agent_invocations.id = %(invocation_id)s
ON CONFLICT DO NOTHING
RETURNING
    run_id,
    id,
    created_at;

-- name: create_tool_calls :many
-- Insert any number of calls of one run, all or none; an id that is taken fails all of them.
-- Answers when each was made, in the order given: the client knows the rest of its keys.
-- No row: the run does not exist.
-- not null: created_at
WITH created AS (
    INSERT INTO runstore.tool_calls (
        run_id,
        id,
        tenant_id,
        invocation_id,
        step_id,
        provider_call_id,
        name,
        arguments,
        status,
        result,
        error,
        metadata,
        finished_at
    )
    SELECT
        runs.id,
        given.id,
        runs.tenant_id,
        given.invocation_id,
        given.step_id,
        given.provider_call_id,
        given.name,
        given.arguments::jsonb,
        given.status,
        given.result::jsonb,
        given.error::jsonb,
        given.metadata::jsonb,
        CASE WHEN given.status <> 'open' THEN clock_timestamp() END
    FROM runstore.runs
    CROSS JOIN
        unnest(
            %(id)b::uuid[],
            %(invocation_id)b::uuid[],
            %(step_id)b::uuid[],
            %(provider_call_id)b::text[],
            %(name)b::text[],
            %(arguments)b::text[],
            %(status)b::text[],
            %(result)b::text[],
            %(error)b::text[],
            %(metadata)b::text[]
        ) WITH ORDINALITY
            AS given (
                id,
                invocation_id,
                step_id,
                provider_call_id,
                name,
                arguments,
                status,
                result,
                error,
                metadata,
                place
            )
    WHERE runs.id = %(run_id)s
    ORDER BY given.place
    RETURNING
        id,
        created_at
)

SELECT created.created_at
FROM unnest(%(id)b::uuid[]) WITH ORDINALITY AS given (id, place)
INNER JOIN created ON given.id = created.id
ORDER BY given.place;

-- name: get_tool_call :one
-- Read a call. No row: it does not exist.
SELECT
    run_id,
    id,
    tenant_id,
    invocation_id,
    step_id,
    provider_call_id,
    name,
    arguments,
    status,
    result,
    error,
    metadata,
    created_at,
    finished_at
FROM runstore.tool_calls
WHERE run_id = %(run_id)s
    AND id = %(tool_call_id)s;

-- name: find_tool_calls :many
-- Find those of a run's calls that have one of these ids.
SELECT
    run_id,
    id,
    tenant_id,
    invocation_id,
    step_id,
    provider_call_id,
    name,
    arguments,
    status,
    result,
    error,
    metadata,
    created_at,
    finished_at
FROM runstore.tool_calls
WHERE run_id = %(run_id)s
    AND id = ANY(%(tool_call_ids)b::uuid[]);

-- name: list_tool_calls :many
-- List a run's calls, oldest first; of one invocation when it is named.
SELECT
    run_id,
    id,
    tenant_id,
    invocation_id,
    step_id,
    provider_call_id,
    name,
    arguments,
    status,
    result,
    error,
    metadata,
    created_at,
    finished_at
FROM runstore.tool_calls
WHERE run_id = %(run_id)s
    AND (%(invocation_id)s::uuid IS NULL OR invocation_id = %(invocation_id)s)
    AND (
        %(after_created_at)s::timestamptz IS NULL
        OR (created_at, id) > (%(after_created_at)s, %(after_id)s::uuid)
    )
ORDER BY
    created_at,
    id
LIMIT %(row_limit)s;

-- name: list_open_tool_calls :many
-- List a run's open calls, oldest first.
SELECT
    run_id,
    id,
    tenant_id,
    invocation_id,
    step_id,
    provider_call_id,
    name,
    arguments,
    status,
    result,
    error,
    metadata,
    created_at,
    finished_at
FROM runstore.tool_calls
WHERE run_id = %(run_id)s
    AND status = 'open'
    AND (
        %(after_created_at)s::timestamptz IS NULL
        OR (created_at, id) > (%(after_created_at)s, %(after_id)s::uuid)
    )
ORDER BY
    created_at,
    id
LIMIT %(row_limit)s;

-- name: list_abandoned_tool_calls :many
-- List the open calls whose run has ended or has been silent for too long, oldest run first.
SELECT
    tool_calls.run_id,
    tool_calls.id,
    tool_calls.tenant_id,
    tool_calls.name,
    tool_calls.created_at,
    runs.status AS run_status,
    run_heads.heartbeat_at
FROM runstore.tool_calls
INNER JOIN runstore.runs ON tool_calls.run_id = runs.id
INNER JOIN runstore.run_heads ON tool_calls.run_id = run_heads.run_id
WHERE tool_calls.status = 'open'
    AND (run_heads.closed OR run_heads.heartbeat_at < now() - %(silent_for)s::interval)
    AND (
        %(after_run_id)s::uuid IS NULL
        OR (tool_calls.run_id, tool_calls.id) > (%(after_run_id)s, %(after_id)s::uuid)
    )
ORDER BY
    tool_calls.run_id,
    tool_calls.id
LIMIT %(row_limit)s;

-- name: finish_tool_call :one
-- Finish an open call. No row: it does not exist or is finished.
-- not null: finished_at
UPDATE runstore.tool_calls
SET
    status = %(status)s,
    result = %(result)s,
    error = %(error)s,
    finished_at = (SELECT clock_timestamp())
WHERE run_id = %(run_id)s
    AND id = %(tool_call_id)s
    AND status = 'open'
RETURNING
    run_id,
    id,
    finished_at;

-- name: close_open_tool_calls :many
-- Close a run's open calls as unknown, with the reason as their error.
-- not null: finished_at
UPDATE runstore.tool_calls
SET
    status = 'unknown',
    error = %(error)s,
    finished_at = (SELECT clock_timestamp())
WHERE run_id = %(run_id)s
    AND status = 'open'
RETURNING
    run_id,
    id,
    finished_at;
