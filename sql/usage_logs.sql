-- Usage logs: what was used, a row for each meter; bills and reports are made of them.
-- A row never changes: what was wrong is corrected by a negative one. Each row says in which
-- windows it has been counted.

-- name: record_usage :many
-- Log amounts without a hold, and count them in every quota that the subject has on their meters.
-- Counters are found, locked and made as reserve_usage does it with those of several quotas; where
-- there is one quota only, a counter that is missing is made with the amount.
-- No row: a hard quota would be passed, a counter was missing, or the id is taken.
WITH taken AS (
    SELECT usage_logs.id
    FROM runstore.usage_logs
    WHERE usage_logs.id = %(id)s
    UNION ALL
    SELECT usage_reservations.id
    FROM runstore.usage_reservations
    WHERE usage_reservations.id = %(id)s
),

asked AS MATERIALIZED (
    SELECT
        quotas.tenant_id,
        quotas.subject_id,
        quotas.id AS quota_id,
        quotas.meter,
        runstore.window_start(quotas.period, quotas.timezone, statement_timestamp()) AS window_start,
        quotas.limit_amount,
        quotas.hard AND NOT %(force)s AS bound,
        (%(amounts)s::jsonb ->> quotas.meter)::bigint AS amount,
        count(*) OVER () = 1 AS alone
    FROM runstore.quotas
    WHERE quotas.tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
        AND quotas.subject_id = %(subject_id)s
        AND (%(amounts)s::jsonb ->> quotas.meter) IS NOT NULL
),

seen AS MATERIALIZED (
    SELECT
        asked.quota_id,
        usage_counters.quota_id IS NOT NULL AS counted,
        NOT asked.bound OR asked.amount
        <= greatest(asked.limit_amount - coalesce(usage_counters.used + usage_counters.held, 0), 0) AS fits
    FROM asked
    LEFT JOIN runstore.usage_counters
        ON
            asked.tenant_id = usage_counters.tenant_id
            AND asked.subject_id = usage_counters.subject_id
            AND asked.quota_id = usage_counters.quota_id
            AND asked.window_start = usage_counters.window_start
),

locked AS MATERIALIZED (
    SELECT
        usage_counters.tenant_id,
        usage_counters.subject_id,
        usage_counters.quota_id,
        usage_counters.window_start,
        asked.meter,
        asked.amount,
        NOT asked.bound OR asked.amount
        <= greatest(asked.limit_amount - usage_counters.used - usage_counters.held, 0) AS fits
    FROM asked
    INNER JOIN runstore.usage_counters
        ON
            asked.tenant_id = usage_counters.tenant_id
            AND asked.subject_id = usage_counters.subject_id
            AND asked.quota_id = usage_counters.quota_id
            AND asked.window_start = usage_counters.window_start
    WHERE (SELECT bool_and(seen.counted AND seen.fits) FROM seen)
    ORDER BY
        usage_counters.tenant_id,
        usage_counters.subject_id,
        usage_counters.quota_id,
        usage_counters.window_start
    FOR UPDATE OF usage_counters
),

made AS (
    INSERT INTO runstore.usage_counters (tenant_id, subject_id, quota_id, window_start, used)
    SELECT
        quotas.tenant_id,
        quotas.subject_id,
        quotas.id,
        asked.window_start,
        CASE WHEN asked.alone THEN asked.amount ELSE 0 END
    FROM asked
    INNER JOIN seen ON asked.quota_id = seen.quota_id
    INNER JOIN runstore.quotas
        ON
            asked.tenant_id = quotas.tenant_id
            AND asked.subject_id = quotas.subject_id
            AND asked.quota_id = quotas.id
    WHERE NOT seen.counted
        AND (SELECT bool_and(every_one.fits) FROM seen AS every_one)
        AND NOT EXISTS (SELECT FROM taken)
    ORDER BY
        quotas.tenant_id,
        quotas.subject_id,
        quotas.id,
        asked.window_start
    FOR KEY SHARE OF quotas
    ON CONFLICT (tenant_id, subject_id, quota_id, window_start) DO NOTHING
    RETURNING
        quota_id,
        window_start
),

granted AS (
    SELECT
        locked.quota_id,
        locked.window_start,
        locked.meter,
        locked.amount,
        locked.fits
    FROM locked
    UNION ALL
    SELECT
        made.quota_id,
        made.window_start,
        asked.meter,
        asked.amount,
        asked.alone AS fits
    FROM made
    INNER JOIN asked ON made.quota_id = asked.quota_id
),

allowed AS MATERIALIZED (
    SELECT coalesce(%(tenant_id)s::text, runstore.current_tenant_id()) AS tenant_id
    FROM granted
    HAVING coalesce(bool_and(granted.fits), true)
        AND count(*) = (SELECT count(*) FROM asked)
        AND NOT EXISTS (SELECT FROM taken)
),

