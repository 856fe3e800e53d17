-- Drop the segments. Forks keep their own events and lose the prefix that they share.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

DROP TABLE runstore.run_segments;
