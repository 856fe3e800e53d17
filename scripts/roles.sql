-- The roles of a database in which runstore keeps its record, and what each of them may do.
--
--   runstore_owner     owns everything in the schema runstore. Nobody logs in as it.
--   runstore_migrator  logs in for a deploy, and is the owner from its first statement on.
--   runstore_writer    logs in for the application: it reads everything, adds rows, and changes the columns that
--                      statements of the library change. What is append-only it can neither change nor delete.
--   runstore_janitor   logs in for retention: it reads everything, deletes runs and old usage, and erases persons,
--                      which nobody else may.
--   runstore_reader    logs in for dashboards and analysts: it reads.
--
-- Run it in each database with `psql -f roles.sql`: once before the first deploy, and after each deploy, before the new
-- code starts. The first time that takes a superuser, or a role with CREATEROLE that owns the database; later
-- runstore_migrator may do it. It may be run at any time and any number of times: it is one transaction, which leaves
-- the same behind. What these roles were granted on runstore's tables beyond this file it takes back. It changes no
-- password and no attribute or setting of a role that exists.
--
-- Where logins need a password these cannot log in until they have one: `\password runstore_writer`. A login of your
-- own does as well: `GRANT runstore_writer TO my_application`.

BEGIN;

SET LOCAL lock_timeout = '2s';

-- Roles are the whole cluster's, and a run in another database may be making them at this moment.
DO $$
DECLARE
    missing record;
BEGIN
    -- Deploys may come at once.
    PERFORM pg_advisory_xact_lock(hashtext('runstore roles'));
    FOR missing IN
        SELECT
            role_name,
            attributes
        FROM (VALUES
            ('runstore_owner', 'NOLOGIN'),
            -- What a deploy makes is the owner's, or it is not made.
            ('runstore_migrator', 'LOGIN NOINHERIT'),
            ('runstore_writer', 'LOGIN'),
            ('runstore_janitor', 'LOGIN'),
            ('runstore_reader', 'LOGIN')
        ) AS roles (role_name, attributes)
        WHERE to_regrole(role_name) IS NULL
    LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I %s', missing.role_name, missing.attributes);
            -- A name without a schema means nothing that somebody has put into pg_temp.
            EXECUTE format('ALTER ROLE %I SET search_path = public, pg_temp', missing.role_name);
            IF missing.role_name = 'runstore_migrator' THEN
                GRANT runstore_owner TO runstore_migrator;
                ALTER ROLE runstore_migrator SET role = 'runstore_owner';
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
END
$$;

-- What takes the database's owner. The migrator finds it done.
DO $$
DECLARE
    login text;
    -- The first schema on the search path of a deploy, in which yoyo keeps what it has applied.
    bookkeeping regnamespace := coalesce(
        (SELECT relnamespace::regnamespace FROM pg_class WHERE oid = to_regclass('_yoyo_migration')),
        to_regnamespace('public'),
        (SELECT oid::regnamespace FROM pg_namespace WHERE nspname = current_schema() AND oid <> pg_my_temp_schema())
    );
BEGIN
    IF bookkeeping IS NULL THEN
        RAISE invalid_schema_name USING
            MESSAGE = 'there is no schema in which yoyo could keep what it has applied',
            HINT = 'CREATE SCHEMA public; or create another one, run this with a search_path that names it, and let '
                'that be the search_path of runstore_migrator, runstore_writer, runstore_janitor and runstore_reader.';
    END IF;
    IF NOT has_database_privilege('runstore_owner', current_database(), 'CREATE') THEN
        EXECUTE format('GRANT CREATE ON DATABASE %I TO runstore_owner', current_database());
    END IF;
    FOREACH login IN ARRAY ARRAY['runstore_migrator', 'runstore_writer', 'runstore_janitor', 'runstore_reader'] LOOP
        IF NOT has_database_privilege(login, current_database(), 'CONNECT') THEN
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), login);
        END IF;
        IF NOT has_schema_privilege(login, bookkeeping, 'USAGE') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', bookkeeping, login);
        END IF;
    END LOOP;
    IF NOT has_schema_privilege('runstore_owner', bookkeeping, 'CREATE') THEN
        EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %s TO runstore_owner', bookkeeping);
    END IF;
    IF has_schema_privilege('runstore_writer', bookkeeping, 'CREATE') THEN
        RAISE WARNING 'runstore_writer may create tables and functions in the schema %', bookkeeping
        USING HINT = format('REVOKE CREATE ON SCHEMA %s FROM PUBLIC', bookkeeping);
    END IF;
