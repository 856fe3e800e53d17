-- Usage purges: removing what was reserved, counted and logged long ago.
-- What a row of the log had in a counter that stays is carried over in the same statement, so that a
-- counter can be proven at any moment. A batch passes over what somebody else has locked, and waits
-- for nothing else for longer than a moment; it begins like those of run_removals.sql.

-- name: count_old_usage :many
-- Count by table what purging a tenant's usage would delete.
-- not null: table_name, row_count
SELECT
    'usage_reservations' AS table_name,
    count(*) AS row_count
FROM runstore.usage_reservations
WHERE tenant_id = runstore.current_tenant_id()
    AND finished_at < %(before)s
UNION ALL
SELECT
    'usage_counters' AS table_name,
    count(*) AS row_count
FROM runstore.quotas
INNER JOIN runstore.usage_counters
    ON
        quotas.tenant_id = usage_counters.tenant_id
        AND quotas.subject_id = usage_counters.subject_id
        AND quotas.id = usage_counters.quota_id
WHERE quotas.tenant_id = runstore.current_tenant_id()
    AND usage_counters.window_start < runstore.window_start(
        quotas.period, quotas.timezone, least(%(before)s, statement_timestamp() - interval '1 hour')
    )
    AND usage_counters.held = 0
UNION ALL
SELECT
    'usage_logs' AS table_name,
    count(*) AS row_count
FROM runstore.usage_logs
WHERE usage_logs.tenant_id = runstore.current_tenant_id()
    AND usage_logs.created_at < %(before)s
    AND NOT EXISTS (
        SELECT FROM runstore.usage_reservations
        WHERE usage_reservations.id = usage_logs.id
            AND usage_reservations.finished_at >= %(before)s
    );

-- name: delete_ended_reservations :one
-- Delete some of a tenant's reservations that ended before a time, the oldest first, and count them.
-- not null: row_count
WITH ended AS MATERIALIZED (
    SELECT
        id,
        tenant_id,
        subject_id
    FROM runstore.usage_reservations
    WHERE tenant_id = runstore.current_tenant_id()
        AND finished_at < %(before)s
    ORDER BY
        finished_at,
        id
    LIMIT %(row_limit)s
    FOR UPDATE SKIP LOCKED
),

deleted AS (
    DELETE FROM runstore.usage_reservations
    USING ended
    WHERE usage_reservations.id = ended.id
        AND usage_reservations.tenant_id = ended.tenant_id
        AND usage_reservations.subject_id = ended.subject_id
    RETURNING usage_reservations.id
)

SELECT count(*) AS row_count
FROM deleted;

-- name: delete_past_counters :one
-- Delete some of the counters of these quotas whose windows ended before a time and hold nothing, and
-- count them. A window that ended within the hour stays for statements that began in it; a total began
-- at -infinity, before which nothing is.
-- not null: row_count
WITH past AS MATERIALIZED (
    SELECT
        usage_counters.tenant_id,
        usage_counters.subject_id,
        usage_counters.quota_id,
        usage_counters.window_start
    FROM unnest(%(subject_ids)s::text[], %(quota_ids)s::uuid[]) AS given (subject_id, quota_id)
    INNER JOIN runstore.quotas
        ON
            given.subject_id = quotas.subject_id
            AND given.quota_id = quotas.id
    INNER JOIN runstore.usage_counters
        ON
            quotas.tenant_id = usage_counters.tenant_id
            AND quotas.subject_id = usage_counters.subject_id
            AND quotas.id = usage_counters.quota_id
    WHERE quotas.tenant_id = runstore.current_tenant_id()
        AND usage_counters.window_start < runstore.window_start(
            quotas.period, quotas.timezone, least(%(before)s, statement_timestamp() - interval '1 hour')
        )
        AND usage_counters.held = 0
    -- Whichever come first: sorted, all of them would have to be read for each batch.
    LIMIT %(row_limit)s -- noqa: AM09
    FOR UPDATE OF usage_counters SKIP LOCKED
),

