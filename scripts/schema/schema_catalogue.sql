-- The catalogue of our schema: what docs/schema.md says of each table.

-- name: list_tables :many
-- List the tables with their comments.
-- not null: comment
SELECT
    pg_class.relname AS name,
    coalesce(obj_description(pg_class.oid, 'pg_class'), '') AS comment
FROM pg_catalog.pg_class
WHERE pg_class.relnamespace = to_regnamespace('runstore')
    AND pg_class.relkind IN ('r', 'p')
    AND NOT pg_class.relispartition
ORDER BY pg_class.relname;

-- name: list_columns :many
-- List the columns of the tables, in their order.
-- not null: type, required, comment
SELECT
    pg_class.relname AS table_name,
    pg_attribute.attname AS name,
    format_type(pg_attribute.atttypid, pg_attribute.atttypmod) AS type,
    pg_attribute.attnotnull AS required,
    pg_get_expr(pg_attrdef.adbin, pg_attrdef.adrelid) AS default_value,
    coalesce(col_description(pg_class.oid, pg_attribute.attnum), '') AS comment
FROM pg_catalog.pg_class
INNER JOIN pg_catalog.pg_attribute ON pg_class.oid = pg_attribute.attrelid
LEFT JOIN pg_catalog.pg_attrdef
    ON
        pg_class.oid = pg_attrdef.adrelid
        AND pg_attribute.attnum = pg_attrdef.adnum
WHERE pg_class.relnamespace = to_regnamespace('runstore')
    AND pg_class.relkind IN ('r', 'p')
    AND pg_attribute.attnum > 0
    AND NOT pg_attribute.attisdropped
ORDER BY
    pg_class.relname,
    pg_attribute.attnum;

-- name: list_constraints :many
-- List the keys and the CHECKs of the tables. Columns are in the key's order.
-- not null: table_name, kind, columns, columns[], definition
SELECT
    pg_class.relname AS table_name,
    pg_constraint.conname AS name,
    pg_constraint.contype::text AS kind,
    ARRAY(
        SELECT pg_attribute.attname::text
        FROM unnest(pg_constraint.conkey) WITH ORDINALITY AS key (number, place)
        INNER JOIN pg_catalog.pg_attribute
            ON
                key.number = pg_attribute.attnum
                AND pg_constraint.conrelid = pg_attribute.attrelid
        ORDER BY key.place
    ) AS columns,
    target.relname AS target_name,
    pg_get_constraintdef(pg_constraint.oid) AS definition
FROM pg_catalog.pg_constraint
INNER JOIN pg_catalog.pg_class ON pg_constraint.conrelid = pg_class.oid
LEFT JOIN pg_catalog.pg_class AS target ON pg_constraint.confrelid = target.oid
WHERE pg_constraint.connamespace = to_regnamespace('runstore')
    AND pg_constraint.contype IN ('p', 'u', 'f', 'c', 'x')
ORDER BY
    pg_class.relname,
    array_position('{p,u,x,f,c}'::text[], pg_constraint.contype::text),
    pg_constraint.conname;

-- name: list_indexes :many
-- List the indexes of the tables, those of keys first. Columns end before the included ones.
-- not null: is_unique, columns, columns[], definition
SELECT
    pg_class.relname AS table_name,
    index_class.relname AS name,
    pg_index.indisunique AS is_unique,
    ARRAY(
        SELECT pg_attribute.attname::text
        FROM unnest(pg_index.indkey) WITH ORDINALITY AS key (number, place)
        INNER JOIN pg_catalog.pg_attribute
            ON
                key.number = pg_attribute.attnum
                AND pg_index.indrelid = pg_attribute.attrelid
        WHERE key.place <= pg_index.indnkeyatts
        ORDER BY key.place
    ) AS columns,
    pg_get_expr(pg_index.indpred, pg_index.indrelid) AS predicate,
    pg_get_indexdef(pg_index.indexrelid) AS definition
FROM pg_catalog.pg_index
INNER JOIN pg_catalog.pg_class ON pg_index.indrelid = pg_class.oid
INNER JOIN pg_catalog.pg_class AS index_class ON pg_index.indexrelid = index_class.oid
WHERE pg_class.relnamespace = to_regnamespace('runstore')
ORDER BY
    pg_class.relname,
    NOT pg_index.indisprimary,
    NOT pg_index.indisunique,
    index_class.relname;

-- name: list_functions :many
-- List the functions with their comments.
-- not null: arguments, result, comment
SELECT
    pg_proc.proname AS name,
    pg_get_function_identity_arguments(pg_proc.oid) AS arguments,
    pg_get_function_result(pg_proc.oid) AS result,
    coalesce(obj_description(pg_proc.oid, 'pg_proc'), '') AS comment
FROM pg_catalog.pg_proc
WHERE pg_proc.pronamespace = to_regnamespace('runstore')
ORDER BY pg_proc.proname;