END
$$;

-- A role with CREATEROLE becomes a member of the owner, to give it what is there and to grant what is the owner's.
DO $$
DECLARE
    caller text := current_setting('role');
BEGIN
    SET LOCAL ROLE runstore_owner;
    PERFORM set_config('role', caller, true);
EXCEPTION
    WHEN insufficient_privilege THEN GRANT runstore_owner TO CURRENT_USER;
END
$$;

-- What somebody else made before there were these roles becomes the owner's. yoyo's tables keep their owner, since
-- another application's migrations may be recorded in them.
DO $$
DECLARE
    schema_oid oid := to_regnamespace('runstore');
    found record;
BEGIN
    IF schema_oid IS NULL THEN
        RETURN;
    END IF;
    FOR found IN
        SELECT 'SCHEMA runstore' AS object
        FROM pg_namespace
        WHERE oid = schema_oid AND nspowner <> 'runstore_owner'::regrole
        UNION ALL
        SELECT format('TABLE %s', oid::regclass)
        FROM pg_class
        WHERE relnamespace = schema_oid AND relkind IN ('r', 'p') AND relowner <> 'runstore_owner'::regrole
        UNION ALL
        SELECT format('ROUTINE %s', oid::regprocedure)
        FROM pg_proc
        WHERE pronamespace = schema_oid AND proowner <> 'runstore_owner'::regrole
    LOOP
        EXECUTE format('ALTER %s OWNER TO runstore_owner', found.object);
    END LOOP;
    FOR found IN
        SELECT oid::regclass AS object
        FROM pg_class
        WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('_yoyo_migration'))
            AND relname IN ('_yoyo_migration', '_yoyo_log', '_yoyo_version', 'yoyo_lock')
            AND NOT has_table_privilege('runstore_owner', oid, 'DELETE')
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO runstore_owner', found.object);
        EXECUTE format('GRANT SELECT ON %s TO runstore_writer, runstore_janitor, runstore_reader', found.object);
    END LOOP;
END
$$;

SET LOCAL ROLE runstore_owner;

-- A new table can be read at once, yoyo's as well. Whatever else somebody may do with it has its line below.
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO runstore_writer, runstore_janitor, runstore_reader;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO runstore_writer, runstore_janitor, runstore_reader;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO runstore_writer, runstore_janitor, runstore_reader;

DO $$
DECLARE
    granted record;
