-- Create the calls to action: questions that a run asks a person, and their answers.
-- The first of answer, time-out and cancellation wins; what comes later is refused.
--
-- depends: runstore-0006-create-memory-records

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE TABLE runstore.cta_events (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    phase text,
    kind text NOT NULL,
    invocation_id uuid,
    tool_call_id uuid,
    request jsonb,
    status text NOT NULL DEFAULT 'pending',
    response_data jsonb,
    expires_at timestamptz,
    resolved_by text,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    resolved_at timestamptz,
    CONSTRAINT cta_events_pkey PRIMARY KEY (run_id, id),
    CONSTRAINT cta_events_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT cta_events_run_id_fkey FOREIGN KEY (run_id)
        REFERENCES runstore.runs (id) ON DELETE CASCADE,
    CONSTRAINT cta_events_run_id_invocation_id_fkey FOREIGN KEY (run_id, invocation_id)
        REFERENCES runstore.agent_invocations (run_id, id) ON DELETE CASCADE,
    CONSTRAINT cta_events_run_id_tool_call_id_fkey FOREIGN KEY (run_id, tool_call_id)
        REFERENCES runstore.tool_calls (run_id, id) ON DELETE CASCADE,
    CONSTRAINT cta_events_id_check CHECK (runstore.run_of(id) = run_id),
    CONSTRAINT cta_events_phase_check CHECK (char_length(phase) BETWEEN 1 AND 255),
    CONSTRAINT cta_events_kind_check CHECK (char_length(kind) BETWEEN 1 AND 255),
    CONSTRAINT cta_events_status_check CHECK (
        status IN ('pending', 'completed', 'timed_out', 'cancelled')
    ),
    CONSTRAINT cta_events_resolved_by_check CHECK (char_length(resolved_by) BETWEEN 1 AND 255),
    CONSTRAINT cta_events_resolved_at_check CHECK ((resolved_at IS NOT NULL) = (status <> 'pending'))
);
CREATE INDEX cta_events_run_id_invocation_id_idx ON runstore.cta_events (run_id, invocation_id)
WHERE invocation_id IS NOT NULL;
CREATE INDEX cta_events_run_id_tool_call_id_idx ON runstore.cta_events (run_id, tool_call_id)
WHERE tool_call_id IS NOT NULL;
CREATE UNIQUE INDEX cta_events_run_id_tool_call_id_key ON runstore.cta_events (run_id, tool_call_id)
WHERE tool_call_id IS NOT NULL AND status = 'pending';
CREATE INDEX cta_events_tenant_id_created_at_id_idx ON runstore.cta_events (tenant_id, created_at, id)
WHERE status = 'pending';
CREATE INDEX cta_events_expires_at_idx ON runstore.cta_events (expires_at)
WHERE status = 'pending';
COMMENT ON TABLE runstore.cta_events IS
    'A call to action: a question to a person. One that is no longer pending never changes again.';
COMMENT ON COLUMN runstore.cta_events.id IS 'UUIDv7 that carries its run; made by the client before its first attempt.';
COMMENT ON COLUMN runstore.cta_events.kind IS 'What sort of question it is; the application chooses the words.';
COMMENT ON COLUMN runstore.cta_events.tool_call_id IS
    'The tool call that waits for the answer; it has one pending question at most.';
COMMENT ON COLUMN runstore.cta_events.request IS 'The question; NULL: its kind says all.';
COMMENT ON COLUMN runstore.cta_events.status IS 'pending; final: completed (answered), timed_out, cancelled.';
COMMENT ON COLUMN runstore.cta_events.response_data IS 'The answer; NULL: none.';
COMMENT ON COLUMN runstore.cta_events.expires_at IS 'When a pending question is overdue; NULL: never.';
COMMENT ON COLUMN runstore.cta_events.resolved_by IS 'Who answered or cancelled.';
COMMENT ON COLUMN runstore.cta_events.metadata IS 'A JSON object for what the application adds.';
