-- Drop the prices. They are lost; the costs in the log stay.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

DROP TABLE runstore.prices;
