-- Usage reservations: holds on what a subject is about to use, of every quota that it touches.
--
-- Whoever changes counters does it last, and in the order of their key: a hot one is locked for no
-- longer than its own change and the commit take. What is held stands in the reservation, and what
-- is counted in the log, so that a later change of quotas cannot part them from the counters. The
-- windows are those of the database's clock.
--
-- What fits is asked as `used + amount <= limit - held`: a limit may be the largest bigint, and
-- corrections take `used` below 0, so that what is left of a limit is not always a bigint.

-- name: reserve_usage :one
-- Hold amounts against every quota that the subject has on their meters, all or nothing.
-- Where an amount plainly does not fit nothing is written, and the answer is the quota; of several,
-- the one that resets last. What fits is reserved, and then held on the counters, which are made
-- where their windows are new. A counter that has no room by then is set to NULL, which it refuses:
-- the error undoes the statement, and the next attempt sees what took the room.
-- No row: the id is taken.
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

obstacle AS MATERIALIZED (
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
        ARRAY(SELECT asked.quota_id FROM asked),
        ARRAY(SELECT asked.window_start FROM asked),
        ARRAY(SELECT asked.amount FROM asked),
        %(run_id)s::uuid,
        %(invocation_id)s::uuid,
        %(tool_call_id)s::uuid,
        %(provider)s::text,
        %(model)s::text,
        %(metadata)s::jsonb,
        clock_timestamp() + %(hold_for)s::interval
    WHERE NOT EXISTS (SELECT FROM obstacle)
        AND NOT EXISTS (SELECT FROM taken)
    RETURNING
        tenant_id,
        metadata,
        created_at,
        expires_at
),

held AS (
    INSERT INTO runstore.usage_counters (tenant_id, subject_id, quota_id, window_start, held)
    SELECT
        asked.tenant_id,
        asked.subject_id,
        asked.quota_id,
        asked.window_start,
        asked.amount
    FROM asked
    WHERE EXISTS (SELECT FROM reservation)
    ON CONFLICT (tenant_id, subject_id, quota_id, window_start) DO UPDATE
        SET held = CASE
                WHEN excluded.held <= 0
                    OR coalesce(
                        usage_counters.used + excluded.held
                        <= (SELECT asked.ceiling FROM asked WHERE asked.quota_id = usage_counters.quota_id)
                        - usage_counters.held,
                        true
                    )
                    THEN usage_counters.held + excluded.held
            END
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
