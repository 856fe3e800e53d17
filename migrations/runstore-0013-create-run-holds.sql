-- Create the holds that keep runs from being deleted, and note on a run what was purged of its
-- log. A hold is a row that refers to its run, so that no delete gets past it, whoever sends it.
-- What was purged stands on the run itself: whoever forks it locks that row, and so learns of it.
--
-- depends: runstore-0012-create-prices

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE TABLE runstore.run_holds (
    run_id uuid NOT NULL,
    reason text NOT NULL,
    tenant_id text NOT NULL DEFAULT runstore.current_tenant_id(),
    held_by text,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT run_holds_pkey PRIMARY KEY (run_id, reason),
    CONSTRAINT run_holds_run_id_fkey FOREIGN KEY (run_id)
        REFERENCES runstore.runs (id) ON DELETE RESTRICT,
    CONSTRAINT run_holds_reason_check CHECK (char_length(reason) BETWEEN 1 AND 255),
    CONSTRAINT run_holds_held_by_check CHECK (char_length(held_by) BETWEEN 1 AND 255)
);
CREATE INDEX run_holds_tenant_id_run_id_reason_idx ON runstore.run_holds (tenant_id, run_id, reason);
COMMENT ON TABLE runstore.run_holds IS
    'A reason to keep a run: while it has one, the run is not deleted and nothing of it is purged or erased.';
COMMENT ON COLUMN runstore.run_holds.reason IS 'Why the run is kept; each reason is released by itself.';
COMMENT ON COLUMN runstore.run_holds.held_by IS 'Who wants it kept; the application chooses.';
COMMENT ON COLUMN runstore.run_holds.expires_at IS 'From when on the hold keeps nothing; NULL: until it is released.';

ALTER TABLE runstore.runs ADD COLUMN purged_seq bigint;
ALTER TABLE runstore.runs ADD COLUMN events_purged_at timestamptz;
COMMENT ON COLUMN runstore.runs.purged_seq IS
    'The run''s own events up to this number are gone, but for those that a fork reads; NULL: none is.';
COMMENT ON COLUMN runstore.runs.events_purged_at IS
    'When the last of the run''s events was purged; NULL: the log is whole, or its purge is under way.';

COMMENT ON TABLE runstore.run_events IS
    'One event of a run. Append-only: rows are neither changed nor deleted, before a purge or an erasure does.';
COMMENT ON TABLE runstore.usage_logs IS
    'What a subject used of one meter. Rows are never changed, but for the subject and the metadata of one that is '
    'erased; a correction is a row with a negative amount. What was not reported has no row, and is not 0.';