BEGIN
    IF to_regnamespace('runstore') IS NULL THEN
        RETURN;
    END IF;
    REVOKE ALL ON ALL TABLES IN SCHEMA runstore FROM runstore_writer, runstore_janitor, runstore_reader;
    GRANT USAGE ON SCHEMA runstore TO runstore_writer, runstore_janitor, runstore_reader;
    GRANT SELECT ON ALL TABLES IN SCHEMA runstore TO runstore_writer, runstore_janitor, runstore_reader;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA runstore TO runstore_writer, runstore_janitor, runstore_reader;
    FOR granted IN
        SELECT
            role_name,
            table_name,
            privileges
        FROM (VALUES
            -- Append-only: what has no UPDATE. DELETE of what a run recorded is the janitor's alone.
            ('runstore_writer', 'agent_invocations', 'INSERT, UPDATE (status, output, finish_reason, error, '
                'input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, cost_usd, '
                'usage_raw, finished_at)'),
            ('runstore_writer', 'agent_steps', 'INSERT, UPDATE (content, tokens, finished_at)'),
            ('runstore_writer', 'branch_reports', 'INSERT, UPDATE (status, updated_at, merged_at, discarded_at)'),
            ('runstore_writer', 'branch_sections', 'INSERT, UPDATE (section_id, base_version, position, heading, '
                'content, citations, status, version, replaced_version, metadata, created_at, updated_at)'),
            ('runstore_writer', 'cta_events', 'INSERT, UPDATE (status, response_data, resolved_by, resolved_at)'),
            ('runstore_writer', 'memory_records', 'INSERT'),
            ('runstore_writer', 'phase_results', 'INSERT, UPDATE (status, output, error, finished_at)'),
            ('runstore_writer', 'prices', 'INSERT'),
            ('runstore_writer', 'quotas', 'INSERT, UPDATE (limit_amount, hard, metadata, updated_at), DELETE'),
            ('runstore_writer', 'report_sections', 'INSERT, UPDATE (position, heading, content, citations, status, '
                'version, replaced_version, metadata, updated_at)'),
            ('runstore_writer', 'report_version_sections', 'INSERT'),
            ('runstore_writer', 'report_versions', 'INSERT'),
            ('runstore_writer', 'reports', 'INSERT, UPDATE (title, format, summary, status, version, revision, '
                'last_position, published_version, updated_at, published_at, archived_at)'),
            ('runstore_writer', 'run_events', 'INSERT'),
            ('runstore_writer', 'run_holds', 'INSERT, UPDATE (held_by, expires_at), DELETE'),
            ('runstore_writer', 'run_heads', 'INSERT, UPDATE (last_seq, closed, heartbeat_at)'),
            ('runstore_writer', 'run_segments', 'INSERT'),
            ('runstore_writer', 'runs', 'INSERT, UPDATE (phase, status, output, error, started_at, updated_at, '
                'cancel_requested_at, finished_at)'),
            ('runstore_writer', 'sandboxes', 'INSERT, UPDATE (status, updated_at, terminated_at)'),
            ('runstore_writer', 'snapshots', 'INSERT'),
            ('runstore_writer', 'tool_calls', 'INSERT, UPDATE (status, result, error, finished_at)'),
            ('runstore_writer', 'usage_counters', 'INSERT, UPDATE (used, held)'),
            ('runstore_writer', 'usage_logs', 'INSERT'),
            ('runstore_writer', 'usage_reservations', 'INSERT, UPDATE (status, expires_at, finished_at)'),
            -- Purging and erasing. Whoever locks a row needs UPDATE on some column of it: heads and quotas are
            -- only locked.
            ('runstore_janitor', 'agent_invocations', 'DELETE'),
            ('runstore_janitor', 'agent_steps', 'DELETE'),
            ('runstore_janitor', 'branch_reports', 'DELETE'),
            ('runstore_janitor', 'branch_sections', 'DELETE'),
            ('runstore_janitor', 'cta_events', 'DELETE, UPDATE (resolved_by)'),
            ('runstore_janitor', 'memory_records', 'DELETE'),
            ('runstore_janitor', 'phase_results', 'DELETE'),
            ('runstore_janitor', 'quotas', 'DELETE, UPDATE (updated_at)'),
            ('runstore_janitor', 'report_sections', 'DELETE'),
            ('runstore_janitor', 'report_version_sections', 'DELETE'),
            ('runstore_janitor', 'report_versions', 'DELETE'),
            ('runstore_janitor', 'reports', 'DELETE'),
            ('runstore_janitor', 'run_events', 'DELETE, UPDATE (payload)'),
            ('runstore_janitor', 'run_heads', 'DELETE, UPDATE (heartbeat_at)'),
            ('runstore_janitor', 'run_holds', 'DELETE'),
            ('runstore_janitor', 'run_segments', 'DELETE'),
            ('runstore_janitor', 'runs', 'DELETE, UPDATE (purged_seq, events_purged_at, name, thread_id, subject_id, '
                'input, output, error, exclusive, idempotency_key, trace_id, metadata)'),
            ('runstore_janitor', 'sandboxes', 'DELETE'),
            ('runstore_janitor', 'snapshots', 'DELETE'),
            ('runstore_janitor', 'tool_calls', 'DELETE'),
            ('runstore_janitor', 'usage_counters', 'DELETE, UPDATE (carried)'),
            ('runstore_janitor', 'usage_logs', 'DELETE, UPDATE (subject_id, metadata)'),
            ('runstore_janitor', 'usage_reservations', 'DELETE, UPDATE (subject_id, metadata)')
        ) AS privileges (role_name, table_name, privileges)
    LOOP
        EXECUTE format('GRANT %s ON runstore.%I TO %I', granted.privileges, granted.table_name, granted.role_name);
    END LOOP;
END
$$;

COMMIT;
