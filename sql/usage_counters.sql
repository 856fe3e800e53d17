-- Usage counters: what a subject has used and holds of each quota, a row for each window.
-- The statements that reserve, settle and log change them, under their row locks taken in the
-- order of the key. Here they are read, and proven against the log and the open holds.

-- name: get_usage :many
-- Read every quota of a subject with what has been used and is held in its present window.
-- not null: used, held, remaining
SELECT
    quotas.id AS quota_id,
    quotas.meter,
    quotas.period,
    quotas.timezone,
    quotas.hard,
    quotas.limit_amount,
    coalesce(usage_counters.used, 0) AS used,
    coalesce(usage_counters.held, 0) AS held,
    least(
        greatest(
            quotas.limit_amount::numeric - coalesce(usage_counters.used, 0) - coalesce(usage_counters.held, 0), 0
        ),
        9223372036854775807
    )::bigint AS remaining,
    runstore.window_end(
        quotas.period,
        quotas.timezone,
        runstore.window_start(quotas.period, quotas.timezone, statement_timestamp())
    ) AS resets_at
FROM runstore.quotas
LEFT JOIN runstore.usage_counters
    ON
        quotas.tenant_id = usage_counters.tenant_id
        AND quotas.subject_id = usage_counters.subject_id
        AND quotas.id = usage_counters.quota_id
        AND runstore.window_start(quotas.period, quotas.timezone, statement_timestamp())
        = usage_counters.window_start
WHERE quotas.tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
    AND quotas.subject_id = %(subject_id)s
ORDER BY
    quotas.meter,
    quotas.period;

-- name: find_obstacle :one
-- Find what stands in the way of a reservation or an entry of the log: that its id is taken, or the
-- hard quota that would be passed; of several, the one that resets last.
-- not null: reserved, logged, used, held, asked
WITH taken AS (
    SELECT
        %(id)s::uuid IN (
            SELECT usage_reservations.id FROM runstore.usage_reservations
            WHERE usage_reservations.id = %(id)s
        ) AS reserved,
        %(id)s::uuid IN (
            SELECT usage_logs.id FROM runstore.usage_logs
            WHERE usage_logs.id = %(id)s
        ) AS logged
),

asked AS (
    SELECT
        quotas.id AS quota_id,
        quotas.meter,
        quotas.period,
        quotas.limit_amount,
        coalesce(usage_counters.used, 0) AS used,
        coalesce(usage_counters.held, 0) AS held,
        (%(amounts)s::jsonb ->> quotas.meter)::bigint AS asked,
        runstore.window_end(
            quotas.period,
            quotas.timezone,
            runstore.window_start(quotas.period, quotas.timezone, statement_timestamp())
        ) AS resets_at
    FROM runstore.quotas
    LEFT JOIN runstore.usage_counters
        ON
            quotas.tenant_id = usage_counters.tenant_id
            AND quotas.subject_id = usage_counters.subject_id
            AND quotas.id = usage_counters.quota_id
            AND runstore.window_start(quotas.period, quotas.timezone, statement_timestamp())
            = usage_counters.window_start
    WHERE quotas.tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
        AND quotas.subject_id = %(subject_id)s
        AND quotas.hard
        AND NOT %(force)s
),

exceeded AS (
    SELECT
        asked.quota_id,
        asked.meter,
        asked.period,
        asked.limit_amount,
        asked.used,
        asked.held,
        asked.asked,
        asked.resets_at
    FROM asked
    WHERE asked.asked > 0
        AND asked.used + asked.asked > asked.limit_amount - asked.held
    ORDER BY
        asked.resets_at DESC NULLS FIRST,
        asked.meter ASC
    LIMIT 1
)

SELECT
    taken.reserved,
    taken.logged,
    exceeded.quota_id,
    exceeded.meter,
    exceeded.period,
    exceeded.limit_amount,
    exceeded.used,
    exceeded.held,
    exceeded.asked,
    exceeded.resets_at
FROM taken
LEFT JOIN exceeded ON true;

-- name: verify_usage :many
-- Read a batch of counters, each beside what it should be: what was carried over and the log's
-- amounts that are counted in it, and the amounts of the open holds. All of one snapshot, in
-- which they agree, however many writers there are.
-- not null: tenant_id, subject_id, quota_id, used, logged, held, reserved
-- may scan usage_counters: it proves all of them, batch by batch
WITH batch AS MATERIALIZED (
    SELECT
        tenant_id,
        subject_id,
        quota_id,
        window_start,
        carried,
        used,
        held
    FROM runstore.usage_counters
    WHERE %(after_tenant_id)s::text IS NULL
        OR (tenant_id, subject_id, quota_id, window_start)
        > (
            %(after_tenant_id)s,
            %(after_subject_id)s::text,
            %(after_quota_id)s::uuid,
            coalesce(%(after_window_start)s::timestamptz, '-infinity')
        )
    ORDER BY
        tenant_id,
        subject_id,
        quota_id,
        window_start
    LIMIT %(row_limit)s
),

subject AS MATERIALIZED (
    SELECT
        batch.tenant_id,
        batch.subject_id,
        min(batch.window_start) AS window_start
    FROM batch
    GROUP BY
        batch.tenant_id,
        batch.subject_id
),

