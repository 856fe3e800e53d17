-- Drop the quotas with their counters and the reservations. Their rows are lost.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

DROP TABLE runstore.usage_reservations;
DROP TABLE runstore.usage_counters;
DROP TABLE runstore.quotas;
DROP FUNCTION runstore.window_end(text, text, timestamptz);
DROP FUNCTION runstore.window_start(text, text, timestamptz);
