-- Usage logs: what was used, a row for each meter; bills and reports are made of them.
-- A row never changes: what was wrong is corrected by a negative one. Each row says in which
-- windows it has been counted.

-- name: record_usage :many
-- Log amounts without a hold, and count them in every quota that the subject has on their meters.
-- Counters are found, made and changed as reserve_usage does it.
-- No row: a hard quota would be passed, or the id is taken.
WITH taken AS MATERIALIZED (
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
        CASE WHEN quotas.hard AND NOT %(force)s THEN quotas.limit_amount END AS ceiling,
        (%(amounts)s::jsonb ->> quotas.meter)::bigint AS amount,
        coalesce(seen.used, 0) AS used,
        coalesce(seen.held, 0) AS held
    FROM runstore.quotas
    LEFT JOIN runstore.usage_counters AS seen
        ON
            quotas.tenant_id = seen.tenant_id
            AND quotas.subject_id = seen.subject_id
            AND quotas.id = seen.quota_id
            AND runstore.window_start(quotas.period, quotas.timezone, statement_timestamp())
            = seen.window_start
    WHERE quotas.tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
        AND quotas.subject_id = %(subject_id)s
        AND (%(amounts)s::jsonb ->> quotas.meter) IS NOT NULL
    ORDER BY quotas.id
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
        coalesce(%(tenant_id)s::text, runstore.current_tenant_id()),
        %(subject_id)s::text,
        given.amount::bigint,
        (%(costs)s::jsonb ->> given.meter)::bigint,
        %(run_id)s::uuid,
        %(invocation_id)s::uuid,
        %(tool_call_id)s::uuid,
        %(provider)s::text,
        %(model)s::text,
        ARRAY(SELECT asked.quota_id FROM asked WHERE asked.meter = given.meter),
        ARRAY(SELECT asked.window_start FROM asked WHERE asked.meter = given.meter),
        %(metadata)s::jsonb,
        statement_timestamp()
    FROM jsonb_each_text(%(amounts)s::jsonb) AS given (meter, amount)
    WHERE NOT EXISTS (SELECT FROM taken)
        AND NOT EXISTS (
            SELECT
            FROM asked
            WHERE asked.amount > 0
                AND asked.used + asked.amount > asked.ceiling - asked.held
        )
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
    INSERT INTO runstore.usage_counters (tenant_id, subject_id, quota_id, window_start, used)
    SELECT
        asked.tenant_id,
        asked.subject_id,
        asked.quota_id,
        asked.window_start,
        asked.amount
    FROM asked
    WHERE EXISTS (SELECT FROM logged)
    ON CONFLICT (tenant_id, subject_id, quota_id, window_start) DO UPDATE
        SET used = CASE
                WHEN excluded.used <= 0
                    OR coalesce(
                        usage_counters.used + excluded.used
                        <= (SELECT asked.ceiling FROM asked WHERE asked.quota_id = usage_counters.quota_id)
                        - usage_counters.held,
                        true
                    )
                    THEN usage_counters.used + excluded.used
            END
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
