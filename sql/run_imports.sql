-- Run imports: any number of events, streamed into a run's log as binary COPY.
-- The head is locked before the first row and moved on after the last one, in one transaction, so
-- that the numbers are the log's next ones whoever else writes to the run meanwhile.

-- name: find_row_security :value
-- Say whether row-level security holds for this role on the log: then COPY is refused.
-- not null: active
SELECT row_security_active('runstore.run_events') AS active;

-- name: lock_run_head :one
-- Lock the head of a run that has not ended, and read where its log goes on. No row: the run does
-- not exist, has ended, or its last event is not the expected one.
SELECT
    run_id,
    last_seq
FROM runstore.run_heads
WHERE run_id = %(run_id)s
    AND NOT closed
    AND (%(expected_seq)s::bigint IS NULL OR last_seq = %(expected_seq)s)
FOR NO KEY UPDATE;

-- name: advance_run_head :one
-- Say that a run's log goes further. No row: the run does not exist.
UPDATE runstore.run_heads
SET
    last_seq = %(last_seq)s,
    heartbeat_at = (SELECT clock_timestamp())
WHERE run_id = %(run_id)s
RETURNING
    run_id,
    last_seq;
