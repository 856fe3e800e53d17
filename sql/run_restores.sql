-- Run restores: a run that was exported, row by row, into this database. Rows keep their ids and
-- times. They belong to the run and to its tenant, whatever else the file may say.

-- name: restore_run_row :one
-- Insert the run itself. Its key refuses when it is there already.
INSERT INTO runstore.runs (
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
)
SELECT
    %(run_id)s::uuid,
    entry.tenant_id,
    entry.kind,
    entry.name,
    entry.thread_id,
    entry.subject_id,
    entry.phase,
    entry.status,
    entry.input,
    entry.output,
    entry.error,
    entry.exclusive,
    entry.idempotency_key,
    entry.parent_run_id,
    entry.forked_from_run_id,
    entry.forked_at_seq,
    entry.trace_id,
    entry.metadata,
    entry.created_at,
    entry.started_at,
    entry.updated_at,
    entry.cancel_requested_at,
    entry.finished_at,
    entry.purged_seq,
    entry.events_purged_at
FROM jsonb_populate_record(NULL::runstore.runs, %(document)s::jsonb) AS entry
RETURNING id;

-- name: restore_run_rows :one
-- Insert rows of the log and of the work of a run. No row: the run does not exist.
WITH run AS (
    SELECT
        id,
        tenant_id
    FROM runstore.runs
    WHERE id = %(run_id)s
),

given AS MATERIALIZED (
    SELECT
        table_name,
        document
    FROM unnest(%(table_names)b::text[], %(documents)b::jsonb[]) AS given (table_name, document)
),

run_head AS (
    INSERT INTO runstore.run_heads (
        run_id,
        last_seq,
        closed,
        heartbeat_at
    )
    SELECT
        run.id,
        entry.last_seq,
        entry.closed,
        entry.heartbeat_at
    FROM run
    INNER JOIN given ON given.table_name = 'run_heads'
    CROSS JOIN LATERAL jsonb_populate_record(NULL::runstore.run_heads, given.document) AS entry
),

run_event AS (
    INSERT INTO runstore.run_events (
        run_id,
        seq,
        type,
        payload,
        append_id,
        append_size,
        created_at
    )
    SELECT
        run.id,
        entry.seq,
        entry.type,
        given.document -> 'payload',
        entry.append_id,
        entry.append_size,
        entry.created_at
    FROM run
    INNER JOIN given ON given.table_name = 'run_events'
    CROSS JOIN LATERAL jsonb_populate_record(NULL::runstore.run_events, given.document) AS entry
),

sandboxe AS (
    INSERT INTO runstore.sandboxes (
        run_id,
        tenant_id,
        id,
        provider,
        template,
        status,
        metadata,
        created_at,
        updated_at,
        terminated_at
    )
    SELECT
        run.id,
        run.tenant_id,
        entry.id,
        entry.provider,
        entry.template,
        entry.status,
        entry.metadata,
        entry.created_at,
        entry.updated_at,
        entry.terminated_at
    FROM run
    INNER JOIN given ON given.table_name = 'sandboxes'
    CROSS JOIN LATERAL jsonb_populate_record(NULL::runstore.sandboxes, given.document) AS entry
),

snapshot AS (
    INSERT INTO runstore.snapshots (
        run_id,
        tenant_id,
        id,
        sandbox_id,
        phase,
        parent_snapshot_id,
        size_bytes,
        metadata,
        created_at
    )
    SELECT
        run.id,
        run.tenant_id,
        entry.id,
        entry.sandbox_id,
        entry.phase,
        entry.parent_snapshot_id,
        entry.size_bytes,
        entry.metadata,
        entry.created_at
    FROM run
    INNER JOIN given ON given.table_name = 'snapshots'
    CROSS JOIN LATERAL jsonb_populate_record(NULL::runstore.snapshots, given.document) AS entry
),

phase_result AS (
    INSERT INTO runstore.phase_results (
        run_id,
        tenant_id,
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
    )
    SELECT
        run.id,
        run.tenant_id,
        entry.id,
        entry.phase,
        entry.attempt,
        entry.status,
        entry.input,
        entry.output,
        entry.error,
        entry.metadata,
        entry.created_at,
        entry.finished_at
    FROM run
    INNER JOIN given ON given.table_name = 'phase_results'
    CROSS JOIN LATERAL jsonb_populate_record(NULL::runstore.phase_results, given.document) AS entry
),

