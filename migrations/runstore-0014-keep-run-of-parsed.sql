-- Keep the body of run_of() parsed. The CHECK of every table of a run's children calls it, and a body that is
-- a text was parsed and analyzed anew by each INSERT: an eighth of what one row takes of the server. What the
-- function answers is the same.
--
-- depends: runstore-0013-create-run-holds

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE OR REPLACE FUNCTION runstore.run_of(id uuid) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN encode(substring(uuid_send(id) FROM 1 FOR 10) || '\x000000000000'::bytea, 'hex')::uuid;
