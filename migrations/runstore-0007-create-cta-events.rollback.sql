-- Drop the calls to action. Their rows are lost.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

DROP TABLE runstore.cta_events;
