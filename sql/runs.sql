-- Runs of either kind: what they share, finding them, and the life of chat runs.
-- Whoever changes a run's status locks its head first, takes the next numbers there and writes
-- the events of the change, all in one statement: the log and the status cannot disagree.
-- A run in a final status (completed, failed, cancelled) never changes again.

-- name: create_run :one
-- Insert a pending chat run with its head. No row: its id or its idempotency key is taken, or
-- another exclusive run of its thread is active.
WITH run AS (
    INSERT INTO runstore.runs (
        id,
        tenant_id,
        kind,
        name,
        thread_id,
        subject_id,
        status,
        input,
        exclusive,
        idempotency_key,
        parent_run_id,
        trace_id,
        metadata
    )
    VALUES (
        %(id)s,
        coalesce(%(tenant_id)s::text, runstore.current_tenant_id()),
        'chat',
        %(name)s,
        %(thread_id)s,
        %(subject_id)s,
        'pending',
        %(input)s,
        %(exclusive)s,
        %(idempotency_key)s,
        %(parent_run_id)s,
        %(trace_id)s,
        %(metadata)s
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
    INSERT INTO runstore.run_heads (run_id)
    SELECT run.id
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

-- name: find_created_run :maybe
-- Find the run that stands in the way of a create: by its id, else by its idempotency key, else
-- the active exclusive run of its thread.
SELECT
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
FROM runstore.runs
WHERE id = %(id)s
    OR (
        tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
        AND idempotency_key = %(idempotency_key)s
    )
    OR (
        %(exclusive)s
        AND tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
        AND thread_id = %(thread_id)s
        AND exclusive
        AND status IN ('pending', 'running')
    )
ORDER BY
    id <> %(id)s,
    idempotency_key IS DISTINCT FROM %(idempotency_key)s
LIMIT 1;

-- name: get_run :one
-- Read a run. No row: it does not exist.
SELECT
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
FROM runstore.runs
WHERE id = %(run_id)s;

-- name: list_runs :many
-- List a tenant's runs, newest first; a run id starts with its time.
-- It is planned for its filters each time, so that each of them finds its index.
SELECT
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
FROM runstore.runs
WHERE tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
    AND (%(kind)s::text IS NULL OR kind = %(kind)s)
    AND (%(status)s::text IS NULL OR status = %(status)s)
    AND (%(thread_id)s::text IS NULL OR thread_id = %(thread_id)s)
    AND (%(subject_id)s::text IS NULL OR subject_id = %(subject_id)s)
    AND (%(name)s::text IS NULL OR name = %(name)s)
    AND (%(parent_run_id)s::uuid IS NULL OR parent_run_id = %(parent_run_id)s)
    AND (%(before_id)s::uuid IS NULL OR id < %(before_id)s)
ORDER BY id DESC
LIMIT %(row_limit)s;

-- name: find_runs_between :many
-- Find the newest two runs, of any tenant, whose ids lie between two.
SELECT
    id,
    tenant_id,
    kind,
    name,
    status,
    created_at
FROM runstore.runs
WHERE id BETWEEN %(first_id)s AND %(last_id)s
ORDER BY id DESC
LIMIT 2;

-- name: get_run_state :one
-- Read what a change left of a run: its state, and the number of the newest event of the types that
-- the change writes; of the last event of all where there is none. No row: it does not exist.
-- It is planned each time: a plan made while the table was empty would read all of it for ever.
-- not null: last_seq
SELECT
    runs.id,
    runs.status,
    runs.phase,
    coalesce(
        (
            SELECT run_events.seq
            FROM runstore.run_events
            WHERE run_events.run_id = %(run_id)s
                AND run_events.type = ANY(%(types)b::text[])
            ORDER BY run_events.seq DESC
            LIMIT 1
        ),
        run_heads.last_seq
    ) AS last_seq,
    runs.updated_at
FROM runstore.runs
INNER JOIN runstore.run_heads ON runs.id = run_heads.run_id
WHERE runs.id = %(run_id)s
    AND run_heads.run_id = %(run_id)s;

-- name: start_run :one
-- Start a pending run; the id, where one is given, says afterwards who did. No row: it does not
-- exist or is not pending.
WITH locked AS MATERIALIZED (
    SELECT run_id
    FROM runstore.run_heads
    WHERE run_id = %(run_id)s
    FOR UPDATE
),

run AS (
    UPDATE runstore.runs
    SET
        status = 'running',
        started_at = (SELECT clock_timestamp()),
        updated_at = (SELECT clock_timestamp())
    FROM locked
    WHERE runs.id = %(run_id)s
        AND runs.id = locked.run_id
        AND runs.status = 'pending'
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
    INSERT INTO runstore.run_events (run_id, seq, type, append_id)
    SELECT
        head.run_id,
        head.last_seq,
        'run.started',
        %(start_id)s::uuid
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

-- name: complete_run :one
-- Complete a run with its last events. No row: it does not exist or has ended.
WITH given AS (
    SELECT
        given.type,
        given.payload,
        given.place
    FROM
        unnest(%(types)b::text[], %(payloads)b::jsonb[]) WITH ORDINALITY
            AS given (type, payload, place)
    UNION ALL
    SELECT
        'run.completed',
        '{}',
        cardinality(%(types)b::text[]) + 1
),

head AS (
    UPDATE runstore.run_heads
    SET
        last_seq = last_seq + cardinality(%(types)b::text[]) + 1,
        closed = true,
        heartbeat_at = (SELECT clock_timestamp())
    WHERE run_id = %(run_id)s
        AND NOT closed
    RETURNING
        run_id,
        last_seq,
        last_seq - cardinality(%(types)b::text[]) - 1 AS base_seq
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
    INSERT INTO runstore.run_events (run_id, seq, type, payload)
    SELECT
        head.run_id,
        head.base_seq + given.place,
        given.type,
        given.payload
    FROM head
    CROSS JOIN given
)

SELECT
    run.id,
    run.status,
    run.phase,
    head.last_seq,
    run.updated_at
FROM run
CROSS JOIN head;

-- name: fail_run :one
-- Fail a run with its last events. No row: it does not exist or has ended.
WITH given AS (
    SELECT
        given.type,
        given.payload,
        given.place
    FROM
        unnest(%(types)b::text[], %(payloads)b::jsonb[]) WITH ORDINALITY
            AS given (type, payload, place)
    UNION ALL
    SELECT
        'run.failed',
        '{}',
        cardinality(%(types)b::text[]) + 1
),

head AS (
    UPDATE runstore.run_heads
    SET
        last_seq = last_seq + cardinality(%(types)b::text[]) + 1,
        closed = true,
        heartbeat_at = (SELECT clock_timestamp())
    WHERE run_id = %(run_id)s
        AND NOT closed
    RETURNING
        run_id,
        last_seq,
        last_seq - cardinality(%(types)b::text[]) - 1 AS base_seq
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
    INSERT INTO runstore.run_events (run_id, seq, type, payload)
    SELECT
        head.run_id,
        head.base_seq + given.place,
        given.type,
        given.payload
    FROM head
    CROSS JOIN given
)

SELECT
    run.id,
    run.status,
    run.phase,
    head.last_seq,
    run.updated_at
FROM run
CROSS JOIN head;

-- name: cancel_run :one
-- Cancel a run with its last events. No row: it does not exist or has ended.
WITH given AS (
    SELECT
        given.type,
        given.payload,
        given.place
    FROM
        unnest(%(types)b::text[], %(payloads)b::jsonb[]) WITH ORDINALITY
            AS given (type, payload, place)
    UNION ALL
    SELECT
        'run.cancelled',
        '{}',
        cardinality(%(types)b::text[]) + 1
),

head AS (
    UPDATE runstore.run_heads
    SET
        last_seq = last_seq + cardinality(%(types)b::text[]) + 1,
        closed = true,
        heartbeat_at = (SELECT clock_timestamp())
    WHERE run_id = %(run_id)s
        AND NOT closed
    RETURNING
        run_id,
        last_seq,
        last_seq - cardinality(%(types)b::text[]) - 1 AS base_seq
),

run AS (
    UPDATE runstore.runs
    SET
        status = 'cancelled',
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
    INSERT INTO runstore.run_events (run_id, seq, type, payload)
    SELECT
        head.run_id,
        head.base_seq + given.place,
        given.type,
        given.payload
    FROM head
    CROSS JOIN given
)

SELECT
    run.id,
    run.status,
    run.phase,
    head.last_seq,
    run.updated_at
FROM run
CROSS JOIN head;

-- name: request_cancel :one
-- Ask a run to stop, once. No row: it does not exist, has ended, or was asked already.
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
        cancel_requested_at = (SELECT clock_timestamp()),
        updated_at = (SELECT clock_timestamp())
    FROM locked
    WHERE runs.id = %(run_id)s
        AND runs.id = locked.run_id
        AND runs.cancel_requested_at IS NULL
    RETURNING
        runs.id,
        runs.status,
        runs.phase,
        runs.updated_at
),

head AS (
    UPDATE runstore.run_heads
    SET last_seq = run_heads.last_seq + 1
    FROM run
    WHERE run_heads.run_id = %(run_id)s
        AND run_heads.run_id = run.id
    RETURNING
        run_heads.run_id,
        run_heads.last_seq
),

event AS (
    INSERT INTO runstore.run_events (run_id, seq, type)
    SELECT
        head.run_id,
        head.last_seq,
        'run.cancel_requested'
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

-- name: heartbeat_run :one
-- Say that a run's worker is alive, and hear whether the run should stop.
-- No row: the run does not exist or has ended.
UPDATE runstore.run_heads
SET heartbeat_at = (SELECT clock_timestamp())
FROM runstore.runs
WHERE run_heads.run_id = %(run_id)s
    AND NOT run_heads.closed
    AND runs.id = %(run_id)s
RETURNING
    run_heads.run_id,
    run_heads.heartbeat_at,
    runs.cancel_requested_at;

-- name: list_stalled_runs :many
-- List a tenant's running runs that have given no sign of life for a while, longest silent first.
SELECT
    runs.id,
    runs.tenant_id,
    runs.kind,
    runs.name,
    runs.thread_id,
    runs.phase,
    runs.started_at,
    run_heads.heartbeat_at
FROM runstore.runs
INNER JOIN runstore.run_heads ON runs.id = run_heads.run_id
WHERE runs.tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
    AND runs.status = 'running'
    AND run_heads.heartbeat_at < now() - %(silent_for)s::interval
    AND (
        %(after_heartbeat_at)s::timestamptz IS NULL
        OR (run_heads.heartbeat_at, runs.id) > (%(after_heartbeat_at)s, %(after_id)s::uuid)
    )
ORDER BY
    run_heads.heartbeat_at,
    runs.id
LIMIT %(row_limit)s;

-- name: delete_run :one
-- Delete a run that has ended, with all that hangs off it and the holds on it that have expired.
-- No row: it does not exist or is active.
WITH run AS (
    DELETE FROM runstore.runs
    WHERE id = %(run_id)s
        AND status IN ('completed', 'failed', 'cancelled')
    RETURNING id
),

expired_hold AS (
    DELETE FROM runstore.run_holds
    USING run
    WHERE run_holds.run_id = %(run_id)s
        AND run_holds.run_id = run.id
        AND run_holds.expires_at <= now()
)

SELECT run.id
FROM run;
