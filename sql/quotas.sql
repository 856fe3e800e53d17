-- Quotas: how much a subject may use of a meter in a period.
-- A quota counts what is reserved and logged after it was made, and starts with what the log says
-- was used in its window before. Its id is made here: what it was counted in stands in the log and in
-- reservations by this id, also when the quota is gone, so no other quota may ever have it.

-- name: set_quota :maybe
-- Make a quota with the counter of its present window, or give the one that the subject has on
-- this meter and period another limit. No row: that one has another time zone.
WITH quota AS (
    INSERT INTO runstore.quotas (
        tenant_id,
        subject_id,
        id,
        meter,
        period,
        timezone,
        limit_amount,
        hard,
        metadata,
        created_at,
        updated_at
    )
    VALUES (
        coalesce(%(tenant_id)s::text, runstore.current_tenant_id()),
        %(subject_id)s,
        gen_random_uuid(),
        %(meter)s,
        %(period)s,
        %(timezone)s,
        %(limit_amount)s,
        %(hard)s,
        %(metadata)s,
        statement_timestamp(),
        statement_timestamp()
    )
    ON CONFLICT (tenant_id, subject_id, meter, period) DO UPDATE
        SET
            limit_amount = excluded.limit_amount,
            hard = excluded.hard,
            metadata = excluded.metadata,
            updated_at = CASE
                WHEN (quotas.limit_amount, quotas.hard, quotas.metadata)
                    IS DISTINCT FROM (excluded.limit_amount, excluded.hard, excluded.metadata)
                    THEN excluded.updated_at
                ELSE quotas.updated_at
            END
        WHERE quotas.timezone = excluded.timezone
    RETURNING
        tenant_id,
        subject_id,
        id,
        meter,
        period,
        timezone,
        limit_amount,
        hard,
        metadata,
        created_at,
        updated_at
),

present AS (
    SELECT
        quota.tenant_id,
        quota.subject_id,
        quota.id,
        quota.meter,
        quota.period,
        quota.timezone,
        runstore.window_start(quota.period, quota.timezone, quota.created_at) AS window_start
    FROM quota
    WHERE quota.created_at = statement_timestamp()
        -- Always so; the window of a total does not ask whether there is such a time zone.
        AND isfinite(quota.created_at AT TIME ZONE quota.timezone)
),

start AS (
    SELECT
        present.tenant_id,
        present.subject_id,
        present.id,
        present.window_start,
        logged.amount
    FROM present
    CROSS JOIN LATERAL (
        SELECT coalesce(sum(usage_logs.amount), 0)::bigint AS amount
        FROM runstore.usage_logs
        WHERE usage_logs.tenant_id = present.tenant_id
            AND usage_logs.subject_id = present.subject_id
            -- Where midnight comes twice, a day has entries from before the second one, by which
            -- the window goes.
            AND usage_logs.created_at >= present.window_start - interval '1 hour'
            AND (
                usage_logs.created_at >= present.window_start
                OR runstore.window_start(present.period, present.timezone, usage_logs.created_at)
                = present.window_start
            )
            AND usage_logs.meter = present.meter
    ) AS logged
),

counter AS (
    INSERT INTO runstore.usage_counters (tenant_id, subject_id, quota_id, window_start, carried, used)
    SELECT
        start.tenant_id,
        start.subject_id,
        start.id,
        start.window_start,
        start.amount,
        start.amount
    FROM start
    -- A quota that was made at the same microsecond looks like this statement's own.
    ON CONFLICT (tenant_id, subject_id, quota_id, window_start) DO NOTHING
)

SELECT
    quota.tenant_id,
    quota.subject_id,
    quota.id,
    quota.meter,
    quota.period,
    quota.timezone,
    quota.limit_amount,
    quota.hard,
    quota.metadata,
    quota.created_at,
    quota.updated_at
FROM quota;

-- name: remove_quota :one
-- Delete a quota with its counters. No row: there is none.
DELETE FROM runstore.quotas
WHERE tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
    AND subject_id = %(subject_id)s
    AND meter = %(meter)s
    AND period = %(period)s
RETURNING
    tenant_id,
    subject_id,
    id,
    meter,
    period,
    timezone,
    limit_amount,
    hard,
    metadata,
    created_at,
    updated_at;

-- name: list_quotas :many
-- List a tenant's quotas, or those of one subject, by subject, meter and period.
SELECT
    tenant_id,
    subject_id,
    id,
    meter,
    period,
    timezone,
    limit_amount,
    hard,
    metadata,
    created_at,
    updated_at
FROM runstore.quotas
WHERE tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
    AND (%(subject_id)s::text IS NULL OR subject_id = %(subject_id)s)
    AND (
        %(after_subject_id)s::text IS NULL
        OR (subject_id, meter, period) > (%(after_subject_id)s, %(after_meter)s, %(after_period)s)
    )
ORDER BY
    subject_id,
    meter,
    period
LIMIT %(row_limit)s;
