-- Drop the index of ended reservations.

DROP INDEX CONCURRENTLY IF EXISTS runstore.usage_reservations_tenant_id_finished_at_id_idx;
