-- Run exports: a whole run, row by row, out of one snapshot. A row is a JSON object whose documents
-- are as the database writes them, so that no number is rounded on its way through another program.
-- Texts are sorted by their bytes, as the database alone might not: one run has one export.

-- name: export_run :many
-- Read a run, its log and all that hangs off it: parents before their children, a fork's log with the
-- events that it shares, and usage where it is asked for. No row: the run does not exist.
-- may scan usage_logs: an entry's id need not carry its run.
-- not null: table_name, entry
WITH RECURSIVE snapshot_line AS (
    SELECT
        snapshots.id,
        0 AS depth
    FROM runstore.snapshots
    WHERE snapshots.run_id = %(run_id)s
        AND snapshots.parent_snapshot_id IS NULL
    UNION ALL
    SELECT
        snapshots.id,
        snapshot_line.depth + 1
    FROM snapshot_line
    INNER JOIN runstore.snapshots ON snapshot_line.id = snapshots.parent_snapshot_id
    WHERE snapshots.run_id = %(run_id)s
),

invocation_line AS (
    SELECT
        agent_invocations.id,
        0 AS depth
    FROM runstore.agent_invocations
    WHERE agent_invocations.run_id = %(run_id)s
        AND agent_invocations.parent_invocation_id IS NULL
    UNION ALL
    SELECT
        agent_invocations.id,
        invocation_line.depth + 1
    FROM invocation_line
    INNER JOIN runstore.agent_invocations
        ON invocation_line.id = agent_invocations.parent_invocation_id
    WHERE agent_invocations.run_id = %(run_id)s
)

