-- Run trees: a whole run, with all that hangs off it, in one statement and so of one snapshot.

-- name: get_run_tree :one
-- Read a run and its children, each table's rows as an array of records in the column order of
-- its own queries, oldest first. No row: the run does not exist.
SELECT
    ROW(
        runs.id,
        runs.tenant_id,
        runs.kind,
        runs.name,
        runs.thread_id,
        runs.subject_id,
        runs.phase,
        runs.status,
        runs.input,
        runs.output,
        runs.error,
        runs.exclusive,
        runs.idempotency_key,
        runs.parent_run_id,
        runs.forked_from_run_id,
        runs.forked_at_seq,
        runs.trace_id,
        runs.metadata,
        runs.created_at,
        runs.started_at,
        runs.updated_at,
        runs.cancel_requested_at,
        runs.finished_at
    ) AS run,
    ARRAY(
        SELECT
            ROW(
                sandboxes.run_id,
                sandboxes.id,
                sandboxes.tenant_id,
                sandboxes.provider,
                sandboxes.template,
                sandboxes.status,
                sandboxes.metadata,
                sandboxes.created_at,
                sandboxes.updated_at,
                sandboxes.terminated_at
            )
        FROM runstore.sandboxes
        WHERE sandboxes.run_id = %(run_id)s
        ORDER BY (sandboxes.created_at, sandboxes.id)
        LIMIT %(row_limit)s
    ) AS sandboxes,
    ARRAY(
        SELECT
            ROW(
                snapshots.run_id,
                snapshots.id,
                snapshots.tenant_id,
                snapshots.sandbox_id,
                snapshots.phase,
                snapshots.parent_snapshot_id,
                snapshots.size_bytes,
                snapshots.metadata,
                snapshots.created_at
            )
        FROM runstore.snapshots
        WHERE snapshots.run_id = %(run_id)s
        ORDER BY (snapshots.created_at, snapshots.id)
        LIMIT %(row_limit)s
    ) AS snapshots,
    ARRAY(
        SELECT
            ROW(
                phase_results.run_id,
                phase_results.id,
                phase_results.tenant_id,
                phase_results.phase,
                phase_results.attempt,
                phase_results.status,
                phase_results.input,
                phase_results.output,
                phase_results.error,
                phase_results.metadata,
                phase_results.created_at,
                phase_results.finished_at
            )
        FROM runstore.phase_results
        WHERE phase_results.run_id = %(run_id)s
        ORDER BY (phase_results.created_at, phase_results.id)
        LIMIT %(row_limit)s
    ) AS phase_results,
    ARRAY(
        SELECT
            ROW(
                agent_invocations.run_id,
                agent_invocations.id,
                agent_invocations.tenant_id,
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
                agent_invocations.cost_usd,
                agent_invocations.usage_raw,
                agent_invocations.trace_id,
                agent_invocations.span_id,
                agent_invocations.metadata,
                agent_invocations.created_at,
                agent_invocations.finished_at
            )
        FROM runstore.agent_invocations
        WHERE agent_invocations.run_id = %(run_id)s
        ORDER BY (agent_invocations.created_at, agent_invocations.id)
        LIMIT %(row_limit)s
    ) AS agent_invocations,
    ARRAY(
        SELECT
            ROW(
                agent_steps.run_id,
                agent_steps.id,
                agent_steps.tenant_id,
                agent_steps.invocation_id,
                agent_steps.position,
                agent_steps.kind,
                agent_steps.content,
                agent_steps.tokens,
                agent_steps.metadata,
                agent_steps.created_at,
                agent_steps.finished_at
            )
        FROM runstore.agent_steps
        WHERE agent_steps.run_id = %(run_id)s
        ORDER BY (agent_steps.created_at, agent_steps.id)
        LIMIT %(row_limit)s
    ) AS agent_steps,
    ARRAY(
        SELECT
            ROW(
                tool_calls.run_id,
                tool_calls.id,
                tool_calls.tenant_id,
                tool_calls.invocation_id,
                tool_calls.step_id,
                tool_calls.provider_call_id,
                tool_calls.name,
                tool_calls.arguments,
                tool_calls.status,
                tool_calls.result,
                tool_calls.error,
                tool_calls.metadata,
                tool_calls.created_at,
                tool_calls.finished_at
            )
        FROM runstore.tool_calls
        WHERE tool_calls.run_id = %(run_id)s
        ORDER BY (tool_calls.created_at, tool_calls.id)
        LIMIT %(row_limit)s
    ) AS tool_calls,
    ARRAY(
        SELECT
            ROW(
                memory_records.run_id,
                memory_records.id,
                memory_records.tenant_id,
                memory_records.phase,
                memory_records.kind,
                memory_records.content,
                memory_records.metadata,
                memory_records.created_at
            )
        FROM runstore.memory_records
        WHERE memory_records.run_id = %(run_id)s
        ORDER BY (memory_records.created_at, memory_records.id)
        LIMIT %(row_limit)s
    ) AS memory_records,
    ARRAY(
        SELECT
            ROW(
                cta_events.run_id,
                cta_events.id,
                cta_events.tenant_id,
                cta_events.phase,
                cta_events.kind,
                cta_events.invocation_id,
                cta_events.tool_call_id,
                cta_events.request,
                cta_events.status,
                cta_events.response_data,
                cta_events.expires_at,
                cta_events.resolved_by,
                cta_events.metadata,
                cta_events.created_at,
                cta_events.resolved_at
            )
        FROM runstore.cta_events
        WHERE cta_events.run_id = %(run_id)s
        ORDER BY (cta_events.created_at, cta_events.id)
        LIMIT %(row_limit)s
    ) AS cta_events
FROM runstore.runs
WHERE runs.id = %(run_id)s;
