-- Drop the holds, and the notes of what was purged. The holds are lost: what they kept can be
-- deleted. Logs that were purged look whole, and read as if they were empty.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

COMMENT ON TABLE runstore.usage_logs IS
    'What a subject used of one meter. Rows are never changed; a correction is a row with a negative amount. What '
    'was not reported has no row, and is not 0.';
COMMENT ON TABLE runstore.run_events IS
    'One event of a run. Append-only: rows are neither changed nor, before their run is purged, deleted.';
ALTER TABLE runstore.runs DROP COLUMN events_purged_at;
ALTER TABLE runstore.runs DROP COLUMN purged_seq;
DROP TABLE runstore.run_holds;
