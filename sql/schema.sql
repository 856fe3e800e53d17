-- The schema itself: which migrations yoyo has recorded as applied.
-- Its table stands here without a schema, because it lies in the one that came first on the
-- search path of whoever migrated.

-- name: find_bookkeeping :maybe
-- Name the schema that holds yoyo's table. No row: no schema on the search path has one.
-- not null: schema_name
SELECT pg_namespace.nspname::text AS schema_name
FROM pg_catalog.pg_class
INNER JOIN pg_catalog.pg_namespace ON pg_class.relnamespace = pg_namespace.oid
WHERE pg_class.oid = to_regclass('_yoyo_migration');

-- name: list_applied_migrations :many
-- List the applied migrations of this project, in the order of their numbers. The same table may
-- hold those of the application too.
-- not null: id
-- may scan _yoyo_migration: it has one row for each migration.
SELECT migration_id::text AS id
FROM _yoyo_migration
WHERE starts_with(migration_id, 'runstore-')
ORDER BY migration_id;
