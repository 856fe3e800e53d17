-- Quota gates: the reservations of one subject that wait in a process, all in one statement.
-- It keeps the rules of usage_reservations.sql.

-- name: reserve_usages :many
-- Hold what fits of several reservations of one subject: in their order, up to one that does not
-- fit with those before it; those that do not even fit alone are passed over. A counter that is
-- missing is made, and then nothing is held.
-- not null: id, tenant_id, subject_id, amounts, status, metadata, created_at, expires_at
WITH given AS MATERIALIZED (
    SELECT
        given.id,
        given.amounts,
        given.hold_for,
        given.run_id,
        given.invocation_id,
        given.tool_call_id,
        given.provider,
        given.model,
        given.metadata,
        given.place
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
            )
    WHERE NOT EXISTS (
            SELECT
            FROM runstore.usage_reservations
            WHERE usage_reservations.id = given.id
        )
        AND NOT EXISTS (
            SELECT
            FROM runstore.usage_logs
            WHERE usage_logs.id = given.id
        )
),

asked AS MATERIALIZED (
    SELECT
        quotas.tenant_id,
        quotas.subject_id,
        quotas.id AS quota_id,
        quotas.meter,
        runstore.window_start(quotas.period, quotas.timezone, statement_timestamp()) AS window_start,
        quotas.limit_amount,
        quotas.hard
    FROM runstore.quotas
    WHERE quotas.tenant_id = coalesce(%(tenant_id)s::text, runstore.current_tenant_id())
        AND quotas.subject_id = %(subject_id)s
        AND EXISTS (SELECT FROM given WHERE (given.amounts ->> quotas.meter) IS NOT NULL)
),

line AS MATERIALIZED (
    SELECT
        given.place,
        asked.quota_id,
        (given.amounts ->> asked.meter)::bigint AS amount
    FROM given
    INNER JOIN asked ON (given.amounts ->> asked.meter) IS NOT NULL
),

seen AS MATERIALIZED (
    SELECT
        asked.quota_id,
        usage_counters.quota_id IS NOT NULL AS counted,
        CASE
            WHEN asked.hard
                THEN greatest(asked.limit_amount - coalesce(usage_counters.used + usage_counters.held, 0), 0)
        END AS room
    FROM asked
    LEFT JOIN runstore.usage_counters
        ON
            asked.tenant_id = usage_counters.tenant_id
            AND asked.subject_id = usage_counters.subject_id
            AND asked.quota_id = usage_counters.quota_id
            AND asked.window_start = usage_counters.window_start
),

hopeful AS (
    SELECT line.place
    FROM line
    INNER JOIN seen ON line.quota_id = seen.quota_id
    GROUP BY line.place
    HAVING bool_and(seen.room IS NULL OR line.amount <= seen.room)
),

locked AS MATERIALIZED (
    SELECT
        usage_counters.tenant_id,
        usage_counters.subject_id,
        usage_counters.quota_id,
        usage_counters.window_start,
        CASE
            WHEN asked.hard THEN greatest(asked.limit_amount - usage_counters.used - usage_counters.held, 0)
        END AS room
    FROM asked
    INNER JOIN runstore.usage_counters
        ON
            asked.tenant_id = usage_counters.tenant_id
            AND asked.subject_id = usage_counters.subject_id
            AND asked.quota_id = usage_counters.quota_id
            AND asked.window_start = usage_counters.window_start
    WHERE (SELECT bool_and(seen.counted) FROM seen)
        AND EXISTS (SELECT FROM hopeful)
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
    INNER JOIN seen ON asked.quota_id = seen.quota_id
    INNER JOIN runstore.quotas
        ON
            asked.tenant_id = quotas.tenant_id
            AND asked.subject_id = quotas.subject_id
            AND asked.quota_id = quotas.id
    WHERE NOT seen.counted
    ORDER BY
        quotas.tenant_id,
        quotas.subject_id,
        quotas.id,
        asked.window_start
    FOR KEY SHARE OF quotas
    ON CONFLICT (tenant_id, subject_id, quota_id, window_start) DO NOTHING
),

complete AS (
    SELECT count(*) = (SELECT count(*) FROM asked) AS is_complete
    FROM locked
),

possible AS MATERIALIZED (
    SELECT line.place
    FROM line
    INNER JOIN locked ON line.quota_id = locked.quota_id
    WHERE (SELECT complete.is_complete FROM complete)
    GROUP BY line.place
    HAVING bool_and(locked.room IS NULL OR line.amount <= locked.room)
),

running AS (
    SELECT
        line.place,
        locked.room,
        sum(line.amount) OVER (PARTITION BY line.quota_id ORDER BY line.place) AS amount
    FROM line
    INNER JOIN possible ON line.place = possible.place
    INNER JOIN locked ON line.quota_id = locked.quota_id
),

misfit AS (
    SELECT min(running.place) AS place
    FROM running
    WHERE running.amount > running.room
),

admitted AS MATERIALIZED (
    SELECT possible.place
    FROM possible
    INNER JOIN misfit ON misfit.place IS NULL OR possible.place < misfit.place
    UNION ALL
    SELECT given.place
    FROM given
    WHERE NOT EXISTS (SELECT FROM line WHERE line.place = given.place)
),

hold AS (
    SELECT
        line.place,
        array_agg(locked.quota_id ORDER BY locked.quota_id) AS quota_ids,
        array_agg(locked.window_start ORDER BY locked.quota_id) AS window_starts,
        array_agg(line.amount ORDER BY locked.quota_id) AS held_amounts
    FROM line
    INNER JOIN locked ON line.quota_id = locked.quota_id
    GROUP BY line.place
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
        coalesce(hold.quota_ids, '{}'),
        coalesce(hold.window_starts, '{}'),
        coalesce(hold.held_amounts, '{}'),
        given.run_id,
        given.invocation_id,
        given.tool_call_id,
        given.provider,
        given.model,
        given.metadata,
        clock_timestamp() + given.hold_for
    FROM given
    INNER JOIN admitted ON given.place = admitted.place
    LEFT JOIN hold ON given.place = hold.place
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
        finished_at
),

change AS (
    SELECT
        line.quota_id,
        sum(line.amount) AS amount
    FROM line
    INNER JOIN admitted ON line.place = admitted.place
    GROUP BY line.quota_id
),

held AS (
    UPDATE runstore.usage_counters
    SET held = usage_counters.held + change.amount
    FROM locked
    INNER JOIN change ON locked.quota_id = change.quota_id
    WHERE usage_counters.tenant_id = locked.tenant_id
        AND usage_counters.subject_id = locked.subject_id
        AND usage_counters.quota_id = locked.quota_id
        AND usage_counters.window_start = locked.window_start
)

SELECT
    reservation.id,
    reservation.tenant_id,
    reservation.subject_id,
    reservation.amounts,
    reservation.status,
    reservation.run_id,
    reservation.invocation_id,
    reservation.tool_call_id,
    reservation.provider,
    reservation.model,
    reservation.metadata,
    reservation.created_at,
    reservation.expires_at,
    reservation.finished_at
FROM reservation;
