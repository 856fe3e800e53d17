-- transactional: false
-- Index the ended reservations of a tenant by when they ended, to purge the oldest first.
--
-- depends: runstore-0018-validate-id-checks

DROP INDEX CONCURRENTLY IF EXISTS runstore.usage_reservations_tenant_id_finished_at_id_idx;
CREATE INDEX CONCURRENTLY usage_reservations_tenant_id_finished_at_id_idx
ON runstore.usage_reservations (tenant_id, finished_at, id)
WHERE finished_at IS NOT NULL;