agent_invocation AS (
    INSERT INTO runstore.agent_invocations (
        run_id,
        tenant_id,
        id,
        phase_result_id,
        parent_invocation_id,
        agent,
        provider,
        model,
        status,
        input,
        output,
        finish_reason,
        error,
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
        reasoning_tokens,
        cost_usd,
        usage_raw,
        trace_id,
        span_id,
        metadata,
        created_at,
        finished_at
    )
    SELECT
        run.id,
        run.tenant_id,
        entry.id,
        entry.phase_result_id,
        entry.parent_invocation_id,
        entry.agent,
        entry.provider,
        entry.model,
        entry.status,
        entry.input,
        entry.output,
        entry.finish_reason,
        entry.error,
        entry.input_tokens,
        entry.output_tokens,
        entry.cache_read_tokens,
        entry.cache_write_tokens,
        entry.reasoning_tokens,
        entry.cost_usd,
        entry.usage_raw,
        entry.trace_id,
        entry.span_id,
        entry.metadata,
        entry.created_at,
        entry.finished_at
    FROM run
    INNER JOIN given ON given.table_name = 'agent_invocations'
    CROSS JOIN LATERAL jsonb_populate_record(NULL::runstore.agent_invocations, given.document) AS entry
),

agent_step AS (
    INSERT INTO runstore.agent_steps (
        run_id,
        tenant_id,
        id,
        invocation_id,
        position,
        kind,
        content,
        tokens,
        metadata,
        created_at,
        finished_at
    )
    SELECT
        run.id,
        run.tenant_id,
        entry.id,
        entry.invocation_id,
        entry.position,
        entry.kind,
        entry.content,
        entry.tokens,
        entry.metadata,
        entry.created_at,
        entry.finished_at
    FROM run
    INNER JOIN given ON given.table_name = 'agent_steps'
    CROSS JOIN LATERAL jsonb_populate_record(NULL::runstore.agent_steps, given.document) AS entry
),

tool_call AS (
    INSERT INTO runstore.tool_calls (
        run_id,
        tenant_id,
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
    )
    SELECT
        run.id,
        run.tenant_id,
        entry.id,
        entry.invocation_id,
        entry.step_id,
        entry.provider_call_id,
        entry.name,
        entry.arguments,
        entry.status,
        entry.result,
        entry.error,
        entry.metadata,
        entry.created_at,
        entry.finished_at
    FROM run
    INNER JOIN given ON given.table_name = 'tool_calls'
    CROSS JOIN LATERAL jsonb_populate_record(NULL::runstore.tool_calls, given.document) AS entry
),

memory_record AS (
    INSERT INTO runstore.memory_records (
        run_id,
        tenant_id,
        id,
        phase,
        kind,
        content,
        metadata,
        created_at
    )
    SELECT
        run.id,
        run.tenant_id,
        entry.id,
        entry.phase,
        entry.kind,
        entry.content,
        entry.metadata,
        entry.created_at
    FROM run
    INNER JOIN given ON given.table_name = 'memory_records'
    CROSS JOIN LATERAL jsonb_populate_record(NULL::runstore.memory_records, given.document) AS entry
),

cta_event AS (
    INSERT INTO runstore.cta_events (
        run_id,
        tenant_id,
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
    )
    SELECT
        run.id,
        run.tenant_id,
        entry.id,
        entry.phase,
        entry.kind,
        entry.invocation_id,
        entry.tool_call_id,
        entry.request,
        entry.status,
        entry.response_data,
        entry.expires_at,
        entry.resolved_by,
        entry.metadata,
        entry.created_at,
        entry.resolved_at
    FROM run
    INNER JOIN given ON given.table_name = 'cta_events'
    CROSS JOIN LATERAL jsonb_populate_record(NULL::runstore.cta_events, given.document) AS entry
)

SELECT run.id
FROM run;

-- name: restore_report_rows :one
-- Insert rows of a run's reports and of its usage, which counts in no quota: it was counted where it
-- was used. Usage that is there already stays as it is. No row: the run does not exist.
WITH run AS (
    SELECT
        id,
        tenant_id
    FROM runstore.runs
    WHERE id = %(run_id)s
),

given AS MATERIALIZED (
    SELECT
        table_name,
        document
    FROM unnest(%(table_names)b::text[], %(documents)b::jsonb[]) AS given (table_name, document)
),

