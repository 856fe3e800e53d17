-- Quota gates: the reservations of one subject that wait in a process, all in one statement.
-- It keeps the rules of usage_reservations.sql.

-- name: reserve_usages :many
-- Hold what fits of several reservations of one subject: in their order, up to one that does not
-- fit with those before it. Those that do not even fit alone are passed over, and answered with the
-- hard quota that they would pass; of several, the one that resets last. What is held is counted
-- as reserve_usage does it, all of a quota at once.
-- No row of one: it does not fit with those before it, or its id is taken.
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
        coalesce(seen.used, 0) AS used,
        coalesce(seen.held, 0) AS held,
        CASE
            WHEN quotas.hard
                THEN
                    greatest(
                        quotas.limit_amount::numeric - coalesce(seen.used, 0) - coalesce(seen.held, 0),
                        0
                    )
        END AS room
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
),

line AS MATERIALIZED (
    SELECT
        given.id,
        given.place,
        asked.quota_id,
        asked.window_start,
        (given.amounts ->> asked.meter)::bigint AS amount,
        asked.room
    FROM given
    INNER JOIN asked ON (given.amounts ->> asked.meter) IS NOT NULL
),

obstacle AS (
    SELECT DISTINCT ON (line.place)
        line.id,
        line.amount AS asked,
        asked.quota_id,
        asked.meter,
        asked.period,
        asked.limit_amount,
        asked.used,
        asked.held,
        runstore.window_end(asked.period, asked.timezone, asked.window_start) AS resets_at
    FROM line
    INNER JOIN asked ON line.quota_id = asked.quota_id
    WHERE line.amount > line.room
    ORDER BY
        line.place ASC,
        resets_at DESC NULLS FIRST,
        asked.meter ASC
),

possible AS MATERIALIZED (
    SELECT place
    FROM line
    GROUP BY place
    HAVING bool_and(room IS NULL OR amount <= room)
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
    ORDER BY given.id
    RETURNING
        id,
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
        sum(line.amount)
    FROM line
    INNER JOIN hold ON line.place = hold.place
    INNER JOIN asked ON line.quota_id = asked.quota_id
    WHERE EXISTS (SELECT FROM reservation)
    GROUP BY
        asked.tenant_id,
        asked.subject_id,
        asked.quota_id,
        asked.window_start
    ORDER BY asked.quota_id
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
    coalesce(reservation.id, obstacle.id) AS id,
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
FULL JOIN obstacle ON reservation.id = obstacle.id;
