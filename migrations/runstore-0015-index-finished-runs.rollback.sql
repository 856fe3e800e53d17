-- Drop the index of finished runs.

DROP INDEX CONCURRENTLY IF EXISTS runstore.runs_tenant_id_finished_at_id_idx;
