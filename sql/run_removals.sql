-- Run removals: deleting runs that have ended, or parts of them, for a purge or an erasure.
-- A batch locks heads and then runs, passes over those that somebody else has locked, and only
-- then looks at what keeps a run: nobody can fork or hold one that is locked. It waits for no
-- other lock for longer than a moment, and so makes nobody wait for longer.

-- name: begin_batch :one
-- Until the transaction ends: wait for no lock for longer than a moment, be of this tenant, and go
-- row by row in the order of an index whatever the statistics say, which still count what is deleted,
-- so that no batch reads more than it needs.
-- not null: lock_timeout, enable_seqscan, enable_bitmapscan, enable_hashjoin, enable_mergejoin, tenant_id
SELECT
    set_config('lock_timeout', '50ms', true) AS lock_timeout,
    set_config('enable_seqscan', 'off', true) AS enable_seqscan,
    set_config('enable_bitmapscan', 'off', true) AS enable_bitmapscan,
    set_config('enable_hashjoin', 'off', true) AS enable_hashjoin,
    set_config('enable_mergejoin', 'off', true) AS enable_mergejoin,
    set_config(
        'runstore.tenant_id', coalesce(%(tenant_id)s::text, runstore.current_tenant_id()), true
    ) AS tenant_id;

-- name: lock_finished_runs :many
-- Lock the heads of runs that have ended, and the runs, and answer those that nobody else has
-- locked.
SELECT runs.id
FROM runstore.run_heads
INNER JOIN runstore.runs ON run_heads.run_id = runs.id
WHERE run_heads.run_id = ANY(%(run_ids)s::uuid[])
    AND runs.id = ANY(%(run_ids)s::uuid[])
    AND run_heads.closed
ORDER BY runs.id
FOR UPDATE OF run_heads, runs SKIP LOCKED;

-- name: list_run_ties :many
-- Say of runs what ties others to them: a hold, a fork that reads their events and how many of them,
-- a fork's open branch of one of their reports, a run without a subject that they started.
-- not null: shared_seq, held, held_by_fork, branched, followed
SELECT
    runs.id AS run_id,
    runs.id IN (
        SELECT run_holds.run_id FROM runstore.run_holds
        WHERE run_holds.run_id = runs.id
            AND (run_holds.expires_at IS NULL OR run_holds.expires_at > now())
    ) AS held,
    coalesce(
        (
            SELECT max(run_segments.to_seq) FROM runstore.run_segments
            WHERE run_segments.source_run_id = runs.id
        ),
        0
    ) AS shared_seq,
    runs.id IN (
        SELECT run_segments.source_run_id FROM runstore.run_segments
        INNER JOIN runstore.run_holds ON run_segments.run_id = run_holds.run_id
        WHERE run_segments.source_run_id = runs.id
            AND (run_holds.expires_at IS NULL OR run_holds.expires_at > now())
    ) AS held_by_fork,
    runs.id IN (
        SELECT reports.run_id FROM runstore.reports
        INNER JOIN runstore.branch_reports ON reports.id = branch_reports.report_id
        WHERE reports.run_id = runs.id
            AND branch_reports.status = 'open'
    ) AS branched,
    runs.id IN (
        SELECT child.parent_run_id FROM runstore.runs AS child
        WHERE child.parent_run_id = runs.id
            AND child.tenant_id = runs.tenant_id
            AND child.subject_id IS NULL
    )
    OR runs.id IN (
        SELECT fork.forked_from_run_id FROM runstore.runs AS fork
        WHERE fork.forked_from_run_id = runs.id
            AND fork.subject_id IS NULL
    ) AS followed
FROM runstore.runs
WHERE runs.id = ANY(%(run_ids)s::uuid[]);

-- name: delete_run_events :one
-- Delete stretches of the own events of runs, note on the runs how far they are gone, and where
-- a stretch ends the log, delete its segments too; where no event before it stays for a fork, the log
-- is purged. The runs are locked.
-- not null: run_events, run_segments
WITH stretch AS MATERIALIZED (
    SELECT
        given.run_id,
        given.after_seq,
        given.to_seq,
        given.ends,
        CASE WHEN given.ends AND NOT given.shared THEN clock_timestamp() END AS purged_at
    FROM
        unnest(
            %(run_ids)b::uuid[],
            %(after_seqs)b::bigint[],
            %(to_seqs)b::bigint[],
            %(ends)b::boolean[],
            %(shared)b::boolean[]
        ) AS given (run_id, after_seq, to_seq, ends, shared)
),

