-- Quota gates: the reservations of one subject that wait in a process, all in one statement.
-- It keeps the rules of usage_reservations.sql.

-- name: reserve_usages :many
-- Hold what fits of several reservations of one subject: in their order, up to one that does not
-- fit with those before it; those that do not even fit alone are passed over. A counter that is
-- missing, or on which plainly none of them fits, is not locked, and holds none of its meter.
-- not null: id, tenant_id, metadata, created_at, expires_at
WITH given AS MATERIALIZED (
    SELECT
        id,
        amounts,
        hold_for,
        run_id,
        invocation_id,
        tool_call_id,
        provider,
        model,
        metadata,
        place
    FROM
        unnest(
            %(id)b::uuid[],
            %(amounts)b::jsonb[],
            %(hold_for)b::interval[],
            %(run_id)b::uuid[],
            %(invocation_id)b::uuid[],
            %(tool_call_id)b::uuid[],
            %(provider)b::text[],
            %(model)b::text[],
            %(metadata)b::jsonb[]
        ) WITH ORDINALITY
            AS given (
                id, amounts, hold_for, run_id, invocation_id, tool_call_id, provider, model, metadata, place
            )
    WHERE NOT EXISTS (SELECT FROM runstore.usage_reservations AS taken WHERE taken.id = given.id)
        AND NOT EXISTS (SELECT FROM runstore.usage_logs AS taken WHERE taken.id = given.id)
),

asked AS MATERIALIZED (
    SELECT
        quotas.tenant_id,
        quotas.subject_id,
        quotas.id AS quota_id,
        quotas.meter,
        runstore.window_start(quotas.period, quotas.timezone, statement_timestamp()) AS window_start,
        CASE WHEN quotas.hard THEN quotas.limit_amount END AS ceiling,
        smallest.amount
    FROM runstore.quotas
    INNER JOIN LATERAL (
        SELECT min((given.amounts ->> quotas.meter)::bigint) AS amount
        FROM given
    ) AS smallest ON true
    WHERE quotas.tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
        AND quotas.subject_id = %(subject_id)s
        AND smallest.amount IS NOT NULL
),

locked AS MATERIALIZED (
    SELECT
        usage_counters.tenant_id,
        usage_counters.subject_id,
        usage_counters.quota_id,
        usage_counters.window_start,
        CASE
            WHEN asked.ceiling IS NOT NULL
                THEN greatest(asked.ceiling - usage_counters.used - usage_counters.held, 0)
        END AS room
    FROM asked
    INNER JOIN runstore.usage_counters
        ON
            asked.tenant_id = usage_counters.tenant_id
            AND asked.subject_id = usage_counters.subject_id
            AND asked.quota_id = usage_counters.quota_id
            AND asked.window_start = usage_counters.window_start
    WHERE asked.ceiling IS NULL
        OR asked.amount <= greatest(asked.ceiling - usage_counters.used - usage_counters.held, 0)
    ORDER BY
        usage_counters.tenant_id,
        usage_counters.subject_id,
        usage_counters.quota_id,
        usage_counters.window_start
    FOR UPDATE OF usage_counters
),

line AS MATERIALIZED (
    SELECT
        given.place,
        asked.quota_id,
        asked.window_start,
        (given.amounts ->> asked.meter)::bigint AS amount,
        locked.room,
        locked.quota_id IS NOT NULL AS counted
    FROM given
    INNER JOIN asked ON (given.amounts ->> asked.meter) IS NOT NULL
    LEFT JOIN locked ON asked.quota_id = locked.quota_id
),

possible AS MATERIALIZED (
    SELECT place
    FROM line
    GROUP BY place
    HAVING bool_and(counted AND (room IS NULL OR amount <= room))
),

running AS (
    SELECT
        line.place,
        line.room,
        sum(line.amount) OVER (PARTITION BY line.quota_id ORDER BY line.place) AS amount
    FROM line
    INNER JOIN possible ON line.place = possible.place
),

hold AS MATERIALIZED (
    SELECT
        line.place,
        array_agg(line.quota_id ORDER BY line.quota_id) AS quota_ids,
        array_agg(line.window_start ORDER BY line.quota_id) AS window_starts,
        array_agg(line.amount ORDER BY line.quota_id) AS held_amounts
    FROM line
    INNER JOIN possible ON line.place = possible.place
    WHERE line.place < coalesce(
            (
                SELECT min(running.place)
                FROM running
                WHERE running.amount > running.room
            ),
            line.place + 1
        )
    GROUP BY line.place
    UNION ALL
    SELECT
        given.place,
        '{}',
        '{}',
        '{}'
    FROM given
    WHERE NOT EXISTS (SELECT FROM line WHERE line.place = given.place)
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
        given.id,
        coalesce(%(tenant_id)s::text, runstore.current_tenant_id()),
        %(subject_id)s::text,
        given.amounts,
        hold.quota_ids,
        hold.window_starts,
        hold.held_amounts,
        given.run_id,
        given.invocation_id,
        given.tool_call_id,
        given.provider,
        given.model,
        given.metadata,
        clock_timestamp() + given.hold_for
    FROM given
    INNER JOIN hold ON given.place = hold.place
    RETURNING
        id,
        tenant_id,
        metadata,
        created_at,
        expires_at
),

held AS (
    UPDATE runstore.usage_counters
    SET held = usage_counters.held + change.amount
    FROM (
        SELECT
            line.quota_id,
            line.window_start,
            sum(line.amount) AS amount
        FROM line
        INNER JOIN hold ON line.place = hold.place
        GROUP BY
            line.quota_id,
            line.window_start
    ) AS change
    WHERE usage_counters.tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
        AND usage_counters.subject_id = %(subject_id)s
        AND usage_counters.quota_id = change.quota_id
        AND usage_counters.window_start = change.window_start
)

SELECT
    reservation.id,
    reservation.tenant_id,
    reservation.metadata,
    reservation.created_at,
    reservation.expires_at
FROM reservation;

-- name: make_usage_counters :many
-- Make the counters that are missing, since their windows are new, of a subject's quotas on these
-- meters.
WITH present AS (
    SELECT
        quotas.tenant_id,
        quotas.subject_id,
        quotas.id,
        runstore.window_start(quotas.period, quotas.timezone, statement_timestamp()) AS window_start
    FROM runstore.quotas
    WHERE quotas.tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
        AND quotas.subject_id = %(subject_id)s
        AND quotas.meter = ANY(%(meters)b::text[])
)

INSERT INTO runstore.usage_counters (tenant_id, subject_id, quota_id, window_start)
SELECT
    quotas.tenant_id,
    quotas.subject_id,
    quotas.id,
    present.window_start
FROM present
INNER JOIN runstore.quotas
    ON
        present.tenant_id = quotas.tenant_id
        AND present.subject_id = quotas.subject_id
        AND present.id = quotas.id
WHERE NOT EXISTS (
        SELECT
        FROM runstore.usage_counters
        WHERE usage_counters.tenant_id = present.tenant_id
            AND usage_counters.subject_id = present.subject_id
            AND usage_counters.quota_id = present.id
            AND usage_counters.window_start = present.window_start
    )
ORDER BY
    quotas.tenant_id,
    quotas.subject_id,
    quotas.id
FOR KEY SHARE OF quotas
ON CONFLICT (tenant_id, subject_id, quota_id, window_start) DO NOTHING
RETURNING quota_id;
