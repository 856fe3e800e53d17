-- Agent steps: what an invocation thought, said and did, in its order.
-- A step is recorded when it is done, or opened first and finished later;
-- a finished step never changes again.

-- name: create_agent_step :one
-- Insert a step; without a position it is the next one of its invocation.
-- No row: the invocation does not exist, or the id or the position is taken.
INSERT INTO runstore.agent_steps (
    run_id,
    id,
    tenant_id,
    invocation_id,
    position,
    kind,
    content,
    tokens,
    metadata,
    finished_at
)
SELECT
    agent_invocations.run_id,
    %(id)s::uuid,
    agent_invocations.tenant_id,
    agent_invocations.id,
    coalesce(
        %(position)s::integer,
        (
            SELECT coalesce(max(earlier.position), 0) + 1
            FROM runstore.agent_steps AS earlier
            WHERE earlier.run_id = %(run_id)s
                AND earlier.invocation_id = %(invocation_id)s
        )
    ),
    %(kind)s::text,
    %(content)s::jsonb,
    %(tokens)s::bigint,
    %(metadata)s::jsonb,
    CASE WHEN %(finished)s::boolean THEN clock_timestamp() END
FROM runstore.agent_invocations
WHERE agent_invocations.run_id = %(run_id)s
    AND agent_invocations.id = %(invocation_id)s
ON CONFLICT DO NOTHING
RETURNING
    run_id,
    id,
    created_at;

-- name: create_agent_steps :many
-- Insert any number of steps of one run, all or none; those without a position follow the last
-- one of their invocation in the order given. An id that is taken fails all of them.
-- Answers when each was made, in the order given: the client knows the rest of its keys.
-- No row: the run does not exist.
-- not null: created_at
WITH given AS (
    SELECT
        given.id,
        given.invocation_id,
        given.position,
        given.kind,
        given.content,
        given.tokens,
        given.metadata,
        given.finished,
        given.place
    FROM
        unnest(
            %(id)b::uuid[],
            %(invocation_id)b::uuid[],
            %(position)b::integer[],
            %(kind)b::text[],
            %(content)b::text[],
            %(tokens)b::bigint[],
            %(metadata)b::text[],
            %(finished)b::boolean[]
        ) WITH ORDINALITY
            AS given (id, invocation_id, position, kind, content, tokens, metadata, finished, place)
),

last_position AS (
    SELECT
        placed.invocation_id,
        greatest(placed.position, stored.position, 0) AS position
    FROM (
        SELECT
            invocation_id,
            max(position) AS position
        FROM given
        GROUP BY invocation_id
    ) AS placed
    LEFT JOIN LATERAL (
        SELECT agent_steps.position
        FROM runstore.agent_steps
        WHERE agent_steps.run_id = %(run_id)s
            AND agent_steps.invocation_id = placed.invocation_id
        ORDER BY agent_steps.position DESC
        LIMIT 1
    ) AS stored ON true
),

created AS (
    INSERT INTO runstore.agent_steps (
        run_id,
        id,
        tenant_id,
        invocation_id,
        position,
        kind,
        content,
        tokens,
        metadata,
        finished_at
    )
    SELECT
        runs.id,
        given.id,
        runs.tenant_id,
        given.invocation_id,
        coalesce(
            given.position,
            last_position.position
            + row_number() OVER (PARTITION BY given.invocation_id, given.position IS NULL ORDER BY given.place)
        ),
        given.kind,
        given.content::jsonb,
        given.tokens,
        given.metadata::jsonb,
        CASE WHEN given.finished THEN clock_timestamp() END
    FROM runstore.runs
    CROSS JOIN given
    INNER JOIN last_position ON given.invocation_id = last_position.invocation_id
    WHERE runs.id = %(run_id)s
    ORDER BY given.place
    RETURNING
        id,
        created_at
)

SELECT created.created_at
FROM given
INNER JOIN created ON given.id = created.id
ORDER BY given.place;

-- name: get_agent_step :one
-- Read a step. No row: it does not exist.
SELECT
    run_id,
    id,
    tenant_id,
    invocation_id,
    position,
    kind,
    content,
    tokens,
    metadata,
    created_at,
    finished_at
FROM runstore.agent_steps
WHERE run_id = %(run_id)s
    AND id = %(step_id)s;

-- name: find_agent_steps :many
-- Find those of a run's steps that have one of these ids.
SELECT
    run_id,
    id,
    tenant_id,
    invocation_id,
    position,
    kind,
    content,
    tokens,
    metadata,
    created_at,
    finished_at
FROM runstore.agent_steps
WHERE run_id = %(run_id)s
    AND id = ANY(%(step_ids)b::uuid[]);

-- name: list_agent_steps :many
-- List an invocation's steps by position.
SELECT
    run_id,
    id,
    tenant_id,
    invocation_id,
    position,
    kind,
    content,
    tokens,
    metadata,
    created_at,
    finished_at
FROM runstore.agent_steps
WHERE run_id = %(run_id)s
    AND invocation_id = %(invocation_id)s
    AND position > coalesce(%(after_position)s::bigint, -1)
ORDER BY position
LIMIT %(row_limit)s;

-- name: finish_agent_step :one
-- Finish an open step; a content or a count of tokens that is given replaces what it was opened with.
-- No row: it does not exist or is finished.
-- not null: finished_at
UPDATE runstore.agent_steps
SET
    content = coalesce(%(content)s::jsonb, content),
    tokens = coalesce(%(tokens)s::bigint, tokens),
    finished_at = (SELECT clock_timestamp())
WHERE run_id = %(run_id)s
    AND id = %(step_id)s
    AND finished_at IS NULL
RETURNING
    run_id,
    id,
    finished_at;
