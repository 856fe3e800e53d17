-- Give run_of() back its body as a text.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE OR REPLACE FUNCTION runstore.run_of(id uuid) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$ SELECT encode(substring(uuid_send(id) FOR 10) || '\x000000000000'::bytea, 'hex')::uuid $$;
