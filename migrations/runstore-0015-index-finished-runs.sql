-- transactional: false
-- Index the finished runs of a tenant by when they finished, to purge the oldest first. Whether a
-- log was purged is in the index, so that runs of which only the record is left are passed over
-- without reading them.
--
-- depends: runstore-0014-keep-run-of-parsed

DROP INDEX CONCURRENTLY IF EXISTS runstore.runs_tenant_id_finished_at_id_idx;
CREATE INDEX CONCURRENTLY runs_tenant_id_finished_at_id_idx
ON runstore.runs (tenant_id, finished_at, id)
INCLUDE (events_purged_at)
WHERE finished_at IS NOT NULL;