event AS (
    DELETE FROM runstore.run_events
    USING stretch
    WHERE run_events.run_id = ANY(%(run_ids)b::uuid[])
        AND run_events.run_id = stretch.run_id
        AND run_events.seq > stretch.after_seq
        AND run_events.seq <= stretch.to_seq
    RETURNING run_events.seq
),

segment AS (
    DELETE FROM runstore.run_segments
    USING stretch
    WHERE run_segments.run_id = ANY(%(run_ids)b::uuid[])
        AND run_segments.run_id = stretch.run_id
        AND stretch.ends
    RETURNING run_segments.from_seq
),

run AS (
    UPDATE runstore.runs
    SET
        purged_seq = greatest(runs.purged_seq, stretch.to_seq),
        events_purged_at = coalesce(runs.events_purged_at, stretch.purged_at)
    FROM stretch
    WHERE runs.id = ANY(%(run_ids)b::uuid[])
        AND runs.id = stretch.run_id
)

SELECT
    (SELECT count(*) FROM event) AS run_events,
    (SELECT count(*) FROM segment) AS run_segments;

-- name: sweep_run_events :maybe
-- Walk over a run's own events until one is alive. Their index learns on the way which ones are dead,
-- so that the delete of the run, which looks for them once more, does not spend a second on it.
SELECT seq
FROM runstore.run_events
WHERE run_id = %(run_id)s
    AND seq > 0
ORDER BY seq
LIMIT 1;

-- name: delete_run_children :many
-- Delete all that hangs off runs but their heads, logs and holds, and count it. The runs are locked.
-- not null: table_name, row_count
WITH cta_event AS (
    DELETE FROM runstore.cta_events
    WHERE run_id = ANY(%(run_ids)s::uuid[])
    RETURNING run_id
),

tool_call AS (
    DELETE FROM runstore.tool_calls
    WHERE run_id = ANY(%(run_ids)s::uuid[])
    RETURNING run_id
),

agent_step AS (
    DELETE FROM runstore.agent_steps
    WHERE run_id = ANY(%(run_ids)s::uuid[])
    RETURNING run_id
),

agent_invocation AS (
    DELETE FROM runstore.agent_invocations
    WHERE run_id = ANY(%(run_ids)s::uuid[])
    RETURNING run_id
),

phase_result AS (
    DELETE FROM runstore.phase_results
    WHERE run_id = ANY(%(run_ids)s::uuid[])
    RETURNING run_id
),

memory_record AS (
    DELETE FROM runstore.memory_records
    WHERE run_id = ANY(%(run_ids)s::uuid[])
    RETURNING run_id
),

snapshot AS (
    DELETE FROM runstore.snapshots
    WHERE run_id = ANY(%(run_ids)s::uuid[])
    RETURNING run_id
),

sandbox AS (
    DELETE FROM runstore.sandboxes
    WHERE run_id = ANY(%(run_ids)s::uuid[])
    RETURNING run_id
),

branch_section AS (
    DELETE FROM runstore.branch_sections
    WHERE run_id = ANY(%(run_ids)s::uuid[])
    RETURNING run_id
),

branch AS (
    DELETE FROM runstore.branch_reports
    WHERE run_id = ANY(%(run_ids)s::uuid[])
    RETURNING run_id
),

report_version_section AS (
    DELETE FROM runstore.report_version_sections
    WHERE run_id = ANY(%(run_ids)s::uuid[])
    RETURNING run_id
),

report_version AS (
    DELETE FROM runstore.report_versions
    WHERE run_id = ANY(%(run_ids)s::uuid[])
    RETURNING run_id
),

report_section AS (
    DELETE FROM runstore.report_sections
    WHERE run_id = ANY(%(run_ids)s::uuid[])
    RETURNING run_id
),

report AS (
    DELETE FROM runstore.reports
    WHERE run_id = ANY(%(run_ids)s::uuid[])
    RETURNING run_id
)

SELECT
    'cta_events' AS table_name,
    count(*) AS row_count
FROM cta_event
UNION ALL
SELECT
    'tool_calls' AS table_name,
    count(*) AS row_count
FROM tool_call
UNION ALL
SELECT
    'agent_steps' AS table_name,
    count(*) AS row_count
FROM agent_step
UNION ALL
SELECT
    'agent_invocations' AS table_name,
    count(*) AS row_count
FROM agent_invocation
UNION ALL
SELECT
    'phase_results' AS table_name,
    count(*) AS row_count
FROM phase_result
UNION ALL
SELECT
    'memory_records' AS table_name,
    count(*) AS row_count
