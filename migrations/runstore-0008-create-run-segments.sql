-- Create the segments of forked runs: which stretches of whose log come before a fork's
-- own events. A fork refers to them and copies nothing; forks of forks have the segments
-- of their whole line, so that no read walks up a tree.
--
-- depends: runstore-0007-create-cta-events

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE TABLE runstore.run_segments (
    run_id uuid NOT NULL,
    source_run_id uuid NOT NULL,
    from_seq bigint NOT NULL,
    to_seq bigint NOT NULL,
    CONSTRAINT run_segments_pkey PRIMARY KEY (run_id, from_seq),
    CONSTRAINT run_segments_run_id_fkey FOREIGN KEY (run_id)
        REFERENCES runstore.runs (id) ON DELETE CASCADE,
    CONSTRAINT run_segments_source_run_id_fkey FOREIGN KEY (source_run_id)
        REFERENCES runstore.runs (id) ON DELETE RESTRICT,
    CONSTRAINT run_segments_from_seq_check CHECK (from_seq >= 1),
    CONSTRAINT run_segments_to_seq_check CHECK (to_seq >= from_seq)
);
CREATE INDEX run_segments_source_run_id_idx ON runstore.run_segments (source_run_id);
COMMENT ON TABLE runstore.run_segments IS
    'A stretch of another run''s log that a fork reads before its own events. The other run cannot be deleted '
    'while it is needed.';
COMMENT ON COLUMN runstore.run_segments.run_id IS 'The fork.';
COMMENT ON COLUMN runstore.run_segments.source_run_id IS 'The run in whose log the events are.';
COMMENT ON COLUMN runstore.run_segments.from_seq IS 'The first event of the stretch; events keep their numbers.';
COMMENT ON COLUMN runstore.run_segments.to_seq IS 'The last event of the stretch, inclusive.';