SELECT
    'runs' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        id,
        tenant_id,
        kind,
        name,
        thread_id,
        subject_id,
        phase,
        status,
        input,
        output,
        error,
        exclusive,
        idempotency_key,
        parent_run_id,
        forked_from_run_id,
        forked_at_seq,
        trace_id,
        metadata,
        created_at,
        started_at,
        updated_at,
        cancel_requested_at,
        finished_at,
        purged_seq,
        events_purged_at
    FROM runstore.runs
    WHERE id = %(run_id)s
) AS entry
UNION ALL
SELECT
    'run_heads' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        last_seq,
        closed,
        heartbeat_at
    FROM runstore.run_heads
    WHERE run_id = %(run_id)s
) AS entry
UNION ALL
SELECT
    'run_events' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        run_events.seq,
        run_events.type,
        run_events.payload,
        NULL::uuid AS append_id,
        NULL::integer AS append_size,
        run_events.created_at
    FROM runstore.run_segments
    INNER JOIN runstore.run_events ON run_segments.source_run_id = run_events.run_id
    WHERE run_segments.run_id = %(run_id)s
        AND run_events.seq BETWEEN run_segments.from_seq AND run_segments.to_seq
        -- A purge that was stopped has left the segments of a fork whose own first events are gone.
        AND run_events.seq > (SELECT coalesce(runs.purged_seq, 0) FROM runstore.runs WHERE runs.id = %(run_id)s)
    ORDER BY run_events.seq
) AS entry
UNION ALL
SELECT
    'run_events' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        seq,
        type,
        payload,
        append_id,
        append_size,
        created_at
    FROM runstore.run_events
    WHERE run_id = %(run_id)s
        AND seq > (SELECT coalesce(runs.purged_seq, 0) FROM runstore.runs WHERE runs.id = %(run_id)s)
    ORDER BY seq
) AS entry
UNION ALL
SELECT
    'sandboxes' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        id,
        provider,
        template,
        status,
        metadata,
        created_at,
        updated_at,
        terminated_at
    FROM runstore.sandboxes
    WHERE run_id = %(run_id)s
    ORDER BY
        created_at,
        id COLLATE "C"
) AS entry
UNION ALL
SELECT
    'snapshots' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        snapshots.id,
        snapshots.sandbox_id,
        snapshots.phase,
        snapshots.parent_snapshot_id,
        snapshots.size_bytes,
        snapshots.metadata,
        snapshots.created_at
    FROM snapshot_line
    INNER JOIN runstore.snapshots ON snapshot_line.id = snapshots.id
    WHERE snapshots.run_id = %(run_id)s
    ORDER BY
        snapshot_line.depth,
        snapshots.created_at,
        snapshots.id COLLATE "C" -- noqa: RF02
) AS entry
UNION ALL
SELECT
    'phase_results' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        id,
        phase,
        attempt,
        status,
        input,
        output,
        error,
        metadata,
        created_at,
        finished_at
    FROM runstore.phase_results
    WHERE run_id = %(run_id)s
    ORDER BY
        created_at,
        id
) AS entry
UNION ALL
SELECT
    'agent_invocations' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        agent_invocations.id,
        agent_invocations.phase_result_id,
        agent_invocations.parent_invocation_id,
        agent_invocations.agent,
        agent_invocations.provider,
        agent_invocations.model,
        agent_invocations.status,
        agent_invocations.input,
        agent_invocations.output,
        agent_invocations.finish_reason,
        agent_invocations.error,
        agent_invocations.input_tokens,
        agent_invocations.output_tokens,
        agent_invocations.cache_read_tokens,
        agent_invocations.cache_write_tokens,
        agent_invocations.reasoning_tokens,
        agent_invocations.cost_usd::text AS cost_usd,
        agent_invocations.usage_raw,
        agent_invocations.trace_id,
        agent_invocations.span_id,
        agent_invocations.metadata,
        agent_invocations.created_at,
        agent_invocations.finished_at
    FROM invocation_line
    INNER JOIN runstore.agent_invocations ON invocation_line.id = agent_invocations.id
    WHERE agent_invocations.run_id = %(run_id)s
    ORDER BY
        invocation_line.depth,
        agent_invocations.created_at,
        agent_invocations.id
) AS entry
UNION ALL
SELECT
    'agent_steps' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        id,
        invocation_id,
        position,
        kind,
        content,
        tokens,
        metadata,
        created_at,
        finished_at
    FROM runstore.agent_steps
    WHERE run_id = %(run_id)s
    ORDER BY
        created_at,
        id
) AS entry
UNION ALL
SELECT
    'tool_calls' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        id,
        invocation_id,
        step_id,
        provider_call_id,
        name,
        arguments,
        status,
        result,
        error,
        metadata,
        created_at,
        finished_at
    FROM runstore.tool_calls
    WHERE run_id = %(run_id)s
    ORDER BY
        created_at,
        id
) AS entry
UNION ALL
SELECT
    'memory_records' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        id,
        phase,
        kind,
        content,
        metadata,
        created_at
    FROM runstore.memory_records
    WHERE run_id = %(run_id)s
    ORDER BY
        created_at,
        id
) AS entry
UNION ALL
SELECT
    'cta_events' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        id,
        phase,
        kind,
        invocation_id,
        tool_call_id,
        request,
        status,
        response_data,
        expires_at,
        resolved_by,
        metadata,
        created_at,
        resolved_at
    FROM runstore.cta_events
    WHERE run_id = %(run_id)s
    ORDER BY
        created_at,
        id
) AS entry
UNION ALL
SELECT
    'reports' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        id,
        title,
        format,
        summary,
        status,
        version,
        revision,
        last_position,
        published_version,
        metadata,
        created_at,
        updated_at,
        published_at,
        archived_at
    FROM runstore.reports
    WHERE run_id = %(run_id)s
    ORDER BY
        created_at,
        id
) AS entry
UNION ALL
SELECT
    'report_sections' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        id,
        report_id,
        slug,
        position,
        heading,
        content,
        citations,
        status,
        version,
        replaced_version,
        metadata,
        created_at,
        updated_at
    FROM runstore.report_sections
    WHERE run_id = %(run_id)s
    ORDER BY
        created_at,
        id
) AS entry
UNION ALL
SELECT
    'report_versions' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        report_id,
        version,
        title,
        format,
        summary,
        metadata,
        published_at
    FROM runstore.report_versions
    WHERE run_id = %(run_id)s
    ORDER BY
        report_id,
        version
) AS entry
UNION ALL
SELECT
    'report_version_sections' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        report_id,
        version,
        slug,
        position,
        heading,
        content,
        citations,
        section_version,
        metadata
    FROM runstore.report_version_sections
    WHERE run_id = %(run_id)s
    ORDER BY
        report_id,
        version,
        slug COLLATE "C"
) AS entry
UNION ALL
SELECT
    'branch_reports' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        id,
        report_id,
        name,
        base_version,
        status,
        metadata,
        created_at,
        updated_at,
        merged_at,
        discarded_at
    FROM runstore.branch_reports
    WHERE run_id = %(run_id)s
    ORDER BY
        created_at,
        id
) AS entry
UNION ALL
SELECT
    'branch_sections' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        branch_id,
        slug,
        section_id,
        base_version,
        position,
        heading,
        content,
        citations,
        status,
        version,
        replaced_version,
        metadata,
        created_at,
        updated_at
    FROM runstore.branch_sections
    WHERE run_id = %(run_id)s
    ORDER BY
        branch_id,
        slug COLLATE "C"
) AS entry
UNION ALL
SELECT
    'usage_logs' AS table_name,
    row_to_json(entry)::text AS entry
FROM (
    SELECT
        id,
        meter,
        tenant_id,
        subject_id,
        amount,
        cost_nanousd,
        invocation_id,
        tool_call_id,
        provider,
        model,
        metadata,
        created_at
    FROM runstore.usage_logs
    WHERE run_id = %(run_id)s
        AND %(usage)s
    ORDER BY
        created_at,
        id,
        meter COLLATE "C",
        tenant_id COLLATE "C",
        subject_id COLLATE "C"
) AS entry;

-- name: set_time_zone :one
-- Write times in a time zone until the transaction ends, and read the one before.
-- not null: name
WITH session AS MATERIALIZED (
    SELECT current_setting('TimeZone') AS name
)

SELECT session.name
FROM session
WHERE set_config('TimeZone', %(timezone)s, true) IS NOT NULL;