report AS (
    INSERT INTO runstore.reports (
        run_id,
        tenant_id,
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
    )
    SELECT
        run.id,
        run.tenant_id,
        entry.id,
        entry.title,
        entry.format,
        entry.summary,
        entry.status,
        entry.version,
        entry.revision,
        entry.last_position,
        entry.published_version,
        entry.metadata,
        entry.created_at,
        entry.updated_at,
        entry.published_at,
        entry.archived_at
    FROM run
    INNER JOIN given ON given.table_name = 'reports'
    CROSS JOIN LATERAL jsonb_populate_record(NULL::runstore.reports, given.document) AS entry
),

report_section AS (
    INSERT INTO runstore.report_sections (
        run_id,
        tenant_id,
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
    )
    SELECT
        run.id,
        run.tenant_id,
        entry.id,
        entry.report_id,
        entry.slug,
        entry.position,
        entry.heading,
        entry.content,
        entry.citations,
        entry.status,
        entry.version,
        entry.replaced_version,
        entry.metadata,
        entry.created_at,
        entry.updated_at
    FROM run
    INNER JOIN given ON given.table_name = 'report_sections'
    CROSS JOIN LATERAL jsonb_populate_record(NULL::runstore.report_sections, given.document) AS entry
),

report_version AS (
    INSERT INTO runstore.report_versions (
        run_id,
        tenant_id,
        report_id,
        version,
        title,
        format,
        summary,
        metadata,
        published_at
    )
    SELECT
        run.id,
        run.tenant_id,
        entry.report_id,
        entry.version,
        entry.title,
        entry.format,
        entry.summary,
        entry.metadata,
        entry.published_at
    FROM run
    INNER JOIN given ON given.table_name = 'report_versions'
    CROSS JOIN LATERAL jsonb_populate_record(NULL::runstore.report_versions, given.document) AS entry
),

report_version_section AS (
    INSERT INTO runstore.report_version_sections (
        run_id,
        tenant_id,
        report_id,
        version,
        slug,
        position,
        heading,
        content,
        citations,
        section_version,
        metadata
    )
    SELECT
        run.id,
        run.tenant_id,
        entry.report_id,
        entry.version,
        entry.slug,
        entry.position,
        entry.heading,
        entry.content,
        entry.citations,
        entry.section_version,
        entry.metadata
    FROM run
    INNER JOIN given ON given.table_name = 'report_version_sections'
    CROSS JOIN LATERAL jsonb_populate_record(NULL::runstore.report_version_sections, given.document) AS entry
),

branch_report AS (
    INSERT INTO runstore.branch_reports (
        run_id,
        tenant_id,
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
    )
    SELECT
        run.id,
        run.tenant_id,
        entry.id,
        entry.report_id,
        entry.name,
        entry.base_version,
        entry.status,
        entry.metadata,
        entry.created_at,
        entry.updated_at,
        entry.merged_at,
        entry.discarded_at
    FROM run
    INNER JOIN given ON given.table_name = 'branch_reports'
    CROSS JOIN LATERAL jsonb_populate_record(NULL::runstore.branch_reports, given.document) AS entry
),

branch_section AS (
    INSERT INTO runstore.branch_sections (
        run_id,
        tenant_id,
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
    )
    SELECT
        run.id,
        run.tenant_id,
        entry.branch_id,
        entry.slug,
        entry.section_id,
        entry.base_version,
        entry.position,
        entry.heading,
        entry.content,
        entry.citations,
        entry.status,
        entry.version,
        entry.replaced_version,
        entry.metadata,
        entry.created_at,
        entry.updated_at
    FROM run
    INNER JOIN given ON given.table_name = 'branch_sections'
    CROSS JOIN LATERAL jsonb_populate_record(NULL::runstore.branch_sections, given.document) AS entry
),

usage_log AS (
    INSERT INTO runstore.usage_logs (
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
        created_at,
        run_id
    )
    SELECT
        entry.id,
        entry.meter,
        entry.tenant_id,
        entry.subject_id,
        entry.amount,
        entry.cost_nanousd,
        entry.invocation_id,
        entry.tool_call_id,
        entry.provider,
        entry.model,
        entry.metadata,
        entry.created_at,
        run.id
    FROM run
    INNER JOIN given ON given.table_name = 'usage_logs'
    CROSS JOIN LATERAL jsonb_populate_record(NULL::runstore.usage_logs, given.document) AS entry
    ON CONFLICT (id, meter, tenant_id, subject_id) DO NOTHING
)

SELECT run.id
FROM run;
