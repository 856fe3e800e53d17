-- Usage settlements: how a reservation ends: settled, released, or expired and settled later.
--
-- Each end is reached once, whoever comes first: it locks its reservations and changes them, and
-- changes their counters last, in the order of their key. It does so by an upsert: an UPDATE that
-- had to wait sets the whole statement up again, and waits for each version of the row that came in
-- between. The quotas are locked before, so that none of them is removed, and no counter made for it.

-- name: settle_usage :many
-- Log what a held or expired reservation came to, count it, and give back what is still held.
-- It is counted in the windows that it was held against; a quota that came later counts it in its
-- present one.
-- No row: the reservation does not exist, or is settled or released.
WITH reservation AS MATERIALIZED (
    SELECT
        id,
        tenant_id,
        subject_id,
        quota_ids,
        window_starts,
        held_amounts,
        status,
        run_id,
        invocation_id,
        tool_call_id,
        provider,
        model,
        metadata
    FROM runstore.usage_reservations
    WHERE id = %(reservation_id)s
        AND status IN ('held', 'expired')
    FOR UPDATE
),

hold AS MATERIALIZED (
    SELECT
        hold.quota_id,
        hold.window_start,
        CASE WHEN reservation.status = 'held' THEN hold.amount ELSE 0 END AS amount
    FROM reservation
    CROSS JOIN
        unnest(reservation.quota_ids, reservation.window_starts, reservation.held_amounts)
            AS hold (quota_id, window_start, amount)
),

charge AS MATERIALIZED (
    SELECT
        quotas.tenant_id,
        quotas.subject_id,
        quotas.id AS quota_id,
        quotas.meter,
        coalesce(
            usage_counters.window_start,
            runstore.window_start(quotas.period, quotas.timezone, statement_timestamp())
        ) AS window_start,
        (%(amounts)s::jsonb ->> quotas.meter)::bigint AS amount
    FROM reservation
    INNER JOIN runstore.quotas
        ON
            reservation.tenant_id = quotas.tenant_id
            AND reservation.subject_id = quotas.subject_id
    LEFT JOIN hold ON quotas.id = hold.quota_id
    LEFT JOIN runstore.usage_counters
        ON
            quotas.tenant_id = usage_counters.tenant_id
            AND quotas.subject_id = usage_counters.subject_id
            AND quotas.id = usage_counters.quota_id
            AND hold.window_start = usage_counters.window_start
    WHERE (%(amounts)s::jsonb ->> quotas.meter) IS NOT NULL
),

change AS MATERIALIZED (
    SELECT
        coalesce(charge.quota_id, hold.quota_id) AS quota_id,
        coalesce(charge.window_start, hold.window_start) AS window_start,
        coalesce(charge.amount, 0) AS used,
        coalesce(hold.amount, 0) AS freed
    FROM charge
    FULL JOIN hold ON charge.quota_id = hold.quota_id AND charge.window_start = hold.window_start
),

settled AS (
    UPDATE runstore.usage_reservations
    SET
        status = 'settled',
        finished_at = (SELECT clock_timestamp())
    FROM reservation
    WHERE usage_reservations.id = %(reservation_id)s
        AND usage_reservations.tenant_id = reservation.tenant_id
        AND usage_reservations.subject_id = reservation.subject_id
    RETURNING
        usage_reservations.id,
        usage_reservations.tenant_id,
        usage_reservations.subject_id
),