logged AS (
    SELECT
        usage_logs.tenant_id,
        usage_logs.subject_id,
        counted.quota_id,
        counted.window_start,
        sum(usage_logs.amount) AS amount
    FROM subject
    INNER JOIN runstore.usage_logs
        ON
            subject.tenant_id = usage_logs.tenant_id
            AND subject.subject_id = usage_logs.subject_id
            -- Where midnight comes twice, a window that goes by the second one has entries from before.
            AND subject.window_start - interval '1 hour' <= usage_logs.created_at
    CROSS JOIN unnest(usage_logs.quota_ids, usage_logs.window_starts) AS counted (quota_id, window_start)
    GROUP BY
        usage_logs.tenant_id,
        usage_logs.subject_id,
        counted.quota_id,
        counted.window_start
),

reserved AS (
    SELECT
        usage_reservations.tenant_id,
        usage_reservations.subject_id,
        hold.quota_id,
        hold.window_start,
        sum(hold.amount) AS amount
    FROM subject
    INNER JOIN runstore.usage_reservations
        ON
            subject.tenant_id = usage_reservations.tenant_id
            AND subject.subject_id = usage_reservations.subject_id
    CROSS JOIN
        unnest(usage_reservations.quota_ids, usage_reservations.window_starts, usage_reservations.held_amounts)
            AS hold (quota_id, window_start, amount)
    WHERE usage_reservations.status = 'held'
    GROUP BY
        usage_reservations.tenant_id,
        usage_reservations.subject_id,
        hold.quota_id,
        hold.window_start
)

SELECT
    batch.tenant_id,
    batch.subject_id,
    batch.quota_id,
    nullif(batch.window_start, '-infinity') AS window_start,
    batch.used,
    (batch.carried + coalesce(logged.amount, 0))::bigint AS logged,
    batch.held,
    coalesce(reserved.amount, 0)::bigint AS reserved
FROM batch
LEFT JOIN logged
    ON
        batch.tenant_id = logged.tenant_id
        AND batch.subject_id = logged.subject_id
        AND batch.quota_id = logged.quota_id
        AND batch.window_start = logged.window_start
LEFT JOIN reserved
    ON
        batch.tenant_id = reserved.tenant_id
        AND batch.subject_id = reserved.subject_id
        AND batch.quota_id = reserved.quota_id
        AND batch.window_start = reserved.window_start
ORDER BY
    batch.tenant_id,
    batch.subject_id,
    batch.quota_id,
    batch.window_start;

-- name: lock_usage_counters :many
-- Lock all counters of a subject: from then on what is counted in them stands still.
SELECT quota_id
FROM runstore.usage_counters
WHERE tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
    AND subject_id = %(subject_id)s
ORDER BY
    tenant_id,
    subject_id,
    quota_id,
    window_start
FOR UPDATE;

-- name: mend_usage_counters :many
-- Set the counters of a subject to what the log and the open holds say, and answer those that said
-- otherwise, as they were. Whoever sends it holds their locks.
-- not null: logged, reserved
WITH logged AS (
    SELECT
        counted.quota_id,
        counted.window_start,
        sum(usage_logs.amount) AS amount
    FROM runstore.usage_logs
    CROSS JOIN unnest(usage_logs.quota_ids, usage_logs.window_starts) AS counted (quota_id, window_start)
    WHERE usage_logs.tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
        AND usage_logs.subject_id = %(subject_id)s
    GROUP BY
        counted.quota_id,
        counted.window_start
),

reserved AS (
    SELECT
        hold.quota_id,
        hold.window_start,
        sum(hold.amount) AS amount
    FROM runstore.usage_reservations
    CROSS JOIN
        unnest(usage_reservations.quota_ids, usage_reservations.window_starts, usage_reservations.held_amounts)
            AS hold (quota_id, window_start, amount)
    WHERE usage_reservations.tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
        AND usage_reservations.subject_id = %(subject_id)s
        AND usage_reservations.status = 'held'
    GROUP BY
        hold.quota_id,
        hold.window_start
),

wrong AS MATERIALIZED (
    SELECT
        usage_counters.tenant_id,
        usage_counters.subject_id,
        usage_counters.quota_id,
        usage_counters.window_start,
        usage_counters.used,
        (usage_counters.carried + coalesce(logged.amount, 0))::bigint AS logged,
        usage_counters.held,
        coalesce(reserved.amount, 0)::bigint AS reserved
    FROM runstore.usage_counters
    LEFT JOIN logged
        ON
            usage_counters.quota_id = logged.quota_id
            AND usage_counters.window_start = logged.window_start
    LEFT JOIN reserved
        ON
            usage_counters.quota_id = reserved.quota_id
            AND usage_counters.window_start = reserved.window_start
    WHERE usage_counters.tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
        AND usage_counters.subject_id = %(subject_id)s
        AND (
            usage_counters.used <> usage_counters.carried + coalesce(logged.amount, 0)
            OR usage_counters.held <> coalesce(reserved.amount, 0)
        )
),

mended AS (
    UPDATE runstore.usage_counters
    SET
        used = wrong.logged,
        held = wrong.reserved
    FROM wrong
    WHERE usage_counters.tenant_id = wrong.tenant_id
        AND usage_counters.subject_id = wrong.subject_id
        AND usage_counters.quota_id = wrong.quota_id
        AND usage_counters.window_start = wrong.window_start
)

SELECT
    wrong.tenant_id,
    wrong.subject_id,
    wrong.quota_id,
    nullif(wrong.window_start, '-infinity') AS window_start,
    wrong.used,
    wrong.logged,
    wrong.held,
    wrong.reserved
FROM wrong
ORDER BY
    wrong.quota_id,
    wrong.window_start;