deleted AS (
    DELETE FROM runstore.usage_counters
    USING past
    WHERE usage_counters.tenant_id = past.tenant_id
        AND usage_counters.subject_id = past.subject_id
        AND usage_counters.quota_id = past.quota_id
        AND usage_counters.window_start = past.window_start
    RETURNING usage_counters.quota_id
)

SELECT count(*) AS row_count
FROM deleted;

-- name: list_logged_subjects :many
-- List the subjects of a tenant's log, those after another one, each with the time of its oldest entry.
-- It takes one look into the index for each of them, however much they used.
-- not null: subject_id, logged_since
WITH RECURSIVE subject AS (
    (
        SELECT
            subject_id,
            created_at AS logged_since,
            1 AS place
        FROM runstore.usage_logs
        WHERE tenant_id = runstore.current_tenant_id()
            AND (%(after_subject_id)s::text IS NULL OR subject_id > %(after_subject_id)s)
        ORDER BY
            subject_id,
            created_at
        LIMIT 1
    )
    UNION ALL
    SELECT
        following.subject_id,
        following.logged_since,
        subject.place + 1 AS place
    FROM subject
    CROSS JOIN
        LATERAL (
            SELECT
                usage_logs.subject_id,
                usage_logs.created_at AS logged_since
            FROM runstore.usage_logs
            WHERE usage_logs.tenant_id = runstore.current_tenant_id()
                AND usage_logs.subject_id > subject.subject_id
            ORDER BY
                usage_logs.subject_id,
                usage_logs.created_at
            LIMIT 1
        ) AS following
    WHERE subject.place < %(row_limit)s
)

SELECT
    subject_id,
    logged_since
FROM subject
ORDER BY subject_id;

-- name: delete_old_usage_logs :one
-- Delete some entries of these subjects that were logged before a time, carry over what they had in
-- counters that are there, and count their rows and those found. An entry goes with the rows of all of
-- its meters, or stays; the entries of a reservation stay as long as it does. Who does not wait for
-- counters leaves all of those subjects of which somebody has one locked, and is told who they are.
-- not null: found_count, row_count, busy_subject_ids, busy_subject_ids[]
WITH given AS (
    SELECT unnest(%(subject_ids)s::text[]) AS subject_id
),

found AS MATERIALIZED (
    SELECT
        found.id,
        found.tenant_id,
        found.subject_id
    FROM given
    CROSS JOIN
        LATERAL (
            SELECT
                usage_logs.id,
                usage_logs.tenant_id,
                usage_logs.subject_id
            FROM runstore.usage_logs
            WHERE usage_logs.tenant_id = runstore.current_tenant_id()
                AND usage_logs.subject_id = given.subject_id
                AND usage_logs.created_at < %(before)s
                AND NOT EXISTS (
                    SELECT FROM runstore.usage_reservations
                    WHERE usage_reservations.id = usage_logs.id
                )
            ORDER BY
                usage_logs.created_at,
                usage_logs.id,
                usage_logs.meter
            LIMIT %(row_limit)s
            FOR UPDATE SKIP LOCKED
        ) AS found
    -- Whichever come first: sorted, all of them would have to be read for each batch.
    LIMIT %(row_limit)s -- noqa: AM09
),

locked_entry AS MATERIALIZED (
    SELECT
        usage_logs.id,
        usage_logs.meter,
        usage_logs.tenant_id,
        usage_logs.subject_id,
        usage_logs.amount,
        usage_logs.quota_ids,
        usage_logs.window_starts
    FROM (
        SELECT DISTINCT
            id,
            tenant_id,
            subject_id
        FROM found
    ) AS entry
    INNER JOIN runstore.usage_logs
        ON
            entry.id = usage_logs.id
            AND entry.tenant_id = usage_logs.tenant_id
            AND entry.subject_id = usage_logs.subject_id
    FOR UPDATE OF usage_logs SKIP LOCKED
),

counted_entry AS (
    SELECT
        id,
        meter,
        tenant_id,
        subject_id,
        amount,
        quota_ids,
        window_starts,
        count(*) OVER (PARTITION BY id, tenant_id, subject_id) AS locked_count
    FROM locked_entry
),