FROM memory_record
UNION ALL
SELECT
    'snapshots' AS table_name,
    count(*) AS row_count
FROM snapshot
UNION ALL
SELECT
    'sandboxes' AS table_name,
    count(*) AS row_count
FROM sandbox
UNION ALL
SELECT
    'branch_sections' AS table_name,
    count(*) AS row_count
FROM branch_section
UNION ALL
SELECT
    'branch_reports' AS table_name,
    count(*) AS row_count
FROM branch
UNION ALL
SELECT
    'report_version_sections' AS table_name,
    count(*) AS row_count
FROM report_version_section
UNION ALL
SELECT
    'report_versions' AS table_name,
    count(*) AS row_count
FROM report_version
UNION ALL
SELECT
    'report_sections' AS table_name,
    count(*) AS row_count
FROM report_section
UNION ALL
SELECT
    'reports' AS table_name,
    count(*) AS row_count
FROM report;

-- name: delete_finished_runs :many
-- Delete runs with their heads, logs and expired holds, and count it. The runs are locked, and what
-- else hung off them is gone.
-- not null: table_name, row_count
WITH run_event AS (
    DELETE FROM runstore.run_events
    WHERE run_id = ANY(%(run_ids)s::uuid[])
    RETURNING run_id
),

run_segment AS (
    DELETE FROM runstore.run_segments
    WHERE run_id = ANY(%(run_ids)s::uuid[])
    RETURNING run_id
),

expired_hold AS (
    DELETE FROM runstore.run_holds
    WHERE run_id = ANY(%(run_ids)s::uuid[])
        AND expires_at <= now()
    RETURNING run_id
),

run_head AS (
    DELETE FROM runstore.run_heads
    WHERE run_id = ANY(%(run_ids)s::uuid[])
    RETURNING run_id
),

run AS (
    DELETE FROM runstore.runs
    WHERE id = ANY(%(run_ids)s::uuid[])
    RETURNING id
)

SELECT
    'run_events' AS table_name,
    count(*) AS row_count
FROM run_event
UNION ALL
SELECT
    'run_segments' AS table_name,
    count(*) AS row_count
FROM run_segment
UNION ALL
SELECT
    'run_holds' AS table_name,
    count(*) AS row_count
FROM expired_hold
UNION ALL
SELECT
    'run_heads' AS table_name,
    count(*) AS row_count
FROM run_head
UNION ALL
SELECT
    'runs' AS table_name,
    count(*) AS row_count
FROM run;

-- name: count_run_rows :many
-- Count all that deleting runs would delete.
-- not null: table_name, row_count
SELECT
    'cta_events' AS table_name,
    count(*) AS row_count
FROM runstore.cta_events
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'tool_calls' AS table_name,
    count(*) AS row_count
FROM runstore.tool_calls
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'agent_steps' AS table_name,
    count(*) AS row_count
FROM runstore.agent_steps
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'agent_invocations' AS table_name,
    count(*) AS row_count
FROM runstore.agent_invocations
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'phase_results' AS table_name,
    count(*) AS row_count
FROM runstore.phase_results
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'memory_records' AS table_name,
    count(*) AS row_count
FROM runstore.memory_records
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'snapshots' AS table_name,
    count(*) AS row_count
FROM runstore.snapshots
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'sandboxes' AS table_name,
    count(*) AS row_count
FROM runstore.sandboxes
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'branch_sections' AS table_name,
    count(*) AS row_count
FROM runstore.branch_sections
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'branch_reports' AS table_name,
    count(*) AS row_count
FROM runstore.branch_reports
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'report_version_sections' AS table_name,
    count(*) AS row_count
FROM runstore.report_version_sections
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'report_versions' AS table_name,
    count(*) AS row_count
FROM runstore.report_versions
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'report_sections' AS table_name,
    count(*) AS row_count
FROM runstore.report_sections
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'reports' AS table_name,
    count(*) AS row_count
FROM runstore.reports
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'run_events' AS table_name,
    count(*) AS row_count
FROM runstore.run_events
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'run_segments' AS table_name,
    count(*) AS row_count
FROM runstore.run_segments
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'run_holds' AS table_name,
    count(*) AS row_count
FROM runstore.run_holds
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'run_heads' AS table_name,
    count(*) AS row_count
FROM runstore.run_heads
WHERE run_id = ANY(%(run_ids)s::uuid[])
UNION ALL
SELECT
    'runs' AS table_name,
    count(*) AS row_count
FROM runstore.runs
WHERE id = ANY(%(run_ids)s::uuid[]);
