-- Create the calls of agents, with the steps that they took and the tools that they
-- called. A tool call is written before its tool runs, so that a crash leaves an
-- open row and not a silence.
--
-- depends: runstore-0004-create-phase-results

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE TABLE runstore.agent_invocations (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    phase_result_id uuid,
    parent_invocation_id uuid,
    agent text NOT NULL,
    provider text,
    model text,
    status text NOT NULL DEFAULT 'running',
    input jsonb,
    output jsonb,
    finish_reason text,
    error jsonb,
    input_tokens bigint,
    output_tokens bigint,
    cache_read_tokens bigint,
    cache_write_tokens bigint,
    reasoning_tokens bigint,
    cost_usd numeric,
    usage_raw jsonb,
    trace_id text,
    span_id text,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    CONSTRAINT agent_invocations_pkey PRIMARY KEY (run_id, id),
    CONSTRAINT agent_invocations_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT agent_invocations_run_id_fkey FOREIGN KEY (run_id)
        REFERENCES runstore.runs (id) ON DELETE CASCADE,
    CONSTRAINT agent_invocations_run_id_phase_result_id_fkey FOREIGN KEY (run_id, phase_result_id)
        REFERENCES runstore.phase_results (run_id, id) ON DELETE CASCADE,
    CONSTRAINT agent_invocations_run_id_parent_invocation_id_fkey FOREIGN KEY (run_id, parent_invocation_id)
        REFERENCES runstore.agent_invocations (run_id, id) ON DELETE CASCADE,
    CONSTRAINT agent_invocations_id_check CHECK (runstore.run_of(id) = run_id),
    CONSTRAINT agent_invocations_parent_invocation_id_check CHECK (parent_invocation_id <> id),
    CONSTRAINT agent_invocations_agent_check CHECK (char_length(agent) BETWEEN 1 AND 255),
    CONSTRAINT agent_invocations_provider_check CHECK (char_length(provider) BETWEEN 1 AND 255),
    CONSTRAINT agent_invocations_model_check CHECK (char_length(model) BETWEEN 1 AND 255),
    CONSTRAINT agent_invocations_status_check CHECK (
        status IN ('running', 'completed', 'failed', 'cancelled')
    ),
    CONSTRAINT agent_invocations_finish_reason_check CHECK (char_length(finish_reason) BETWEEN 1 AND 255),
    CONSTRAINT agent_invocations_input_tokens_check CHECK (
        input_tokens >= coalesce(cache_read_tokens, 0) + coalesce(cache_write_tokens, 0)
    ),
    CONSTRAINT agent_invocations_output_tokens_check CHECK (output_tokens >= 0),
    CONSTRAINT agent_invocations_cache_read_tokens_check CHECK (cache_read_tokens >= 0),
    CONSTRAINT agent_invocations_cache_write_tokens_check CHECK (cache_write_tokens >= 0),
    CONSTRAINT agent_invocations_reasoning_tokens_check CHECK (reasoning_tokens >= 0),
    CONSTRAINT agent_invocations_cost_usd_check CHECK (cost_usd >= 0 AND cost_usd < 'Infinity'),
    CONSTRAINT agent_invocations_trace_id_check CHECK (char_length(trace_id) BETWEEN 1 AND 255),
    CONSTRAINT agent_invocations_span_id_check CHECK (char_length(span_id) BETWEEN 1 AND 255),
    CONSTRAINT agent_invocations_finished_at_check CHECK ((finished_at IS NOT NULL) = (status <> 'running'))
);
CREATE INDEX agent_invocations_run_id_phase_result_id_idx
ON runstore.agent_invocations (run_id, phase_result_id)
WHERE phase_result_id IS NOT NULL;
CREATE INDEX agent_invocations_run_id_parent_invocation_id_idx
ON runstore.agent_invocations (run_id, parent_invocation_id)
WHERE parent_invocation_id IS NOT NULL;
COMMENT ON TABLE runstore.agent_invocations IS 'One call of an agent. A finished one never changes again.';
COMMENT ON COLUMN runstore.agent_invocations.id IS
    'UUIDv7 that carries its run; made by the client before its first attempt.';
COMMENT ON COLUMN runstore.agent_invocations.phase_result_id IS
    'The attempt at a phase that called the agent; NULL: the run itself did.';
COMMENT ON COLUMN runstore.agent_invocations.parent_invocation_id IS
    'The invocation that called this one as its sub-agent.';
COMMENT ON COLUMN runstore.agent_invocations.agent IS 'The agent''s name.';
COMMENT ON COLUMN runstore.agent_invocations.provider IS 'Who served the model.';
COMMENT ON COLUMN runstore.agent_invocations.model IS 'The model, as its provider names it.';
COMMENT ON COLUMN runstore.agent_invocations.status IS 'running; final: completed, failed, cancelled.';
COMMENT ON COLUMN runstore.agent_invocations.finish_reason IS 'Why the model stopped, in its provider''s word.';
COMMENT ON COLUMN runstore.agent_invocations.input_tokens IS
    'Tokens read, cached reads and writes included; NULL: not reported, never 0 for that.';
COMMENT ON COLUMN runstore.agent_invocations.output_tokens IS 'Tokens written, reasoning included; NULL: not reported.';
COMMENT ON COLUMN runstore.agent_invocations.cache_read_tokens IS
    'The part of input_tokens that came from a cache; NULL: not reported.';
