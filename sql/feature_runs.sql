-- Feature runs: runs of a pipeline. One starts as running, moves through its phases and ends.
-- Every change locks the run's head first, takes the next number there and writes its own
-- event, all in one statement: the log and the status cannot disagree.
-- A head that is closed belongs to a run in a final status, which never changes again.

-- name: create_feature_run :one
-- Insert a running feature run with its head and its first event.
-- No row: its id or its idempotency key is taken, or another exclusive run of its thread is active.
WITH run AS (
    INSERT INTO runstore.runs (
        id,
        tenant_id,
        kind,
        name,
        thread_id,
        subject_id,
        phase,
        status,
        input,
        exclusive,
        idempotency_key,
        parent_run_id,
        trace_id,
        metadata,
        started_at
    )
    VALUES (
        %(id)s,
        coalesce(%(tenant_id)s::text, runstore.current_tenant_id()),
        'feature',
        %(name)s,
        %(thread_id)s,
        %(subject_id)s,
        %(phase)s,
        'running',
        %(input)s,
        %(exclusive)s,
        %(idempotency_key)s,
        %(parent_run_id)s,
        %(trace_id)s,
        %(metadata)s,
        clock_timestamp()
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
    INSERT INTO runstore.run_heads (run_id, last_seq)
    SELECT
        run.id,
        1
    FROM run
),

event AS (
    INSERT INTO runstore.run_events (run_id, seq, type, payload)
    SELECT
        run.id,
        1,
        'run.started',
        jsonb_build_object('phase', run.phase)
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

-- name: update_feature_run_phase :one
-- Move a running feature run to another phase. No row: it does not exist, has ended, or is in that
-- phase.
WITH locked AS MATERIALIZED (
    SELECT run_id
    FROM runstore.run_heads
    WHERE run_id = %(run_id)s
        AND NOT closed
    FOR UPDATE
),

run AS (
    UPDATE runstore.runs
    SET
        phase = %(phase)s,
        updated_at = (SELECT clock_timestamp())
    FROM locked
    WHERE runs.id = %(run_id)s
        AND runs.id = locked.run_id
        AND runs.kind = 'feature'
        AND runs.phase IS DISTINCT FROM %(phase)s
    RETURNING
        runs.id,
        runs.status,
        runs.phase,
        runs.updated_at
),

head AS (
    UPDATE runstore.run_heads
    SET
        last_seq = run_heads.last_seq + 1,
        heartbeat_at = (SELECT clock_timestamp())
    FROM run
    WHERE run_heads.run_id = %(run_id)s
        AND run_heads.run_id = run.id
    RETURNING
        run_heads.run_id,
        run_heads.last_seq
),

event AS (
    INSERT INTO runstore.run_events (run_id, seq, type, payload)
    SELECT
        head.run_id,
        head.last_seq,
        'run.phase_changed',
        jsonb_build_object('phase', %(phase)s::text)
    FROM head
)

SELECT
    run.id,
    run.status,
    run.phase,
    head.last_seq,
    run.updated_at
FROM run
CROSS JOIN head;

-- name: advance_feature_run :one
-- Move a running feature run to another phase, together with the tool calls of the one that it
-- leaves; an id that is taken fails all of it. No row: the run does not exist or has ended.
WITH head AS (
    UPDATE runstore.run_heads
    SET
        last_seq = run_heads.last_seq + 1,
        heartbeat_at = (SELECT clock_timestamp())
    FROM runstore.runs
    WHERE run_heads.run_id = %(run_id)s
        AND NOT run_heads.closed
        AND runs.id = %(run_id)s
        AND runs.kind = 'feature'
    RETURNING
        run_heads.run_id,
        run_heads.last_seq
),

run AS (
    UPDATE runstore.runs
    SET
        phase = %(phase)s,
        updated_at = (SELECT clock_timestamp())
    FROM head
    WHERE runs.id = %(run_id)s
        AND runs.id = head.run_id
    RETURNING
        runs.id,
        runs.tenant_id,
        runs.status,
        runs.phase,
        runs.updated_at
),

event AS (
    INSERT INTO runstore.run_events (run_id, seq, type, payload)
    SELECT
        head.run_id,
        head.last_seq,
        'run.phase_changed',
        jsonb_build_object('phase', %(phase)s::text)
    FROM head
),

tool_call AS (
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
        run.id,
        given.id,
        run.tenant_id,
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
    FROM run
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
    ORDER BY given.place
)

SELECT
    run.id,
    run.status,
    run.phase,
    head.last_seq,
    run.updated_at
FROM run
CROSS JOIN head;

-- name: complete_feature_run :one
-- Complete a running feature run. No row: it does not exist or has ended.
WITH head AS (
    UPDATE runstore.run_heads
    SET
        last_seq = run_heads.last_seq + 1,
        closed = true,
        heartbeat_at = (SELECT clock_timestamp())
    FROM runstore.runs
    WHERE run_heads.run_id = %(run_id)s
        AND NOT run_heads.closed
        AND runs.id = %(run_id)s
        AND runs.kind = 'feature'
    RETURNING
        run_heads.run_id,
        run_heads.last_seq
),

run AS (
    UPDATE runstore.runs
    SET
        status = 'completed',
        output = %(output)s,
        updated_at = (SELECT clock_timestamp()),
        finished_at = (SELECT clock_timestamp())
    FROM head
    WHERE runs.id = %(run_id)s
        AND runs.id = head.run_id
    RETURNING
        runs.id,
        runs.status,
        runs.phase,
        runs.updated_at
),

event AS (
    INSERT INTO runstore.run_events (run_id, seq, type, append_size)
    SELECT
        head.run_id,
        head.last_seq,
        'run.completed',
        1
    FROM head
)

SELECT
    run.id,
    run.status,
    run.phase,
    head.last_seq,
    run.updated_at
FROM run
CROSS JOIN head;

-- name: fail_feature_run :one
-- Fail a running feature run. No row: it does not exist or has ended.
WITH head AS (
    UPDATE runstore.run_heads
    SET
        last_seq = run_heads.last_seq + 1,
        closed = true,
        heartbeat_at = (SELECT clock_timestamp())
    FROM runstore.runs
    WHERE run_heads.run_id = %(run_id)s
        AND NOT run_heads.closed
        AND runs.id = %(run_id)s
        AND runs.kind = 'feature'
    RETURNING
        run_heads.run_id,
        run_heads.last_seq
),

run AS (
    UPDATE runstore.runs
    SET
        status = 'failed',
        output = %(output)s,
        error = %(error)s,
        updated_at = (SELECT clock_timestamp()),
        finished_at = (SELECT clock_timestamp())
    FROM head
    WHERE runs.id = %(run_id)s
        AND runs.id = head.run_id
    RETURNING
        runs.id,
        runs.status,
        runs.phase,
        runs.updated_at
),

event AS (
    INSERT INTO runstore.run_events (run_id, seq, type, append_size)
    SELECT
        head.run_id,
        head.last_seq,
        'run.failed',
        1
    FROM head
)

SELECT
    run.id,
    run.status,
    run.phase,
    head.last_seq,
    run.updated_at
FROM run
CROSS JOIN head;
