-- Create the log of usage: what was really used, one row for each meter. Bills and reports are
-- made of it, and the counters can be proven by it. Its rows never change; what was wrong is
-- corrected by a negative one.
--
-- depends: runstore-0010-create-quotas

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE TABLE runstore.usage_logs (
    id uuid NOT NULL,
    meter text NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    subject_id text NOT NULL,
    amount bigint NOT NULL,
    cost_nanousd bigint,
    run_id uuid,
    invocation_id uuid,
    tool_call_id uuid,
    provider text,
    model text,
    quota_ids uuid[] NOT NULL DEFAULT '{}',
    window_starts timestamptz[] NOT NULL DEFAULT '{}',
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT usage_logs_pkey PRIMARY KEY (id, meter, tenant_id, subject_id),
    CONSTRAINT usage_logs_meter_check CHECK (char_length(meter) BETWEEN 1 AND 255),
    CONSTRAINT usage_logs_tenant_id_check CHECK (char_length(tenant_id) BETWEEN 1 AND 255),
    CONSTRAINT usage_logs_subject_id_check CHECK (char_length(subject_id) BETWEEN 1 AND 255),
    CONSTRAINT usage_logs_cost_nanousd_check CHECK (sign(cost_nanousd) * sign(amount) >= 0),
    CONSTRAINT usage_logs_meter_cost_nanousd_check CHECK (meter <> 'cost_nanousd' OR cost_nanousd IS NULL),
    CONSTRAINT usage_logs_run_id_check CHECK (runstore.run_of(run_id) = run_id),
    CONSTRAINT usage_logs_invocation_id_check CHECK (
        invocation_id IS NULL OR (run_id IS NOT NULL AND runstore.run_of(invocation_id) = run_id)
    ),
    CONSTRAINT usage_logs_tool_call_id_check CHECK (
        tool_call_id IS NULL OR (run_id IS NOT NULL AND runstore.run_of(tool_call_id) = run_id)
    ),
    CONSTRAINT usage_logs_provider_check CHECK (char_length(provider) BETWEEN 1 AND 255),
    CONSTRAINT usage_logs_model_check CHECK (char_length(model) BETWEEN 1 AND 255),
    CONSTRAINT usage_logs_window_starts_check CHECK (cardinality(window_starts) = cardinality(quota_ids)),
    CONSTRAINT usage_logs_metadata_check CHECK (jsonb_typeof(metadata) = 'object')
);
CREATE INDEX usage_logs_tenant_id_subject_id_created_at_id_meter_idx
ON runstore.usage_logs (tenant_id, subject_id, created_at, id, meter)
INCLUDE (amount, cost_nanousd, provider, model, run_id);
COMMENT ON TABLE runstore.usage_logs IS
    'What a subject used of one meter. Rows are never changed; a correction is a row with a negative amount. What '
    'was not reported has no row, and is not 0.';
COMMENT ON COLUMN runstore.usage_logs.id IS
    'UUIDv7 made by the client before its first attempt: the reservation''s that was settled, or one of its own. The '
    'rows of all meters that were logged at once share it.';
COMMENT ON COLUMN runstore.usage_logs.meter IS
    'What was counted. input_tokens includes cache_read_tokens and cache_write_tokens, and output_tokens includes '
    'reasoning_tokens: the parts stand in rows of their own and are not added to the whole. cost_nanousd is money.';
COMMENT ON COLUMN runstore.usage_logs.subject_id IS 'Who used it: a user, a team, a tenant; the application chooses.';
COMMENT ON COLUMN runstore.usage_logs.amount IS 'How much, in the meter''s own unit; negative in a correction.';
COMMENT ON COLUMN runstore.usage_logs.cost_nanousd IS
    'What this amount cost, in 1e-9 USD; NULL: unpriced, never 0 for that. NULL on the meter cost_nanousd too, whose '
    'amount is the cost: it would be counted twice.';
COMMENT ON COLUMN runstore.usage_logs.run_id IS 'The run that used it. No foreign key: a bill outlives its run.';
COMMENT ON COLUMN runstore.usage_logs.invocation_id IS 'The invocation that used it. No foreign key.';
COMMENT ON COLUMN runstore.usage_logs.tool_call_id IS 'The tool call that used it. No foreign key.';
COMMENT ON COLUMN runstore.usage_logs.provider IS 'Who served the model.';
COMMENT ON COLUMN runstore.usage_logs.model IS 'The model, as its provider names it.';
COMMENT ON COLUMN runstore.usage_logs.quota_ids IS
    'The quotas in whose counters the amount is; each stands in the same place as its window.';
COMMENT ON COLUMN runstore.usage_logs.window_starts IS
    'The windows in whose counters the amount is: of a settled hold, those that it was held against.';
COMMENT ON COLUMN runstore.usage_logs.metadata IS 'A JSON object for what the application adds.';
