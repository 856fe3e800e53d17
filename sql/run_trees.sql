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
                run_id,
                id,
                tenant_id,
                provider,
                template,
                status,
                metadata,
                created_at,
                updated_at,
                terminated_at
            )
        FROM runstore.sandboxes
        WHERE run_id = %(run_id)s
        ORDER BY
            created_at,
            id
        LIMIT %(row_limit)s
    ) AS sandboxes,
    ARRAY(
        SELECT
            ROW(
                run_id,
                id,
                tenant_id,
                sandbox_id,
                phase,
                parent_snapshot_id,
                size_bytes,
                metadata,
                created_at
            )
        FROM runstore.snapshots
        WHERE run_id = %(run_id)s
        ORDER BY
            created_at,
            id
        LIMIT %(row_limit)s
    ) AS snapshots,
    ARRAY(
        SELECT
            ROW(
                run_id,
                id,
                tenant_id,
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
        FROM runstore.phase_results
        WHERE run_id = %(run_id)s
        ORDER BY
            created_at,
            id
        LIMIT %(row_limit)s
    ) AS phase_results,
    ARRAY(
        SELECT
            ROW(
                run_id,
                id,
                tenant_id,
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
        FROM runstore.agent_invocations
        WHERE run_id = %(run_id)s
        ORDER BY
            created_at,
            id
        LIMIT %(row_limit)s
    ) AS agent_invocations,
    ARRAY(
        SELECT
            ROW(
                run_id,
                id,
                tenant_id,
                invocation_id,
                position,
                kind,
                content,
                tokens,
                metadata,
                created_at,
                finished_at
            )
        FROM runstore.agent_steps
        WHERE run_id = %(run_id)s
        ORDER BY
            invocation_id,
            position
        LIMIT %(row_limit)s
    ) AS agent_steps,
    ARRAY(
        SELECT
            ROW(
                run_id,
                id,
                tenant_id,
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
        FROM runstore.tool_calls
        WHERE run_id = %(run_id)s
        ORDER BY
            created_at,
            id
        LIMIT %(row_limit)s
    ) AS tool_calls,
    ARRAY(
        SELECT
            ROW(
                run_id,
                id,
                tenant_id,
                phase,
                kind,
                content,
                metadata,
                created_at
            )
        FROM runstore.memory_records
        WHERE run_id = %(run_id)s
        ORDER BY
            created_at,
            id
        LIMIT %(row_limit)s
    ) AS memory_records,
    ARRAY(
        SELECT
            ROW(
                run_id,
                id,
                tenant_id,
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
        FROM runstore.cta_events
        WHERE run_id = %(run_id)s
        ORDER BY
            created_at,
            id
        LIMIT %(row_limit)s
    ) AS cta_events
FROM runstore.runs
WHERE runs.id = %(run_id)s;
