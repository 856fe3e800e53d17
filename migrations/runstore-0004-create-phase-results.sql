-- Create the results of a feature run's phases, one row for each attempt.
--
-- depends: runstore-0003-create-sandboxes

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE TABLE runstore.phase_results (
    run_id uuid NOT NULL,
    id uuid NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    phase text NOT NULL,
    attempt integer NOT NULL,
    status text NOT NULL DEFAULT 'running',
    input jsonb,
    output jsonb,
    error jsonb,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    CONSTRAINT phase_results_pkey PRIMARY KEY (run_id, id),
    CONSTRAINT phase_results_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT phase_results_run_id_phase_attempt_key UNIQUE (run_id, phase, attempt),
    CONSTRAINT phase_results_run_id_fkey FOREIGN KEY (run_id)
        REFERENCES runstore.runs (id) ON DELETE CASCADE,
    CONSTRAINT phase_results_id_check CHECK (runstore.run_of(id) = run_id),
    CONSTRAINT phase_results_phase_check CHECK (char_length(phase) BETWEEN 1 AND 255),
    CONSTRAINT phase_results_attempt_check CHECK (attempt >= 1),
    CONSTRAINT phase_results_status_check CHECK (status IN ('running', 'passed', 'failed')),
    CONSTRAINT phase_results_finished_at_check CHECK ((finished_at IS NOT NULL) = (status <> 'running'))
);
COMMENT ON TABLE runstore.phase_results IS 'One attempt at a phase. A passed or failed one never changes again.';
COMMENT ON COLUMN runstore.phase_results.id IS
    'UUIDv7 that carries its run; made by the client before its first attempt.';
COMMENT ON COLUMN runstore.phase_results.attempt IS 'From 1; unique within its run and phase.';
COMMENT ON COLUMN runstore.phase_results.status IS 'running; final: passed, failed.';
COMMENT ON COLUMN runstore.phase_results.input IS 'What the phase was given; NULL: nothing.';
COMMENT ON COLUMN runstore.phase_results.output IS 'What the phase gave; NULL: nothing.';
COMMENT ON COLUMN runstore.phase_results.error IS 'Why the attempt failed; NULL: nothing was said.';
COMMENT ON COLUMN runstore.phase_results.metadata IS 'A JSON object for what the application adds.';