charged AS (
    SELECT
        charge.meter,
        array_agg(charge.quota_id ORDER BY charge.quota_id) AS quota_ids,
        array_agg(charge.window_start ORDER BY charge.quota_id) AS window_starts
    FROM charge
    GROUP BY charge.meter
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
        reservation.id,
        given.meter,
        reservation.tenant_id,
        reservation.subject_id,
        given.amount::bigint,
        (%(costs)s::jsonb ->> given.meter)::bigint,
        coalesce(%(run_id)s::uuid, reservation.run_id),
        coalesce(%(invocation_id)s::uuid, reservation.invocation_id),
        coalesce(%(tool_call_id)s::uuid, reservation.tool_call_id),
        coalesce(%(provider)s::text, reservation.provider),
        coalesce(%(model)s::text, reservation.model),
        coalesce(charged.quota_ids, '{}'),
        coalesce(charged.window_starts, '{}'),
        coalesce(%(metadata)s::jsonb, reservation.metadata),
        statement_timestamp()
    FROM settled
    INNER JOIN reservation ON settled.id = reservation.id
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
    INSERT INTO runstore.usage_counters (tenant_id, subject_id, quota_id, window_start, used)
    SELECT
        quotas.tenant_id,
        quotas.subject_id,
        quotas.id,
        change.window_start,
        change.used
    FROM settled
    CROSS JOIN change
    INNER JOIN runstore.quotas
        ON
            settled.tenant_id = quotas.tenant_id
            AND settled.subject_id = quotas.subject_id
            AND change.quota_id = quotas.id
    WHERE (SELECT count(*) FROM logged) >= 0
        AND (change.used <> 0 OR change.freed <> 0)
    ORDER BY
        quotas.id,
        change.window_start
    FOR KEY SHARE OF quotas
    ON CONFLICT (tenant_id, subject_id, quota_id, window_start) DO UPDATE
        SET
            used = usage_counters.used + excluded.used,
            held = usage_counters.held - (
                SELECT change.freed
                FROM change
                WHERE change.quota_id = usage_counters.quota_id
                    AND change.window_start = usage_counters.window_start
            )
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

-- name: release_usage :one
-- Give back a held or expired reservation of which nothing was used.
-- No row: it does not exist, or is settled or released.
WITH reservation AS MATERIALIZED (
    SELECT
        id,
        tenant_id,
        subject_id,
        quota_ids,
        window_starts,
        held_amounts,
        status
    FROM runstore.usage_reservations
    WHERE id = %(reservation_id)s
        AND status IN ('held', 'expired')
    FOR UPDATE
),

hold AS MATERIALIZED (
    SELECT
        hold.quota_id,
        hold.window_start,
        hold.amount
    FROM reservation
    CROSS JOIN
        unnest(reservation.quota_ids, reservation.window_starts, reservation.held_amounts)
            AS hold (quota_id, window_start, amount)
    WHERE reservation.status = 'held'
        AND hold.amount <> 0
),

released AS (
    UPDATE runstore.usage_reservations
    SET
        status = 'released',
        finished_at = (SELECT clock_timestamp())
    FROM reservation
    WHERE usage_reservations.id = %(reservation_id)s
        AND usage_reservations.tenant_id = reservation.tenant_id
        AND usage_reservations.subject_id = reservation.subject_id
    RETURNING
        usage_reservations.id,
        usage_reservations.tenant_id,
        usage_reservations.subject_id,
        usage_reservations.amounts,
        usage_reservations.status,
        usage_reservations.run_id,
        usage_reservations.invocation_id,
        usage_reservations.tool_call_id,
        usage_reservations.provider,
        usage_reservations.model,
        usage_reservations.metadata,
        usage_reservations.created_at,
        usage_reservations.expires_at,
        usage_reservations.finished_at
),

freed AS (
    INSERT INTO runstore.usage_counters (tenant_id, subject_id, quota_id, window_start)
    SELECT
        quotas.tenant_id,
        quotas.subject_id,
        quotas.id,
        hold.window_start
    FROM released
    CROSS JOIN hold
    INNER JOIN runstore.quotas
        ON
            released.tenant_id = quotas.tenant_id
            AND released.subject_id = quotas.subject_id
            AND hold.quota_id = quotas.id
    ORDER BY
        quotas.id,
        hold.window_start
    FOR KEY SHARE OF quotas
    ON CONFLICT (tenant_id, subject_id, quota_id, window_start) DO UPDATE
        SET held = usage_counters.held - (
                SELECT hold.amount
                FROM hold
                WHERE hold.quota_id = usage_counters.quota_id
                    AND hold.window_start = usage_counters.window_start
            )
)

SELECT
    released.id,
    released.tenant_id,
    released.subject_id,
    released.amounts,
    released.status,
    released.run_id,
    released.invocation_id,
    released.tool_call_id,
    released.provider,
    released.model,
    released.metadata,
    released.created_at,
    released.expires_at,
    released.finished_at
FROM released;

-- name: expire_reservations :many
-- Give back holds that are overdue, those first that expired first, and keep their reservations so
-- that they can still be settled. One that ends at this moment is left to its end.
WITH overdue AS MATERIALIZED (
    SELECT
        id,
        tenant_id,
        subject_id,
        quota_ids,
        window_starts,
        held_amounts
    FROM runstore.usage_reservations
    WHERE status = 'held'
        AND expires_at <= statement_timestamp()
    ORDER BY expires_at
    LIMIT %(max_rows)s
    FOR UPDATE SKIP LOCKED
),

change AS MATERIALIZED (
    SELECT
        overdue.tenant_id,
        overdue.subject_id,
        hold.quota_id,
        hold.window_start,
        sum(hold.amount) AS amount
    FROM overdue
    CROSS JOIN
        unnest(overdue.quota_ids, overdue.window_starts, overdue.held_amounts)
            AS hold (quota_id, window_start, amount)
    GROUP BY
        overdue.tenant_id,
        overdue.subject_id,
        hold.quota_id,
        hold.window_start
),

expired AS (
    UPDATE runstore.usage_reservations
    SET
        status = 'expired',
        finished_at = (SELECT clock_timestamp())
    FROM overdue
    WHERE usage_reservations.id = overdue.id
        AND usage_reservations.tenant_id = overdue.tenant_id
        AND usage_reservations.subject_id = overdue.subject_id
    RETURNING
        usage_reservations.id,
        usage_reservations.tenant_id,
        usage_reservations.subject_id,
        usage_reservations.amounts,
        usage_reservations.status,
        usage_reservations.run_id,
        usage_reservations.invocation_id,
        usage_reservations.tool_call_id,
        usage_reservations.provider,
        usage_reservations.model,
        usage_reservations.metadata,
        usage_reservations.created_at,
        usage_reservations.expires_at,
        usage_reservations.finished_at
),

freed AS (
    INSERT INTO runstore.usage_counters (tenant_id, subject_id, quota_id, window_start)
    SELECT
        quotas.tenant_id,
        quotas.subject_id,
        quotas.id,
        change.window_start
    FROM change
    INNER JOIN runstore.quotas
        ON
            change.tenant_id = quotas.tenant_id
            AND change.subject_id = quotas.subject_id
            AND change.quota_id = quotas.id
    WHERE change.amount <> 0
        AND (SELECT count(*) FROM expired) >= 0
    ORDER BY
        quotas.tenant_id,
        quotas.subject_id,
        quotas.id,
        change.window_start
    FOR KEY SHARE OF quotas
    ON CONFLICT (tenant_id, subject_id, quota_id, window_start) DO UPDATE
        SET held = usage_counters.held - (
                SELECT change.amount
                FROM change
                WHERE change.tenant_id = usage_counters.tenant_id
                    AND change.subject_id = usage_counters.subject_id
                    AND change.quota_id = usage_counters.quota_id
                    AND change.window_start = usage_counters.window_start
            )
)

SELECT
    expired.id,
    expired.tenant_id,
    expired.subject_id,
    expired.amounts,
    expired.status,
    expired.run_id,
    expired.invocation_id,
    expired.tool_call_id,
    expired.provider,
    expired.model,
    expired.metadata,
    expired.created_at,
    expired.expires_at,
    expired.finished_at
FROM expired
ORDER BY expired.id;