COMMENT ON COLUMN runstore.agent_invocations.cache_write_tokens IS
    'The part of input_tokens that was written to a cache; NULL: not reported.';
COMMENT ON COLUMN runstore.agent_invocations.reasoning_tokens IS
    'The part of output_tokens that the model spent on reasoning; NULL: not reported.';
COMMENT ON COLUMN runstore.agent_invocations.cost_usd IS 'What the call cost, in US dollars; NULL: unpriced.';
COMMENT ON COLUMN runstore.agent_invocations.usage_raw IS 'The provider''s own account of usage, as it came.';
COMMENT ON COLUMN runstore.agent_invocations.trace_id IS 'The trace (W3C Trace Context) of the call.';
COMMENT ON COLUMN runstore.agent_invocations.span_id IS 'The span (W3C Trace Context) of the call.';
COMMENT ON COLUMN runstore.agent_invocations.metadata IS 'A JSON object for what the application adds.';

CREATE TABLE runstore.agent_steps (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    invocation_id uuid NOT NULL,
    position integer NOT NULL,
    kind text NOT NULL,
    content jsonb,
    tokens bigint,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    CONSTRAINT agent_steps_pkey PRIMARY KEY (run_id, id),
    CONSTRAINT agent_steps_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT agent_steps_run_id_invocation_id_position_key UNIQUE (run_id, invocation_id, position),
    CONSTRAINT agent_steps_run_id_invocation_id_fkey FOREIGN KEY (run_id, invocation_id)
        REFERENCES runstore.agent_invocations (run_id, id) ON DELETE CASCADE,
    CONSTRAINT agent_steps_id_check CHECK (runstore.run_of(id) = run_id),
    CONSTRAINT agent_steps_position_check CHECK (position >= 0),
    CONSTRAINT agent_steps_kind_check CHECK (char_length(kind) BETWEEN 1 AND 255),
    CONSTRAINT agent_steps_tokens_check CHECK (tokens >= 0)
);
COMMENT ON TABLE runstore.agent_steps IS 'One step of an invocation: a thought, a message, an action.';
COMMENT ON COLUMN runstore.agent_steps.id IS
    'UUIDv7 that carries its run; made by the client before its first attempt.';
COMMENT ON COLUMN runstore.agent_steps.position IS 'The step''s place within its invocation; unique there.';
COMMENT ON COLUMN runstore.agent_steps.kind IS 'What sort of step it is; the application chooses the words.';
COMMENT ON COLUMN runstore.agent_steps.tokens IS 'Tokens that the step took; NULL: not reported.';
COMMENT ON COLUMN runstore.agent_steps.metadata IS 'A JSON object for what the application adds.';
COMMENT ON COLUMN runstore.agent_steps.finished_at IS 'NULL while the step is going on.';

CREATE TABLE runstore.tool_calls (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    invocation_id uuid NOT NULL,
    step_id uuid,
    provider_call_id text,
    name text NOT NULL,
    arguments jsonb,
    status text NOT NULL DEFAULT 'open',
    result jsonb,
    error jsonb,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    CONSTRAINT tool_calls_pkey PRIMARY KEY (run_id, id),
    CONSTRAINT tool_calls_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT tool_calls_run_id_invocation_id_provider_call_id_key
        UNIQUE (run_id, invocation_id, provider_call_id),
    CONSTRAINT tool_calls_run_id_invocation_id_fkey FOREIGN KEY (run_id, invocation_id)
        REFERENCES runstore.agent_invocations (run_id, id) ON DELETE CASCADE,
    CONSTRAINT tool_calls_run_id_step_id_fkey FOREIGN KEY (run_id, step_id)
        REFERENCES runstore.agent_steps (run_id, id) ON DELETE CASCADE,
    CONSTRAINT tool_calls_id_check CHECK (runstore.run_of(id) = run_id),
    CONSTRAINT tool_calls_provider_call_id_check CHECK (char_length(provider_call_id) BETWEEN 1 AND 255),
    CONSTRAINT tool_calls_name_check CHECK (char_length(name) BETWEEN 1 AND 255),
    CONSTRAINT tool_calls_status_check CHECK (
        status IN ('open', 'completed', 'failed', 'denied', 'unknown')
    ),
    CONSTRAINT tool_calls_finished_at_check CHECK ((finished_at IS NOT NULL) = (status <> 'open'))
);
CREATE INDEX tool_calls_run_id_step_id_idx ON runstore.tool_calls (run_id, step_id)
WHERE step_id IS NOT NULL;
CREATE INDEX tool_calls_run_id_open_idx ON runstore.tool_calls (run_id)
WHERE status = 'open';
COMMENT ON TABLE runstore.tool_calls IS
    'One call of a tool: written open before the tool runs, finished after. A finished one never changes again.';
COMMENT ON COLUMN runstore.tool_calls.id IS 'UUIDv7 that carries its run; made by the client before its first attempt.';
COMMENT ON COLUMN runstore.tool_calls.provider_call_id IS
    'The model provider''s id of the call; unique within its invocation.';
COMMENT ON COLUMN runstore.tool_calls.name IS 'The tool''s name.';
COMMENT ON COLUMN runstore.tool_calls.status IS
    'open; final: completed, failed, denied (it was not allowed to run), unknown (nobody learnt its outcome).';
COMMENT ON COLUMN runstore.tool_calls.metadata IS 'A JSON object for what the application adds.';
