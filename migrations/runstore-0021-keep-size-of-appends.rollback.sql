-- Forget how many events were appended together. What was kept is lost.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

ALTER TABLE runstore.run_events DROP COLUMN append_size;
