-- Filling: what has to be known of a schema's tables to put made-up rows into them.

-- name: list_columns :many
-- List the columns of a schema's tables that a row may give, in their order. Keyed says that a
-- unique index holds the column.
-- not null: type, kind, optional, keyed
SELECT
    pg_class.oid AS table_oid,
    pg_class.relname AS table_name,
    pg_attribute.attnum AS number,
    pg_attribute.attname AS name,
    format_type(pg_attribute.atttypid, pg_attribute.atttypmod) AS type,
    pg_type.typtype::text AS kind,
    NOT pg_attribute.attnotnull AS optional,
    pg_attribute.attnum IN (
        SELECT unnest(pg_index.indkey)
        FROM pg_catalog.pg_index
        WHERE pg_index.indrelid = pg_class.oid
            AND pg_index.indisunique
    ) AS keyed
FROM pg_catalog.pg_class
INNER JOIN pg_catalog.pg_namespace ON pg_class.relnamespace = pg_namespace.oid
INNER JOIN pg_catalog.pg_attribute ON pg_class.oid = pg_attribute.attrelid
INNER JOIN pg_catalog.pg_type ON pg_attribute.atttypid = pg_type.oid
WHERE pg_namespace.nspname = %(schema)s
    AND pg_class.relkind IN ('r', 'p')
    AND NOT pg_class.relispartition
    AND pg_attribute.attnum > 0
    AND NOT pg_attribute.attisdropped
    AND pg_attribute.attgenerated = ''
    AND pg_attribute.attidentity = ''
ORDER BY
    pg_class.relname,
    pg_attribute.attnum;

-- name: list_conditions :many
-- List the CHECKs of a schema's tables.
-- not null: expression
SELECT
    pg_class.relname AS table_name,
    pg_get_expr(pg_constraint.conbin, pg_constraint.conrelid) AS expression
FROM pg_catalog.pg_constraint
INNER JOIN pg_catalog.pg_class ON pg_constraint.conrelid = pg_class.oid
INNER JOIN pg_catalog.pg_namespace ON pg_class.relnamespace = pg_namespace.oid
WHERE pg_namespace.nspname = %(schema)s
    AND pg_constraint.contype = 'c';

-- name: list_references :many
-- List the foreign keys of a schema's tables, those of most columns first. Optional says that a
-- row may have NULL in one of the columns.
-- not null: columns, columns[], target_columns, target_columns[], optional
SELECT
    pg_class.relname AS table_name,
    ARRAY(
        SELECT pg_attribute.attname::text
        FROM unnest(pg_constraint.conkey) WITH ORDINALITY AS key (number, place)
        INNER JOIN pg_catalog.pg_attribute
            ON
                key.number = pg_attribute.attnum
                AND pg_constraint.conrelid = pg_attribute.attrelid
        ORDER BY key.place
    ) AS columns,
    target_namespace.nspname AS target_schema,
    target.relname AS target_name,
    ARRAY(
        SELECT pg_attribute.attname::text
        FROM unnest(pg_constraint.confkey) WITH ORDINALITY AS key (number, place)
        INNER JOIN pg_catalog.pg_attribute
            ON
                key.number = pg_attribute.attnum
                AND pg_constraint.confrelid = pg_attribute.attrelid
        ORDER BY key.place
    ) AS target_columns,
    EXISTS (
        SELECT
        FROM pg_catalog.pg_attribute
        WHERE pg_constraint.conrelid = pg_attribute.attrelid
            AND pg_attribute.attnum = ANY(pg_constraint.conkey)
            AND NOT pg_attribute.attnotnull
    ) AS optional
FROM pg_catalog.pg_constraint
INNER JOIN pg_catalog.pg_class ON pg_constraint.conrelid = pg_class.oid
INNER JOIN pg_catalog.pg_class AS target ON pg_constraint.confrelid = target.oid
INNER JOIN pg_catalog.pg_namespace AS target_namespace ON target.relnamespace = target_namespace.oid
INNER JOIN pg_catalog.pg_namespace ON pg_class.relnamespace = pg_namespace.oid
WHERE pg_namespace.nspname = %(schema)s
    AND pg_constraint.contype = 'f'
ORDER BY
    cardinality(pg_constraint.conkey) DESC,
    pg_constraint.conname;
