-- Drop the index of answered calls to action.

DROP INDEX CONCURRENTLY IF EXISTS runstore.cta_events_tenant_id_resolved_by_run_id_id_idx;
