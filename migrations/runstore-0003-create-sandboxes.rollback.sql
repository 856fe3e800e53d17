-- Drop the sandboxes and their snapshots. Their rows are lost.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

DROP TABLE runstore.snapshots;
DROP TABLE runstore.sandboxes;
