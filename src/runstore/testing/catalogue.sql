-- Catalogue: what the proof of queries asks PostgreSQL about its types, tables and indexes.

-- name: list_types :many
-- List types by their oids. A kind is that of pg_type.typtype; element is the type of an array's
-- elements.
-- not null: name, kind
SELECT
    pg_type.oid,
    format_type(pg_type.oid, NULL) AS name,
    pg_type.typtype::text AS kind,
    CASE
        WHEN pg_type.typelem <> 0 AND pg_type.typlen = -1 THEN format_type(pg_type.typelem, NULL)
    END AS element
FROM pg_catalog.pg_type
WHERE pg_type.oid = ANY(%(oids)b::oid[]);

-- name: list_labels :many
-- List the labels of an enum.
SELECT pg_enum.enumlabel AS label
FROM pg_catalog.pg_enum
WHERE pg_enum.enumtypid = %(oid)s::oid
ORDER BY pg_enum.enumsortorder;

-- name: list_attributes :many
-- List the columns of tables. One is held not null by a constraint that is valid, is not computed
-- on reading, and has no child table, which on PostgreSQL 15 may drop the constraint.
-- not null: table_kind, not_null
SELECT
    pg_attribute.attrelid AS table_oid,
    pg_attribute.attnum AS number,
    pg_namespace.nspname AS schema_name,
    pg_class.relname AS table_name,
    pg_attribute.attname AS name,
    pg_class.relkind::text AS table_kind,
    pg_attribute.attnotnull
    AND pg_attribute.attgenerated <> 'v'
    AND (pg_class.relkind = 'p' OR NOT pg_class.relhassubclass)
    AND NOT EXISTS (
        SELECT
        FROM pg_catalog.pg_constraint
        WHERE pg_constraint.conrelid = pg_attribute.attrelid
            AND pg_constraint.contype = 'n'
            AND pg_constraint.conkey = ARRAY[pg_attribute.attnum]
            AND NOT pg_constraint.convalidated
    ) AS not_null
FROM pg_catalog.pg_attribute
INNER JOIN pg_catalog.pg_class ON pg_attribute.attrelid = pg_class.oid
INNER JOIN pg_catalog.pg_namespace ON pg_class.relnamespace = pg_namespace.oid
WHERE pg_attribute.attrelid = ANY(%(table_oids)b::oid[])
    AND pg_attribute.attnum > 0;

-- name: list_checks :many
-- List the valid CHECKs on one column alone.
-- not null: expression
SELECT pg_get_expr(pg_constraint.conbin, pg_constraint.conrelid) AS expression
FROM pg_catalog.pg_constraint
WHERE pg_constraint.conrelid = %(table_oid)s::oid
    AND pg_constraint.contype = 'c'
    AND pg_constraint.convalidated
    AND pg_constraint.conkey = ARRAY[%(number)s::smallint];

-- name: list_indexes :many
-- List the indexes of every schema. The first column is NULL where it is an expression.
-- not null: partial
SELECT
    pg_namespace.nspname AS schema_name,
    index_class.relname AS name,
    pg_am.amname AS method,
    pg_index.indpred IS NOT NULL AS partial,
    pg_attribute.attname AS first_column
FROM pg_catalog.pg_index
INNER JOIN pg_catalog.pg_class AS index_class ON pg_index.indexrelid = index_class.oid
INNER JOIN pg_catalog.pg_am ON index_class.relam = pg_am.oid
INNER JOIN pg_catalog.pg_namespace ON index_class.relnamespace = pg_namespace.oid
LEFT JOIN pg_catalog.pg_attribute
    ON
        pg_index.indrelid = pg_attribute.attrelid
        AND pg_index.indkey[0] = pg_attribute.attnum;
