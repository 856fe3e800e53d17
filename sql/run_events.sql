-- Run events: the log of a run, append-only. An append takes its numbers from the run's head under
-- its row lock, so they start at 1, have no gap and no double, and become visible in order.

-- name: append_run_events :one
-- Append events to a run that has not ended. No row: it does not exist, has ended, or its last
-- event is not the expected one.
WITH head AS (
    UPDATE runstore.run_heads
    SET
        last_seq = last_seq + cardinality(%(types)b::text[]),
        heartbeat_at = (SELECT clock_timestamp())
    WHERE run_id = %(run_id)s
        AND NOT closed
        AND (%(expected_seq)s::bigint IS NULL OR last_seq = %(expected_seq)s)
    RETURNING
        run_id,
        last_seq,
        last_seq - cardinality(%(types)b::text[]) AS base_seq
),

event AS (
    INSERT INTO runstore.run_events (run_id, seq, type, payload, append_id, append_size)
    SELECT
        head.run_id,
        head.base_seq + given.place,
        given.type,
        given.payload::jsonb,
        CASE WHEN given.place = 1 THEN %(append_id)s::uuid END,
        CASE WHEN given.place = 1 AND %(append_id)s::uuid IS NOT NULL THEN cardinality(%(types)b::text[]) END
    FROM head
    CROSS JOIN
        unnest(%(types)b::text[], %(payloads)b::text[]) WITH ORDINALITY
            AS given (type, payload, place)
)

SELECT
    head.run_id,
    head.last_seq
FROM head;

-- name: find_appended_events :many
-- Find the events of an earlier append, by its id and their number, and in the first row how many it
-- wrote.
SELECT
    run_events.seq,
    run_events.type,
    run_events.payload,
    run_events.created_at,
    run_events.append_size
FROM runstore.run_events AS first_event
INNER JOIN runstore.run_events ON first_event.run_id = run_events.run_id
WHERE first_event.run_id = %(run_id)s
    AND first_event.append_id = %(append_id)s
    AND run_events.run_id = %(run_id)s
    AND run_events.seq >= first_event.seq
    AND run_events.seq < first_event.seq + %(event_count)s
ORDER BY run_events.seq;

-- name: get_run_head :one
-- Read how far a run's log goes and whether it has ended: the cheap question of a tail.
SELECT
    run_heads.run_id,
    runs.status,
    run_heads.last_seq,
    run_heads.closed,
    run_heads.heartbeat_at,
    runs.purged_seq
FROM runstore.run_heads
INNER JOIN runstore.runs ON run_heads.run_id = runs.id
WHERE run_heads.run_id = %(run_id)s
    AND runs.id = %(run_id)s;

-- name: read_run_events :many
-- Read a page of a run's log, the prefix that a fork shares included, and in the last row the run's
-- status of the same snapshot; in the others it would be sent and read for nothing.
-- not null: seq, type, created_at
-- It is planned each time: a plan made while the table was empty would read all of it for ever.
WITH run AS (
    SELECT
        runs.id,
        runs.status,
        run_heads.last_seq,
        runs.purged_seq
    FROM runstore.runs
    INNER JOIN runstore.run_heads ON runs.id = run_heads.run_id
    WHERE runs.id = %(run_id)s
        AND run_heads.run_id = %(run_id)s
),

segment AS (
    SELECT
        source_run_id AS run_id,
        from_seq,
        to_seq
    FROM runstore.run_segments
    WHERE run_id = %(run_id)s
        AND to_seq > %(after)s
    UNION ALL
    SELECT
        id AS run_id,
        -- Not over what was purged: a million dead rows take a second.
        coalesce(purged_seq, 0) + 1 AS from_seq,
        last_seq AS to_seq
    FROM run
),

event AS (
    SELECT
        event.seq,
        event.type,
        event.payload,
        event.created_at
    FROM segment
    CROSS JOIN
        LATERAL (
            SELECT
                run_events.seq,
                run_events.type,
                run_events.payload,
                run_events.created_at
            FROM runstore.run_events
            WHERE run_events.run_id = segment.run_id
                AND run_events.seq > %(after)s
                AND run_events.seq BETWEEN segment.from_seq AND segment.to_seq
                -- Numbers are dense, so that no plan can read more than the page: without statistics
                -- one would take the whole rest of a log to sort it.
                AND run_events.seq <= %(up_to)s
            ORDER BY run_events.seq
            LIMIT %(page_size)s
        ) AS event
    ORDER BY event.seq
    LIMIT %(page_size)s
),

line AS (
    SELECT
        seq,
        type,
        payload,
        created_at
    FROM event
    UNION ALL
    SELECT
        NULL AS seq,
        NULL AS type,
        NULL AS payload,
        NULL AS created_at
    FROM run
)

SELECT
    run.id AS run_id,
    run.status,
    run.last_seq,
    run.purged_seq,
    line.seq,
    line.type,
    line.payload,
    line.created_at
FROM line
LEFT JOIN run ON line.seq IS NULL
ORDER BY line.seq;

-- name: verify_run_events :many
-- Count the events of a batch of runs beside what their heads and segments say.
-- not null: shared_events, shared_seq, own_events
-- may scan run_heads: batch after batch reads all of it.
WITH batch AS MATERIALIZED (
    SELECT
        run_heads.run_id,
        run_heads.last_seq,
        run_heads.closed
    FROM runstore.run_heads
    WHERE %(after_run_id)s::uuid IS NULL
        OR run_heads.run_id > %(after_run_id)s
    ORDER BY run_heads.run_id
    LIMIT %(row_limit)s
)

SELECT
    batch.run_id,
    runs.status,
    batch.closed,
    batch.last_seq,
    runs.purged_seq,
    shared.event_count AS shared_events,
    shared.last_seq AS shared_seq,
    own.event_count AS own_events,
    own.first_seq AS own_first_seq,
    own.last_seq AS own_last_seq
FROM batch
INNER JOIN runstore.runs ON batch.run_id = runs.id
CROSS JOIN
    LATERAL (
        SELECT
            count(run_events.seq) AS event_count,
            coalesce(max(run_segments.to_seq), 0) AS last_seq
        FROM runstore.run_segments
        LEFT JOIN runstore.run_events
            ON
                run_segments.source_run_id = run_events.run_id
                AND run_events.seq BETWEEN run_segments.from_seq AND run_segments.to_seq
        WHERE run_segments.run_id = batch.run_id
    ) AS shared
CROSS JOIN
    LATERAL (
        SELECT
            count(*) AS event_count,
            min(run_events.seq) AS first_seq,
            max(run_events.seq) AS last_seq
        FROM runstore.run_events
        WHERE run_events.run_id = batch.run_id
            AND run_events.seq > coalesce(runs.purged_seq, 0)
    ) AS own
ORDER BY batch.run_id;
