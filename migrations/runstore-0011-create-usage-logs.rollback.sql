-- Drop the log of usage. Its rows are lost, and with them the proof of the counters.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

DROP TABLE runstore.usage_logs;