old AS MATERIALIZED (
    SELECT
        id,
        meter,
        tenant_id,
        subject_id,
        amount,
        quota_ids,
        window_starts
    FROM counted_entry
    WHERE locked_count = (
            SELECT count(*)
            FROM runstore.usage_logs
            WHERE usage_logs.id = counted_entry.id
                AND usage_logs.tenant_id = counted_entry.tenant_id
                AND usage_logs.subject_id = counted_entry.subject_id
        )
),

carry AS MATERIALIZED (
    SELECT
        old.tenant_id,
        old.subject_id,
        counted.quota_id,
        counted.window_start,
        sum(old.amount)::bigint AS amount
    FROM old
    CROSS JOIN unnest(old.quota_ids, old.window_starts) AS counted (quota_id, window_start)
    GROUP BY
        old.tenant_id,
        old.subject_id,
        counted.quota_id,
        counted.window_start
),

waited AS MATERIALIZED (
    SELECT usage_counters.quota_id
    FROM carry
    INNER JOIN runstore.usage_counters
        ON
            carry.tenant_id = usage_counters.tenant_id
            AND carry.subject_id = usage_counters.subject_id
            AND carry.quota_id = usage_counters.quota_id
            AND carry.window_start = usage_counters.window_start
    WHERE %(wait)s
    ORDER BY
        usage_counters.tenant_id,
        usage_counters.subject_id,
        usage_counters.quota_id,
        usage_counters.window_start
    FOR UPDATE OF usage_counters
),

locked AS MATERIALIZED (
    SELECT
        usage_counters.tenant_id,
        usage_counters.subject_id,
        usage_counters.quota_id,
        usage_counters.window_start,
        carry.amount
    FROM carry
    INNER JOIN runstore.usage_counters
        ON
            carry.tenant_id = usage_counters.tenant_id
            AND carry.subject_id = usage_counters.subject_id
            AND carry.quota_id = usage_counters.quota_id
            AND carry.window_start = usage_counters.window_start
    WHERE (SELECT count(*) FROM waited) >= 0
    ORDER BY
        usage_counters.tenant_id,
        usage_counters.subject_id,
        usage_counters.quota_id,
        usage_counters.window_start
    FOR UPDATE OF usage_counters SKIP LOCKED
),

busy AS MATERIALIZED (
    SELECT
        usage_counters.subject_id,
        usage_counters.quota_id,
        usage_counters.window_start
    FROM carry
    INNER JOIN runstore.usage_counters
        ON
            carry.tenant_id = usage_counters.tenant_id
            AND carry.subject_id = usage_counters.subject_id
            AND carry.quota_id = usage_counters.quota_id
            AND carry.window_start = usage_counters.window_start
    EXCEPT
    SELECT
        subject_id,
        quota_id,
        window_start
    FROM locked
),

carried AS (
    UPDATE runstore.usage_counters
    SET carried = usage_counters.carried + locked.amount
    FROM locked
    WHERE usage_counters.tenant_id = locked.tenant_id
        AND usage_counters.subject_id = locked.subject_id
        AND usage_counters.quota_id = locked.quota_id
        AND usage_counters.window_start = locked.window_start
        AND locked.subject_id NOT IN (SELECT busy.subject_id FROM busy)
),

deleted AS (
    DELETE FROM runstore.usage_logs
    USING old
    WHERE usage_logs.id = old.id
        AND usage_logs.meter = old.meter
        AND usage_logs.tenant_id = old.tenant_id
        AND usage_logs.subject_id = old.subject_id
        AND old.subject_id NOT IN (SELECT busy.subject_id FROM busy)
    RETURNING usage_logs.id
)

SELECT
    (SELECT count(*) FROM found) AS found_count,
    (SELECT count(*) FROM deleted) AS row_count,
    ARRAY(SELECT DISTINCT busy.subject_id FROM busy ORDER BY busy.subject_id) AS busy_subject_ids;
