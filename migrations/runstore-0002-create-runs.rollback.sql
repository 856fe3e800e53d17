-- Drop the runs with their heads and events. Their rows are lost.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

DROP TABLE runstore.run_events;
DROP TABLE runstore.run_heads;
DROP TABLE runstore.runs;
