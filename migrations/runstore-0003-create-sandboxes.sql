-- Create the sandboxes of a run and their snapshots. Both are known by the id that
-- their provider gave them; a machine that several runs share has a row for each.
--
-- depends: runstore-0002-create-runs

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE TABLE runstore.sandboxes (
    run_id uuid NOT NULL,
    id text NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    provider text,
    template text,
    status text NOT NULL DEFAULT 'creating',
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    terminated_at timestamptz,
    CONSTRAINT sandboxes_pkey PRIMARY KEY (run_id, id),
    CONSTRAINT sandboxes_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT sandboxes_run_id_fkey FOREIGN KEY (run_id)
        REFERENCES runstore.runs (id) ON DELETE CASCADE,
    CONSTRAINT sandboxes_id_check CHECK (char_length(id) BETWEEN 1 AND 255),
    CONSTRAINT sandboxes_provider_check CHECK (char_length(provider) BETWEEN 1 AND 255),
    CONSTRAINT sandboxes_template_check CHECK (char_length(template) BETWEEN 1 AND 255),
    CONSTRAINT sandboxes_status_check CHECK (
        status IN ('creating', 'running', 'paused', 'stopped', 'failed')
    ),
    CONSTRAINT sandboxes_terminated_at_check CHECK (
        (terminated_at IS NOT NULL) = (status IN ('stopped', 'failed'))
    )
);
CREATE INDEX sandboxes_id_idx ON runstore.sandboxes (id);
COMMENT ON TABLE runstore.sandboxes IS
    'An isolated machine in which a run works. A stopped or failed one never changes again.';
COMMENT ON COLUMN runstore.sandboxes.id IS
    'The provider''s id; the same machine has one row for each run that uses it.';
COMMENT ON COLUMN runstore.sandboxes.provider IS 'Who runs the machine.';
COMMENT ON COLUMN runstore.sandboxes.template IS 'The image or template that the machine was made from.';
COMMENT ON COLUMN runstore.sandboxes.status IS 'creating, running, paused; final: stopped, failed.';
COMMENT ON COLUMN runstore.sandboxes.metadata IS 'A JSON object for what the application adds.';

CREATE TABLE runstore.snapshots (
    run_id uuid NOT NULL,
    id text NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    sandbox_id text NOT NULL,
    phase text,
    parent_snapshot_id text,
    size_bytes bigint,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT snapshots_pkey PRIMARY KEY (run_id, id),
    CONSTRAINT snapshots_metadata_check CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT snapshots_run_id_sandbox_id_fkey FOREIGN KEY (run_id, sandbox_id)
        REFERENCES runstore.sandboxes (run_id, id) ON DELETE CASCADE,
    CONSTRAINT snapshots_run_id_parent_snapshot_id_fkey FOREIGN KEY (run_id, parent_snapshot_id)
        REFERENCES runstore.snapshots (run_id, id) ON DELETE CASCADE,
    CONSTRAINT snapshots_id_check CHECK (char_length(id) BETWEEN 1 AND 255),
    CONSTRAINT snapshots_phase_check CHECK (char_length(phase) BETWEEN 1 AND 255),
    CONSTRAINT snapshots_parent_snapshot_id_check CHECK (parent_snapshot_id <> id),
    CONSTRAINT snapshots_size_bytes_check CHECK (size_bytes >= 0)
);
CREATE INDEX snapshots_run_id_sandbox_id_idx ON runstore.snapshots (run_id, sandbox_id);
CREATE INDEX snapshots_run_id_parent_snapshot_id_idx ON runstore.snapshots (run_id, parent_snapshot_id)
WHERE parent_snapshot_id IS NOT NULL;
COMMENT ON TABLE runstore.snapshots IS 'A saved state of a sandbox.';
COMMENT ON COLUMN runstore.snapshots.id IS 'The provider''s id of the saved state.';
COMMENT ON COLUMN runstore.snapshots.phase IS 'The phase at whose end, or within which, it was taken.';
COMMENT ON COLUMN runstore.snapshots.parent_snapshot_id IS 'The snapshot of the same run on which this one builds.';
COMMENT ON COLUMN runstore.snapshots.size_bytes IS 'Its size in bytes; NULL: not reported.';
COMMENT ON COLUMN runstore.snapshots.metadata IS 'A JSON object for what the application adds.';
