-- Usage reservations: holds on what a subject is about to use, of every quota that it touches.
--
-- Whoever changes counters locks the reservations that it ends, by id, then the counters, in the
-- order of their key, and changes rows only when it has all locks. What is held stands in the
-- reservation, and what is counted in the log, so that a later change of quotas cannot part
-- them from the counters. The windows are those of the database's clock.
--
-- What fits is asked as `used + amount <= limit - held`: a limit may be the largest bigint, and
-- corrections take `used` below 0, so that what is left of a limit is not always a bigint.

-- name: reserve_usage :one
-- Hold amounts against every quota that the subject has on their meters, all or nothing.
-- Where the quota is the only one its counter is changed at once, or made, since its window is new:
-- by an upsert, as an UPDATE that had to wait sets the whole statement up again to see what it found.
-- The counters of several are locked before one is changed; what is missing of them is made empty,
-- for the next attempt to lock all of them in their order. A counter on which the amount plainly
-- does not fit is not locked, and the answer is its quota; of several, the one that resets last.
-- No row: a hard quota is passed since, a counter was missing, or the id is taken.
-- not null: used, held, asked
WITH taken AS MATERIALIZED (
    SELECT usage_reservations.id
    FROM runstore.usage_reservations
    WHERE usage_reservations.id = %(id)s
    UNION ALL
    SELECT usage_logs.id
    FROM runstore.usage_logs
    WHERE usage_logs.id = %(id)s
),

asked AS MATERIALIZED (
    SELECT
        quotas.tenant_id,
        quotas.subject_id,
        quotas.id AS quota_id,
        quotas.meter,
        quotas.period,
        quotas.timezone,
        quotas.limit_amount,
        runstore.window_start(quotas.period, quotas.timezone, statement_timestamp()) AS window_start,
        CASE WHEN quotas.hard THEN quotas.limit_amount END AS ceiling,
        (%(amounts)s::jsonb ->> quotas.meter)::bigint AS amount,
        coalesce(seen.used, 0) AS used,
        coalesce(seen.held, 0) AS held,
        seen.quota_id IS NOT NULL AS counted,
        count(*) OVER () = 1 AS alone
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
),

added AS (
    INSERT INTO runstore.usage_counters (tenant_id, subject_id, quota_id, window_start, held)
    SELECT
        asked.tenant_id,
        asked.subject_id,
        asked.quota_id,
        asked.window_start,
        asked.amount
    FROM asked
    WHERE asked.alone
        AND (
            asked.ceiling IS NULL
            OR asked.amount <= 0
            OR asked.used + asked.amount <= asked.ceiling - asked.held
        )
        AND NOT EXISTS (SELECT FROM taken)
    ON CONFLICT (tenant_id, subject_id, quota_id, window_start) DO UPDATE
        SET held = usage_counters.held + excluded.held
        WHERE excluded.held <= 0
        OR coalesce(
            usage_counters.used + excluded.held
            <= (SELECT asked.ceiling FROM asked WHERE asked.alone) - usage_counters.held,
            true
        )
    RETURNING quota_id
),

locked AS MATERIALIZED (
    SELECT
        usage_counters.tenant_id,
        usage_counters.subject_id,
        usage_counters.quota_id,
        usage_counters.window_start,
        asked.amount
    FROM asked
    INNER JOIN runstore.usage_counters
        ON
            asked.tenant_id = usage_counters.tenant_id
            AND asked.subject_id = usage_counters.subject_id
            AND asked.quota_id = usage_counters.quota_id
            AND asked.window_start = usage_counters.window_start
    WHERE NOT asked.alone
        AND (
            asked.ceiling IS NULL
            OR asked.amount <= 0
            OR usage_counters.used + asked.amount <= asked.ceiling - usage_counters.held
        )
    ORDER BY
        usage_counters.tenant_id,
        usage_counters.subject_id,
        usage_counters.quota_id,
        usage_counters.window_start
    FOR UPDATE OF usage_counters
),

