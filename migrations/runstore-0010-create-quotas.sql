-- Create the quotas, the counters of their windows, and the holds that reservations take of them.
--
-- A quota has one counter for each of its windows, and a new window is a new row: nothing is
-- ever reset. Every statement that changes counters locks them in the order of their key, so no
-- two of them can deadlock. What a reservation or an entry of the log has been counted in is
-- written down beside it, so that each counter can be proven: `used` is what was carried over
-- when the quota was made plus the log, and `held` is the sum of the open holds.
--
-- depends: runstore-0009-create-reports

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE FUNCTION runstore.window_start(period text, timezone text, at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN period = 'total' THEN '-infinity' ELSE date_trunc(period, at, timezone) END $$;
COMMENT ON FUNCTION runstore.window_start(text, text, timestamptz) IS
    'When the window of a quota that holds a time began: the calendar''s minute, hour, day, week (from Monday) or '
    'month in the quota''s time zone; -infinity for a total.';

CREATE FUNCTION runstore.window_end(period text, timezone text, window_start timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT CASE period
        WHEN 'minute' THEN window_start + interval '1 minute'
        WHEN 'hour' THEN window_start + interval '1 hour'
        WHEN 'day' THEN (window_start AT TIME ZONE timezone + interval '1 day') AT TIME ZONE timezone
        WHEN 'week' THEN (window_start AT TIME ZONE timezone + interval '7 days') AT TIME ZONE timezone
        WHEN 'month' THEN (window_start AT TIME ZONE timezone + interval '1 month') AT TIME ZONE timezone
    END
$$;
COMMENT ON FUNCTION runstore.window_end(text, text, timestamptz) IS
    'When the window of a quota that began at a time ends, and the next one begins; NULL for a total. Days, weeks '
    'and months are the calendar''s, so a day may have 23 or 25 hours.';

CREATE TABLE runstore.quotas (
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    subject_id text NOT NULL,
    id uuid NOT NULL,
    meter text NOT NULL,
    period text NOT NULL,
    timezone text NOT NULL DEFAULT 'UTC',
    limit_amount bigint NOT NULL,
    hard boolean NOT NULL DEFAULT true,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT quotas_pkey PRIMARY KEY (tenant_id, subject_id, id),
    CONSTRAINT quotas_tenant_id_subject_id_meter_period_key UNIQUE (tenant_id, subject_id, meter, period),
    CONSTRAINT quotas_tenant_id_check CHECK (char_length(tenant_id) BETWEEN 1 AND 255),
    CONSTRAINT quotas_subject_id_check CHECK (char_length(subject_id) BETWEEN 1 AND 255),
    CONSTRAINT quotas_meter_check CHECK (char_length(meter) BETWEEN 1 AND 255),
    CONSTRAINT quotas_period_check CHECK (period IN ('minute', 'hour', 'day', 'week', 'month', 'total')),
    CONSTRAINT quotas_timezone_check CHECK (char_length(timezone) BETWEEN 1 AND 255),
    CONSTRAINT quotas_limit_amount_check CHECK (limit_amount >= 0),
    CONSTRAINT quotas_metadata_check CHECK (jsonb_typeof(metadata) = 'object')
);
COMMENT ON TABLE runstore.quotas IS
    'How much a subject may use of a meter in a period. All quotas of a subject on a meter must hold; a meter on '
    'which it has none is unlimited.';
COMMENT ON COLUMN runstore.quotas.subject_id IS 'Who is limited: a user, a team, a tenant; the application chooses.';
COMMENT ON COLUMN runstore.quotas.id IS
    'Which quota it is: one that is removed and set again has another id, and so other counters.';
COMMENT ON COLUMN runstore.quotas.meter IS
    'What is counted, in the meter''s own unit: tokens, runs, tool_calls; cost_nanousd is money in 1e-9 USD.';
COMMENT ON COLUMN runstore.quotas.period IS 'The length of a window; a total has one window, which never ends.';
COMMENT ON COLUMN runstore.quotas.timezone IS
    'The time zone in which the windows begin, as pg_timezone_names has it. It never changes under one id.';
COMMENT ON COLUMN runstore.quotas.limit_amount IS 'The most that may be used in a window, in the meter''s unit.';
COMMENT ON COLUMN runstore.quotas.hard IS
    'True: what would pass the limit is refused. False: it is counted, and seen in reports.';
COMMENT ON COLUMN runstore.quotas.metadata IS 'A JSON object for what the application adds.';
COMMENT ON COLUMN runstore.quotas.updated_at IS 'When the quota was last set.';

CREATE TABLE runstore.usage_counters (
    tenant_id text NOT NULL,
    subject_id text NOT NULL,
    quota_id uuid NOT NULL,
    window_start timestamptz NOT NULL,
    carried bigint NOT NULL DEFAULT 0,
    used bigint NOT NULL DEFAULT 0,
    held bigint NOT NULL DEFAULT 0,
    CONSTRAINT usage_counters_pkey PRIMARY KEY (tenant_id, subject_id, quota_id, window_start),
    CONSTRAINT usage_counters_tenant_id_subject_id_quota_id_fkey FOREIGN KEY (tenant_id, subject_id, quota_id)
        REFERENCES runstore.quotas (tenant_id, subject_id, id) ON DELETE CASCADE,
    CONSTRAINT usage_counters_held_check CHECK (held >= 0)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
COMMENT ON TABLE runstore.usage_counters IS
    'The hot, narrow row of a quota''s window. It has no index but its key, so that its updates stay within the '
    'page (HOT). Whoever changes counters locks them in the order of the key.';
COMMENT ON COLUMN runstore.usage_counters.window_start IS 'When the window began; -infinity for a total.';
COMMENT ON COLUMN runstore.usage_counters.carried IS
    'What the log said that the subject had used in the window when the quota was made.';
COMMENT ON COLUMN runstore.usage_counters.used IS
    'carried and the sum of what the log has counted here since. Corrections may take it below 0.';
COMMENT ON COLUMN runstore.usage_counters.held IS 'The sum of the open holds.';

CREATE TABLE runstore.usage_reservations (
    id uuid NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    subject_id text NOT NULL,
    amounts jsonb NOT NULL,
    quota_ids uuid[] NOT NULL DEFAULT '{}',
    window_starts timestamptz[] NOT NULL DEFAULT '{}',
    held_amounts bigint[] NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'held',
    run_id uuid,
    invocation_id uuid,
    tool_call_id uuid,
    provider text,
    model text,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT usage_reservations_pkey PRIMARY KEY (id, tenant_id, subject_id),
    CONSTRAINT usage_reservations_tenant_id_check CHECK (char_length(tenant_id) BETWEEN 1 AND 255),
    CONSTRAINT usage_reservations_subject_id_check CHECK (char_length(subject_id) BETWEEN 1 AND 255),
    CONSTRAINT usage_reservations_amounts_check CHECK (jsonb_typeof(amounts) = 'object'),
    CONSTRAINT usage_reservations_window_starts_check CHECK (cardinality(window_starts) = cardinality(quota_ids)),
    CONSTRAINT usage_reservations_held_amounts_check CHECK (
        cardinality(held_amounts) = cardinality(quota_ids) AND 0 <= ALL(held_amounts)
    ),
    CONSTRAINT usage_reservations_status_check CHECK (status IN ('held', 'settled', 'released', 'expired')),
    CONSTRAINT usage_reservations_run_id_check CHECK (runstore.run_of(run_id) = run_id),
    CONSTRAINT usage_reservations_invocation_id_check CHECK (
        invocation_id IS NULL OR (run_id IS NOT NULL AND runstore.run_of(invocation_id) = run_id)
    ),
    CONSTRAINT usage_reservations_tool_call_id_check CHECK (
        tool_call_id IS NULL OR (run_id IS NOT NULL AND runstore.run_of(tool_call_id) = run_id)
    ),
    CONSTRAINT usage_reservations_provider_check CHECK (char_length(provider) BETWEEN 1 AND 255),
    CONSTRAINT usage_reservations_model_check CHECK (char_length(model) BETWEEN 1 AND 255),
    CONSTRAINT usage_reservations_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT usage_reservations_finished_at_check CHECK ((finished_at IS NOT NULL) = (status <> 'held'))
);
CREATE INDEX usage_reservations_tenant_id_subject_id_idx
ON runstore.usage_reservations (tenant_id, subject_id)
WHERE status = 'held';
CREATE INDEX usage_reservations_expires_at_idx ON runstore.usage_reservations (expires_at)
WHERE status = 'held';
COMMENT ON TABLE runstore.usage_reservations IS
    'A hold on what a subject is about to use, with an expiry, so that a dead worker holds nothing for ever. One '
    'that is settled or released never changes again; it stays, so that a repeated call finds it.';
COMMENT ON COLUMN runstore.usage_reservations.id IS
    'UUIDv7 made by the client before its first attempt; it carries the run where there is one. The key starts with '
    'it, since whoever settles knows nothing else.';
COMMENT ON COLUMN runstore.usage_reservations.amounts IS 'A JSON object: how much was asked for, by meter.';
COMMENT ON COLUMN runstore.usage_reservations.quota_ids IS
    'The quotas that it was held against; each stands in the same place as its window and its amount.';
COMMENT ON COLUMN runstore.usage_reservations.window_starts IS 'The windows that it was held against.';
COMMENT ON COLUMN runstore.usage_reservations.held_amounts IS 'What was held, in each quota''s unit.';
COMMENT ON COLUMN runstore.usage_reservations.status IS
    'held: open; expired: given back, and may still be settled; final: settled (logged), released (nothing used).';
COMMENT ON COLUMN runstore.usage_reservations.run_id IS
    'The run that it is for. No foreign key: a bill outlives its run.';
COMMENT ON COLUMN runstore.usage_reservations.invocation_id IS 'The invocation that it is for. No foreign key.';
COMMENT ON COLUMN runstore.usage_reservations.tool_call_id IS 'The tool call that it is for. No foreign key.';
COMMENT ON COLUMN runstore.usage_reservations.metadata IS 'A JSON object for what the application adds.';
COMMENT ON COLUMN runstore.usage_reservations.expires_at IS
    'When an open hold may be given back, unless it is renewed before.';
COMMENT ON COLUMN runstore.usage_reservations.finished_at IS
    'When it was settled, released or expired; NULL while it is held.';
