-- Create what a run remembers from one phase to the next.
--
-- depends: runstore-0005-create-agent-invocations

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE TABLE runstore.memory_records (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    phase text,
    kind text NOT NULL,
    content text NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT memory_records_pkey PRIMARY KEY (run_id, id),
    CONSTRAINT memory_records_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT memory_records_run_id_fkey FOREIGN KEY (run_id)
        REFERENCES runstore.runs (id) ON DELETE CASCADE,
    CONSTRAINT memory_records_id_check CHECK (runstore.run_of(id) = run_id),
    CONSTRAINT memory_records_phase_check CHECK (char_length(phase) BETWEEN 1 AND 255),
    CONSTRAINT memory_records_kind_check CHECK (char_length(kind) BETWEEN 1 AND 255)
);
COMMENT ON TABLE runstore.memory_records IS 'Something that a run remembers. Never changed.';
COMMENT ON COLUMN runstore.memory_records.id IS
    'UUIDv7 that carries its run; made by the client before its first attempt.';
COMMENT ON COLUMN runstore.memory_records.phase IS 'The phase that learnt it.';
COMMENT ON COLUMN runstore.memory_records.kind IS 'What sort of memory it is; the application chooses the words.';
COMMENT ON COLUMN runstore.memory_records.metadata IS 'A JSON object for what the application adds.';