charged AS (
    SELECT
        granted.meter,
        array_agg(granted.quota_id ORDER BY granted.quota_id) AS quota_ids,
        array_agg(granted.window_start ORDER BY granted.quota_id) AS window_starts
    FROM granted
    GROUP BY granted.meter
),

logged AS (
    INSERT INTO runstore.usage_logs (
        id,
        meter,
        tenant_id,
        subject_id,
        amount,
        cost_nanousd,
        run_id,
        invocation_id,
        tool_call_id,
        provider,
        model,
        quota_ids,
        window_starts,
        metadata,
        created_at
    )
    SELECT
        %(id)s::uuid,
        given.meter,
        allowed.tenant_id,
        %(subject_id)s::text,
        given.amount::bigint,
        (%(costs)s::jsonb ->> given.meter)::bigint,
        %(run_id)s::uuid,
        %(invocation_id)s::uuid,
        %(tool_call_id)s::uuid,
        %(provider)s::text,
        %(model)s::text,
        coalesce(charged.quota_ids, '{}'),
        coalesce(charged.window_starts, '{}'),
        %(metadata)s::jsonb,
        statement_timestamp()
    FROM allowed
    CROSS JOIN jsonb_each_text(%(amounts)s::jsonb) AS given (meter, amount)
    LEFT JOIN charged ON given.meter = charged.meter
    RETURNING
        id,
        tenant_id,
        subject_id,
        meter,
        amount,
        cost_nanousd,
        run_id,
        invocation_id,
        tool_call_id,
        provider,
        model,
        metadata,
        created_at
),

counted AS (
    UPDATE runstore.usage_counters
    SET used = usage_counters.used + locked.amount
    FROM locked
    CROSS JOIN allowed
    WHERE usage_counters.tenant_id = locked.tenant_id
        AND usage_counters.subject_id = locked.subject_id
        AND usage_counters.quota_id = locked.quota_id
        AND usage_counters.window_start = locked.window_start
)

SELECT
    logged.id,
    logged.tenant_id,
    logged.subject_id,
    logged.meter,
    logged.amount,
    logged.cost_nanousd,
    logged.run_id,
    logged.invocation_id,
    logged.tool_call_id,
    logged.provider,
    logged.model,
    logged.metadata,
    logged.created_at
FROM logged
ORDER BY logged.meter;

-- name: find_usage_logs :many
-- Find the rows that were logged under an id, by meter.
SELECT
    id,
    tenant_id,
    subject_id,
    meter,
    amount,
    cost_nanousd,
    run_id,
    invocation_id,
    tool_call_id,
    provider,
    model,
    metadata,
    created_at
FROM runstore.usage_logs
WHERE id = %(id)s
ORDER BY meter;

-- name: list_usage_logs :many
-- List what a subject used, oldest first.
SELECT
    id,
    tenant_id,
    subject_id,
    meter,
    amount,
    cost_nanousd,
    run_id,
    invocation_id,
    tool_call_id,
    provider,
    model,
    metadata,
    created_at
FROM runstore.usage_logs
WHERE tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
    AND subject_id = %(subject_id)s
    AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR created_at < %(until)s)
    AND (%(meter)s::text IS NULL OR meter = %(meter)s)
    AND (
        %(after_created_at)s::timestamptz IS NULL
        OR (created_at, id, meter) > (%(after_created_at)s, %(after_id)s::uuid, %(after_meter)s::text)
    )
ORDER BY
    created_at,
    id,
    meter
LIMIT %(row_limit)s;

-- name: summarize_usage :many
-- Add up what a subject used from a time on, up to another one, by meter and what else is asked for.
-- not null: amount, entries, unpriced
WITH entry AS (
    SELECT
        meter,
        amount,
        cost_nanousd,
        CASE WHEN %(by_provider)s THEN provider END AS provider,
        CASE WHEN %(by_model)s THEN model END AS model,
        CASE WHEN %(by_run)s THEN run_id END AS run_id,
        CASE
            WHEN %(by_period)s::text IS NOT NULL
                THEN date_trunc(%(by_period)s, created_at, %(timezone)s)
        END AS starts_at
    FROM runstore.usage_logs
    WHERE tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
        AND subject_id = %(subject_id)s
        AND created_at >= %(since)s
        AND created_at < %(until)s
)

SELECT
    entry.meter,
    entry.provider,
    entry.model,
    entry.run_id,
    entry.starts_at,
    sum(entry.amount)::bigint AS amount,
    sum(entry.cost_nanousd)::bigint AS cost_nanousd,
    count(*) AS entries,
    count(*) FILTER (WHERE entry.cost_nanousd IS NULL AND entry.meter <> 'cost_nanousd') AS unpriced
FROM entry
GROUP BY
    entry.meter,
    entry.provider,
    entry.model,
    entry.run_id,
    entry.starts_at
ORDER BY
    entry.starts_at,
    entry.meter,
    entry.provider,
    entry.model,
    entry.run_id;
