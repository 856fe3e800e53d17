-- Create the schema, and the functions on which every table rests: whose rows
-- they are (the tenant), and ids that carry their run.
--
-- An id is a UUIDv7 (RFC 9562). A run's last 48 bits are zero; the id of anything
-- that belongs to the run is the run's first 80 bits and 48 random ones. So the run
-- of any id is a mask, and the rows of a run lie side by side in every index.
-- `src/runstore/ids.py` makes the same ids.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE SCHEMA runstore;
COMMENT ON SCHEMA runstore IS
    'The durable record of AI-agent work: runs and everything that hangs off them.';

CREATE FUNCTION runstore.current_tenant_id() RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT coalesce(nullif(current_setting('runstore.tenant_id', true), ''), 'default') $$;
COMMENT ON FUNCTION runstore.current_tenant_id() IS
    'The tenant of this transaction: the setting runstore.tenant_id, or ''default'' when it is unset or empty.';

CREATE FUNCTION runstore.run_of(id uuid) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$ SELECT encode(substring(uuid_send(id) FOR 10) || '\x000000000000'::bytea, 'hex')::uuid $$;
COMMENT ON FUNCTION runstore.run_of(uuid) IS
    'The run to which an id belongs: its first 80 bits. A run''s own id is its own run.';

CREATE FUNCTION runstore.new_run_id() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
AS $$
    SELECT (
        lpad(to_hex(floor(extract(EPOCH FROM clock_timestamp()) * 1000)::bigint), 12, '0')
        || '7'
        || substring(random_hex FOR 3)
        || to_hex(8 + ('x' || substring(random_hex FROM 20 FOR 1))::bit(4)::int % 4)
        || substring(random_hex FROM 4 FOR 3)
        || '000000000000'
    )::uuid
    FROM (SELECT replace(gen_random_uuid()::text, '-', '') AS random_hex) AS entropy
$$;
COMMENT ON FUNCTION runstore.new_run_id() IS
    'A new run id: 48 bits of Unix milliseconds, version 7, 26 random bits, 48 zero bits.';

CREATE FUNCTION runstore.new_child_id(run_id uuid) RETURNS uuid
LANGUAGE sql VOLATILE STRICT PARALLEL SAFE
AS $$
    SELECT encode(
        substring(uuid_send(run_id) FOR 10)
        || substring(uuid_send(gen_random_uuid()) FOR 6),
        'hex'
    )::uuid
$$;
COMMENT ON FUNCTION runstore.new_child_id(uuid) IS
    'A new id for something of this run: the run''s first 80 bits and 48 random ones.';
