-- Say what a counter carried over before usage could be purged. What was carried over stays.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

COMMENT ON COLUMN runstore.usage_counters.used IS
    'carried and the sum of what the log has counted here since. Corrections may take it below 0.';
COMMENT ON COLUMN runstore.usage_counters.carried IS
    'What the log said that the subject had used in the window when the quota was made.';