made AS (
    INSERT INTO runstore.usage_counters (tenant_id, subject_id, quota_id, window_start)
    SELECT
        quotas.tenant_id,
        quotas.subject_id,
        quotas.id,
        asked.window_start
    FROM asked
    INNER JOIN runstore.quotas
        ON
            asked.tenant_id = quotas.tenant_id
            AND asked.subject_id = quotas.subject_id
            AND asked.quota_id = quotas.id
    WHERE NOT asked.alone
        AND NOT asked.counted
        AND (asked.ceiling IS NULL OR asked.amount <= asked.ceiling)
        AND NOT EXISTS (SELECT FROM taken)
    ORDER BY
        quotas.tenant_id,
        quotas.subject_id,
        quotas.id
    FOR KEY SHARE OF quotas
    ON CONFLICT (tenant_id, subject_id, quota_id, window_start) DO NOTHING
),

hold AS (
    SELECT
        coalesce(array_agg(asked.quota_id ORDER BY asked.quota_id), '{}') AS quota_ids,
        coalesce(array_agg(asked.window_start ORDER BY asked.quota_id), '{}') AS window_starts,
        coalesce(array_agg(asked.amount ORDER BY asked.quota_id), '{}') AS amounts
    FROM asked
    HAVING (count(*) = (SELECT count(*) FROM locked) OR EXISTS (SELECT FROM added))
        AND NOT EXISTS (SELECT FROM taken)
),

reservation AS (
    INSERT INTO runstore.usage_reservations (
        id,
        tenant_id,
        subject_id,
        amounts,
        quota_ids,
        window_starts,
        held_amounts,
        run_id,
        invocation_id,
        tool_call_id,
        provider,
        model,
        metadata,
        expires_at
    )
    SELECT
        %(id)s::uuid,
        coalesce(%(tenant_id)s::text, runstore.current_tenant_id()),
        %(subject_id)s::text,
        %(amounts)s::jsonb,
        hold.quota_ids,
        hold.window_starts,
        hold.amounts,
        %(run_id)s::uuid,
        %(invocation_id)s::uuid,
        %(tool_call_id)s::uuid,
        %(provider)s::text,
        %(model)s::text,
        %(metadata)s::jsonb,
        clock_timestamp() + %(hold_for)s::interval
    FROM hold
    RETURNING
        tenant_id,
        metadata,
        created_at,
        expires_at
),

held AS (
    UPDATE runstore.usage_counters
    SET held = usage_counters.held + locked.amount
    FROM locked
    CROSS JOIN reservation
    WHERE usage_counters.tenant_id = locked.tenant_id
        AND usage_counters.subject_id = locked.subject_id
        AND usage_counters.quota_id = locked.quota_id
        AND usage_counters.window_start = locked.window_start
),

obstacle AS (
    SELECT
        asked.quota_id,
        asked.meter,
        asked.period,
        asked.limit_amount,
        asked.used,
        asked.held,
        asked.amount AS asked,
        runstore.window_end(asked.period, asked.timezone, asked.window_start) AS resets_at
    FROM asked
    WHERE asked.amount > 0
        AND asked.used + asked.amount > asked.ceiling - asked.held
        AND NOT EXISTS (SELECT FROM taken)
    ORDER BY
        resets_at DESC NULLS FIRST,
        asked.meter ASC
    LIMIT 1
)

SELECT
    reservation.tenant_id,
    reservation.metadata,
    reservation.created_at,
    reservation.expires_at,
    obstacle.quota_id,
    obstacle.meter,
    obstacle.period,
    obstacle.limit_amount,
    obstacle.used,
    obstacle.held,
    obstacle.asked,
    obstacle.resets_at
FROM reservation
FULL JOIN obstacle ON true;

-- name: get_reservation :one
-- Read a reservation. No row: it does not exist.
SELECT
    id,
    tenant_id,
    subject_id,
    amounts,
    status,
    run_id,
    invocation_id,
    tool_call_id,
    provider,
    model,
    metadata,
    created_at,
    expires_at,
    finished_at
FROM runstore.usage_reservations
WHERE id = %(reservation_id)s;

-- name: renew_reservation :one
-- Let an open hold expire later. No row: it does not exist or is not held.
UPDATE runstore.usage_reservations
SET expires_at = (SELECT clock_timestamp()) + %(hold_for)s::interval
WHERE id = %(reservation_id)s
    AND status = 'held'
RETURNING
    id,
    tenant_id,
    subject_id,
    amounts,
    status,
    run_id,
    invocation_id,
    tool_call_id,
    provider,
    model,
    metadata,
    created_at,
    expires_at,
    finished_at;
