-- Drop the holds, and the notes of what was purged. The holds are lost: what they kept can be
-- deleted. Logs that were purged look whole, and read as if they were empty.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

ALTER TABLE runstore.runs DROP COLUMN events_purged_at;
ALTER TABLE runstore.runs DROP COLUMN purged_seq;
DROP TABLE runstore.run_holds;
