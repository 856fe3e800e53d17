-- Usage erasures: a person's quotas removed, and what the person used and reserved given another name.
-- Locks are those of run_removals.sql: a batch passes over what somebody else has locked, and waits
-- for nothing else for longer than a moment.

-- name: delete_subject_quota :one
-- Delete one of a subject's quotas with its counters, and count them and those that are left: one at a
-- time, so that whoever reserves on several of them waits for one at most.
-- not null: quotas, usage_counters, quotas_left
WITH locked AS MATERIALIZED (
    SELECT
        tenant_id,
        subject_id,
        id
    FROM runstore.quotas
    WHERE tenant_id = runstore.current_tenant_id()
        AND subject_id = %(subject_id)s
    ORDER BY id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
),

counter AS (
    DELETE FROM runstore.usage_counters
    USING locked
    WHERE usage_counters.tenant_id = locked.tenant_id
        AND usage_counters.subject_id = locked.subject_id
        AND usage_counters.quota_id = locked.id
    RETURNING usage_counters.quota_id
),

quota AS (
    DELETE FROM runstore.quotas
    USING locked
    WHERE quotas.tenant_id = locked.tenant_id
        AND quotas.subject_id = locked.subject_id
        AND quotas.id = locked.id
    RETURNING quotas.id
)

SELECT
    (SELECT count(*) FROM quota) AS quotas,
    (SELECT count(*) FROM counter) AS usage_counters,
    (
        SELECT count(*)
        FROM runstore.quotas
        WHERE quotas.tenant_id = runstore.current_tenant_id()
            AND quotas.subject_id = %(subject_id)s
            AND quotas.id NOT IN (SELECT locked.id FROM locked)
    ) AS quotas_left;

-- name: blank_usage_logs :one
-- Give a page of a subject's usage another name, without its metadata, and say how many rows that
-- were and up to when.
-- not null: row_count
WITH locked AS MATERIALIZED (
    SELECT
        id,
        meter,
        tenant_id,
        subject_id,
        created_at
    FROM runstore.usage_logs
    WHERE tenant_id = runstore.current_tenant_id()
        AND subject_id = %(subject_id)s
        AND created_at >= coalesce(%(since)s::timestamptz, '-infinity')
    ORDER BY
        created_at,
        id,
        meter
    LIMIT %(row_limit)s
    FOR UPDATE SKIP LOCKED
),

entry AS (
    UPDATE runstore.usage_logs
    SET
        subject_id = %(pseudonym)s,
        metadata = '{}'
    FROM locked
    WHERE usage_logs.id = locked.id
        AND usage_logs.meter = locked.meter
        AND usage_logs.tenant_id = locked.tenant_id
        AND usage_logs.subject_id = locked.subject_id
    RETURNING locked.created_at
)

SELECT
    count(*) AS row_count,
    max(created_at) AS reached
FROM entry;

-- name: blank_usage_reservations :one
-- Give a subject's reservations another name, without their metadata, among a page of all that there
-- are, so that no reservation pays for an index of it; say how many that were, which somebody else has
-- locked, when that was, and where the page ends. NULL: there is no page.
-- not null: row_count, busy_ids, busy_ids[], looked_at
WITH page AS MATERIALIZED (
    SELECT
        id,
        tenant_id,
        subject_id
    FROM runstore.usage_reservations
    WHERE %(after_id)s::uuid IS NULL
        OR (id, tenant_id, subject_id) > (%(after_id)s, %(after_tenant_id)s::text, %(after_subject_id)s::text)
    ORDER BY
        id,
        tenant_id,
        subject_id
    LIMIT %(row_limit)s
),

locked AS MATERIALIZED (
    SELECT
        usage_reservations.id,
        usage_reservations.tenant_id,
        usage_reservations.subject_id
    FROM page
    INNER JOIN runstore.usage_reservations
        ON
            page.id = usage_reservations.id
            AND page.tenant_id = usage_reservations.tenant_id
            AND page.subject_id = usage_reservations.subject_id
    WHERE page.tenant_id = runstore.current_tenant_id()
        AND page.subject_id = %(subject_id)s
    ORDER BY usage_reservations.id
    FOR UPDATE OF usage_reservations SKIP LOCKED
),

reservation AS (
    UPDATE runstore.usage_reservations
    SET
        subject_id = %(pseudonym)s,
        metadata = '{}'
    FROM locked
    WHERE usage_reservations.id = locked.id
        AND usage_reservations.tenant_id = locked.tenant_id
        AND usage_reservations.subject_id = locked.subject_id
    RETURNING usage_reservations.id
),

last_row AS (
    SELECT
        id,
        tenant_id,
        subject_id
    FROM page
    ORDER BY
        id DESC,
        tenant_id DESC,
        subject_id DESC
    LIMIT 1
)

SELECT
    (SELECT count(*) FROM reservation) AS row_count,
    ARRAY(
        SELECT page.id
        FROM page
        WHERE page.tenant_id = runstore.current_tenant_id()
            AND page.subject_id = %(subject_id)s
            AND page.id NOT IN (SELECT locked.id FROM locked)
    ) AS busy_ids,
    statement_timestamp() AS looked_at,
    (SELECT last_row.id FROM last_row) AS after_id,
    (SELECT last_row.tenant_id FROM last_row) AS after_tenant_id,
    (SELECT last_row.subject_id FROM last_row) AS after_subject_id;
