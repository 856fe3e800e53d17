-- The life of a run: started, alive, asked to stop, ended.
-- Whoever changes a run's status locks its head first, takes the next numbers there and writes
-- the events of the change, all in one statement: the log and the status cannot disagree.
-- A run in a final status (completed, failed, cancelled) never changes again.

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

-- name: find_end_size :maybe
-- Read how many events were written together with the one that ended a run. No row: it was purged.
SELECT append_size
FROM runstore.run_events
WHERE run_id = %(run_id)s
    AND seq = %(seq)s;

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
        given.payload::jsonb AS payload,
        given.place,
        NULL::integer AS append_size
    FROM
        unnest(%(types)b::text[], %(payloads)b::text[]) WITH ORDINALITY
            AS given (type, payload, place)
    UNION ALL
    SELECT
        'run.completed',
        '{}',
        cardinality(%(types)b::text[]) + 1,
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
    INSERT INTO runstore.run_events (run_id, seq, type, payload, append_size)
    SELECT
        head.run_id,
        head.base_seq + given.place,
        given.type,
        given.payload,
        given.append_size
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
        given.payload::jsonb AS payload,
        given.place,
        NULL::integer AS append_size
    FROM
        unnest(%(types)b::text[], %(payloads)b::text[]) WITH ORDINALITY
            AS given (type, payload, place)
    UNION ALL
    SELECT
        'run.failed',
        '{}',
        cardinality(%(types)b::text[]) + 1,
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
    INSERT INTO runstore.run_events (run_id, seq, type, payload, append_size)
    SELECT
        head.run_id,
        head.base_seq + given.place,
        given.type,
        given.payload,
        given.append_size
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
        given.payload::jsonb AS payload,
        given.place,
        NULL::integer AS append_size
    FROM
        unnest(%(types)b::text[], %(payloads)b::text[]) WITH ORDINALITY
            AS given (type, payload, place)
    UNION ALL
    SELECT
        'run.cancelled',
        '{}',
        cardinality(%(types)b::text[]) + 1,
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
    INSERT INTO runstore.run_events (run_id, seq, type, payload, append_size)
    SELECT
        head.run_id,
        head.base_seq + given.place,
        given.type,
        given.payload,
        given.append_size
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
