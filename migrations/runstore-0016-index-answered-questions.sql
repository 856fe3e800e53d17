-- transactional: false
-- Index the calls to action by who answered them, to erase a person's name from them.
--
-- depends: runstore-0015-index-finished-runs

DROP INDEX CONCURRENTLY IF EXISTS runstore.cta_events_tenant_id_resolved_by_run_id_id_idx;
CREATE INDEX CONCURRENTLY cta_events_tenant_id_resolved_by_run_id_id_idx
ON runstore.cta_events (tenant_id, resolved_by, run_id, id)
WHERE resolved_by IS NOT NULL;
