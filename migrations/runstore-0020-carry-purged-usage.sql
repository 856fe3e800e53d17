-- Say what a counter carries over: what its quota found in the log when it was made, and from now on
-- also what entries had in it that were purged.
--
-- depends: runstore-0019-index-ended-reservations

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

COMMENT ON COLUMN runstore.usage_counters.carried IS
    'What was used in the window and has no entry in the log that is counted here: before the quota was made, or in '
    'entries that were purged.';
COMMENT ON COLUMN runstore.usage_counters.used IS
    'carried and the sum of what the log has counted here. Corrections may take it below 0.';
