-- Run notifications: hints that a run's log has grown, which wake its tails before they look.
-- Never sent by a statement or a transaction that writes: at their commits all transactions that
-- notify queue up behind one lock of the whole cluster. Tails find by polling what no hint told.

-- name: send_run_notifications :value
-- Send notifications on the channel runstore_run_events, and count them.
-- not null: sent
SELECT count(pg_notify('runstore_run_events', given.payload)) AS sent
FROM unnest(%(payloads)b::text[]) AS given (payload);
