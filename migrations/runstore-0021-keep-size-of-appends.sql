-- Keep how many events an append wrote that may be repeated, and how many the end of a run, so that
-- a repetition with fewer is told from the same one. Adding the column waits for a moment in which
-- nobody uses the table, and rewrites nothing; what was appended before has no size.
--
-- depends: runstore-0020-carry-purged-usage

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

ALTER TABLE runstore.run_events ADD COLUMN append_size integer;
COMMENT ON COLUMN runstore.run_events.append_size IS
    'How many events were written together: on the first event of an append that has an id, and on the event that '
    'ended the run.';
