-- Create the runs: the wide row that describes a run, its narrow head that every
-- append locks and rewrites, and its log of events. They are apart so that an
-- append never rewrites the wide row or one of its indexes.
--
-- depends: runstore-0001-create-schema

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE TABLE runstore.runs (
    id uuid NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    kind text NOT NULL,
    name text,
    thread_id text,
    subject_id text,
    phase text,
    status text NOT NULL,
    input jsonb,
    output jsonb,
    error jsonb,
    exclusive boolean NOT NULL DEFAULT false,
    idempotency_key text,
    parent_run_id uuid,
    forked_from_run_id uuid,
    forked_at_seq bigint,
    trace_id text,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    cancel_requested_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT runs_pkey PRIMARY KEY (id),
    CONSTRAINT runs_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT runs_id_check CHECK (runstore.run_of(id) = id),
    CONSTRAINT runs_tenant_id_check CHECK (char_length(tenant_id) BETWEEN 1 AND 255),
    CONSTRAINT runs_kind_check CHECK (kind IN ('feature', 'chat')),
    CONSTRAINT runs_name_check CHECK (char_length(name) BETWEEN 1 AND 255),
    CONSTRAINT runs_kind_name_check CHECK (kind <> 'feature' OR name IS NOT NULL),
    CONSTRAINT runs_thread_id_check CHECK (char_length(thread_id) BETWEEN 1 AND 255),
    CONSTRAINT runs_subject_id_check CHECK (char_length(subject_id) BETWEEN 1 AND 255),
    CONSTRAINT runs_phase_check CHECK (char_length(phase) BETWEEN 1 AND 255),
    CONSTRAINT runs_status_check CHECK (
        status IN ('pending', 'running', 'completed', 'failed', 'cancelled')
    ),
    CONSTRAINT runs_exclusive_check CHECK (NOT exclusive OR thread_id IS NOT NULL),
    CONSTRAINT runs_idempotency_key_check CHECK (char_length(idempotency_key) BETWEEN 1 AND 255),
    CONSTRAINT runs_parent_run_id_check CHECK (parent_run_id <> id),
    CONSTRAINT runs_forked_at_seq_check CHECK (
        forked_at_seq >= 0 AND (forked_at_seq IS NULL) = (forked_from_run_id IS NULL)
    ),
    CONSTRAINT runs_trace_id_check CHECK (char_length(trace_id) BETWEEN 1 AND 255),
    CONSTRAINT runs_started_at_check CHECK (status <> 'running' OR started_at IS NOT NULL),
    CONSTRAINT runs_finished_at_check CHECK (
        (finished_at IS NOT NULL) = (status IN ('completed', 'failed', 'cancelled'))
    )
);
CREATE INDEX runs_tenant_id_id_idx ON runstore.runs (tenant_id, id);
CREATE INDEX runs_tenant_id_thread_id_id_idx ON runstore.runs (tenant_id, thread_id, id)
WHERE thread_id IS NOT NULL;
CREATE INDEX runs_tenant_id_subject_id_id_idx ON runstore.runs (tenant_id, subject_id, id)
WHERE subject_id IS NOT NULL;
CREATE INDEX runs_tenant_id_name_id_idx ON runstore.runs (tenant_id, name, id)
WHERE name IS NOT NULL;
CREATE INDEX runs_tenant_id_status_id_idx ON runstore.runs (tenant_id, status, id)
WHERE status IN ('pending', 'running');
CREATE INDEX runs_parent_run_id_idx ON runstore.runs (parent_run_id)
WHERE parent_run_id IS NOT NULL;
CREATE INDEX runs_forked_from_run_id_idx ON runstore.runs (forked_from_run_id)
WHERE forked_from_run_id IS NOT NULL;
CREATE UNIQUE INDEX runs_tenant_id_idempotency_key_key ON runstore.runs (tenant_id, idempotency_key)
WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX runs_tenant_id_thread_id_key ON runstore.runs (tenant_id, thread_id)
WHERE exclusive AND status IN ('pending', 'running');

COMMENT ON TABLE runstore.runs IS
    'A feature run (a pipeline) or a chat run. A run in a final status never changes again.';
COMMENT ON COLUMN runstore.runs.id IS
    'UUIDv7 whose last 48 bits are zero; made by the client before its first attempt.';
