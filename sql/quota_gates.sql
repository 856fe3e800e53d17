-- Quota gates: the reservations of one subject that wait in a process, all in one statement.
-- It keeps the rules of usage_reservations.sql.

-- name: reserve_usages :many
-- Hold what fits of several reservations of one subject: in their order, up to one that does not
-- fit with those before it. Those that do not even fit alone are passed over, and answered with the
-- hard quota that they would pass; of several, the one that resets last. A counter that is missing,
-- or on which plainly none of them fits, is not locked, and holds none of its meter.
-- No row of one: it does not fit with those before it, a counter was missing, or its id is taken.
-- not null: id, used, held, asked
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
        quotas.period,
        quotas.timezone,
        quotas.limit_amount,
        runstore.window_start(quotas.period, quotas.timezone, statement_timestamp()) AS window_start,
        CASE WHEN quotas.hard THEN quotas.limit_amount END AS ceiling,
        smallest.amount,
        coalesce(seen.used, 0) AS used,
        coalesce(seen.held, 0) AS held
    FROM runstore.quotas
    INNER JOIN LATERAL (
        SELECT min((given.amounts ->> quotas.meter)::bigint) AS amount
        FROM given
    ) AS smallest ON true
    LEFT JOIN runstore.usage_counters AS seen
        ON
            quotas.tenant_id = seen.tenant_id
            AND quotas.subject_id = seen.subject_id
            AND quotas.id = seen.quota_id
            AND runstore.window_start(quotas.period, quotas.timezone, statement_timestamp())
            = seen.window_start
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
        usage_counters.used,
        usage_counters.held
    FROM asked
    INNER JOIN runstore.usage_counters
        ON
            asked.tenant_id = usage_counters.tenant_id
            AND asked.subject_id = usage_counters.subject_id
            AND asked.quota_id = usage_counters.quota_id
            AND asked.window_start = usage_counters.window_start
    WHERE asked.ceiling IS NULL
        OR asked.amount <= 0
        OR usage_counters.used + asked.amount <= asked.ceiling - usage_counters.held
    ORDER BY
        usage_counters.tenant_id,
        usage_counters.subject_id,
        usage_counters.quota_id,
        usage_counters.window_start
    FOR UPDATE OF usage_counters
),

present AS MATERIALIZED (
    SELECT
        asked.quota_id,
        asked.meter,
        asked.period,
        asked.limit_amount,
        asked.window_start,
        runstore.window_end(asked.period, asked.timezone, asked.window_start) AS resets_at,
        coalesce(locked.used, asked.used) AS used,
        coalesce(locked.held, asked.held) AS held,
        CASE
            WHEN asked.ceiling IS NOT NULL
                THEN
                    greatest(
                        asked.ceiling::numeric
                        - coalesce(locked.used, asked.used) - coalesce(locked.held, asked.held),
                        0
                    )
        END AS room,
        locked.quota_id IS NOT NULL AS counted
    FROM asked
    LEFT JOIN locked ON asked.quota_id = locked.quota_id
),

line AS MATERIALIZED (
    SELECT
        given.id,
        given.place,
        present.quota_id,
        present.window_start,
        present.meter,
        present.resets_at,
        (given.amounts ->> present.meter)::bigint AS amount,
        present.room,
        present.counted
    FROM given
    INNER JOIN present ON (given.amounts ->> present.meter) IS NOT NULL
),

obstacle AS (
    SELECT DISTINCT ON (line.place)
        line.id,
        line.quota_id,
        line.amount
    FROM line
    WHERE line.amount > line.room
    ORDER BY
        line.place ASC,
        line.resets_at DESC NULLS FIRST,
        line.meter ASC
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
    coalesce(reservation.id, obstacle.id) AS id,
    reservation.tenant_id,
    reservation.metadata,
    reservation.created_at,
    reservation.expires_at,
    present.quota_id,
    present.meter,
    present.period,
    present.limit_amount,
    present.used,
    present.held,
    obstacle.amount AS asked,
    present.resets_at
FROM reservation
FULL JOIN obstacle ON reservation.id = obstacle.id
LEFT JOIN present ON obstacle.quota_id = present.quota_id;

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