COMMENT ON COLUMN runstore.runs.tenant_id IS 'Whose run it is; its children carry the same.';
COMMENT ON COLUMN runstore.runs.kind IS 'feature: a pipeline with phases; chat: a turn of a conversation.';
COMMENT ON COLUMN runstore.runs.name IS 'What the pipeline is called; many runs share it.';
COMMENT ON COLUMN runstore.runs.thread_id IS 'The conversation to which the run belongs.';
COMMENT ON COLUMN runstore.runs.subject_id IS 'Who the run is for: a user, a team; the application chooses.';
COMMENT ON COLUMN runstore.runs.phase IS 'The phase that a feature run is in.';
COMMENT ON COLUMN runstore.runs.status IS 'pending, running; final: completed, failed, cancelled.';
COMMENT ON COLUMN runstore.runs.input IS 'What the run was asked; NULL: nothing.';
COMMENT ON COLUMN runstore.runs.output IS 'What the run answered; NULL: nothing.';
COMMENT ON COLUMN runstore.runs.error IS 'Why the run failed or was cancelled; NULL: nothing was said.';
COMMENT ON COLUMN runstore.runs.exclusive IS 'True: no other exclusive run of the thread may be active at once.';
COMMENT ON COLUMN runstore.runs.idempotency_key IS 'The caller''s own key; unique per tenant.';
COMMENT ON COLUMN runstore.runs.parent_run_id IS
    'The run that started this one. No foreign key: a child may outlive its parent.';
COMMENT ON COLUMN runstore.runs.forked_from_run_id IS 'The run whose log this one continues.';
COMMENT ON COLUMN runstore.runs.forked_at_seq IS 'The last event, inclusive, that a fork shares with its origin.';
COMMENT ON COLUMN runstore.runs.trace_id IS 'The trace (W3C Trace Context) in which the run was made.';
COMMENT ON COLUMN runstore.runs.metadata IS 'A JSON object for what the application adds.';
COMMENT ON COLUMN runstore.runs.updated_at IS 'When the status, the phase or the cancel flag last changed.';
COMMENT ON COLUMN runstore.runs.cancel_requested_at IS
    'When somebody asked the run to stop; the run itself decides when it does.';

CREATE TABLE runstore.run_heads (
    run_id uuid NOT NULL,
    last_seq bigint NOT NULL DEFAULT 0,
    closed boolean NOT NULL DEFAULT false,
    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT run_heads_pkey PRIMARY KEY (run_id),
    CONSTRAINT run_heads_run_id_fkey FOREIGN KEY (run_id)
        REFERENCES runstore.runs (id) ON DELETE CASCADE,
    CONSTRAINT run_heads_last_seq_check CHECK (last_seq >= 0)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
COMMENT ON TABLE runstore.run_heads IS
    'The hot, narrow row of a run: whoever changes the run''s status or log locks it first. It has no index '
    'but its key, so that its updates stay within the page (HOT).';
COMMENT ON COLUMN runstore.run_heads.last_seq IS 'The number of the run''s newest event; 0: none yet.';
COMMENT ON COLUMN runstore.run_heads.closed IS 'True when the run''s status is final: nothing is appended any more.';
COMMENT ON COLUMN runstore.run_heads.heartbeat_at IS
    'The last sign of life: a heartbeat, an append or a change of status.';

CREATE TABLE runstore.run_events (
    run_id uuid NOT NULL,
    seq bigint NOT NULL,
    type text NOT NULL,
    payload jsonb NOT NULL DEFAULT '{}',
    append_id uuid,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT run_events_pkey PRIMARY KEY (run_id, seq),
    CONSTRAINT run_events_run_id_fkey FOREIGN KEY (run_id)
        REFERENCES runstore.run_heads (run_id) ON DELETE CASCADE,
    CONSTRAINT run_events_seq_check CHECK (seq > 0),
    CONSTRAINT run_events_type_check CHECK (char_length(type) BETWEEN 1 AND 255)
);
CREATE UNIQUE INDEX run_events_run_id_append_id_key ON runstore.run_events (run_id, append_id)
WHERE append_id IS NOT NULL;
COMMENT ON TABLE runstore.run_events IS
    'One event of a run. Append-only: rows are neither changed nor, before their run is purged, deleted.';
COMMENT ON COLUMN runstore.run_events.seq IS
    'The event''s number within its run: from 1, without gap or double, in the order of commits.';
COMMENT ON COLUMN runstore.run_events.type IS 'What happened. Names that start with "run." are the library''s own.';
COMMENT ON COLUMN runstore.run_events.append_id IS
    'On the first event of an append: the caller''s id of that append, so that repeating it changes nothing.';
