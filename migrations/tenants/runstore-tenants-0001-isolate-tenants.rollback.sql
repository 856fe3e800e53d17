-- Keep tenants apart no longer: who may read a table sees the rows of every tenant.

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

DROP POLICY prices_insert_policy ON runstore.prices;
DROP POLICY prices_select_policy ON runstore.prices;
ALTER TABLE runstore.prices DISABLE ROW LEVEL SECURITY;

DROP POLICY run_segments_source_run_id_policy ON runstore.run_segments;
DROP POLICY run_segments_run_id_policy ON runstore.run_segments;
ALTER TABLE runstore.run_segments DISABLE ROW LEVEL SECURITY;

DROP POLICY run_events_run_id_policy ON runstore.run_events;
ALTER TABLE runstore.run_events DISABLE ROW LEVEL SECURITY;

DROP POLICY run_heads_run_id_policy ON runstore.run_heads;
ALTER TABLE runstore.run_heads DISABLE ROW LEVEL SECURITY;

DROP POLICY usage_logs_tenant_id_policy ON runstore.usage_logs;
ALTER TABLE runstore.usage_logs DISABLE ROW LEVEL SECURITY;

DROP POLICY usage_reservations_tenant_id_policy ON runstore.usage_reservations;
ALTER TABLE runstore.usage_reservations DISABLE ROW LEVEL SECURITY;

DROP POLICY usage_counters_tenant_id_policy ON runstore.usage_counters;
ALTER TABLE runstore.usage_counters DISABLE ROW LEVEL SECURITY;

DROP POLICY quotas_tenant_id_policy ON runstore.quotas;
ALTER TABLE runstore.quotas DISABLE ROW LEVEL SECURITY;

DROP POLICY run_holds_run_id_policy ON runstore.run_holds;
DROP POLICY run_holds_tenant_id_policy ON runstore.run_holds;
ALTER TABLE runstore.run_holds DISABLE ROW LEVEL SECURITY;

DROP POLICY branch_sections_run_id_policy ON runstore.branch_sections;
DROP POLICY branch_sections_tenant_id_policy ON runstore.branch_sections;
ALTER TABLE runstore.branch_sections DISABLE ROW LEVEL SECURITY;

DROP POLICY branch_reports_run_id_policy ON runstore.branch_reports;
DROP POLICY branch_reports_tenant_id_policy ON runstore.branch_reports;
ALTER TABLE runstore.branch_reports DISABLE ROW LEVEL SECURITY;

DROP POLICY report_version_sections_run_id_policy ON runstore.report_version_sections;
DROP POLICY report_version_sections_tenant_id_policy ON runstore.report_version_sections;
ALTER TABLE runstore.report_version_sections DISABLE ROW LEVEL SECURITY;

DROP POLICY report_versions_run_id_policy ON runstore.report_versions;
DROP POLICY report_versions_tenant_id_policy ON runstore.report_versions;
ALTER TABLE runstore.report_versions DISABLE ROW LEVEL SECURITY;

DROP POLICY report_sections_run_id_policy ON runstore.report_sections;
DROP POLICY report_sections_tenant_id_policy ON runstore.report_sections;
ALTER TABLE runstore.report_sections DISABLE ROW LEVEL SECURITY;

DROP POLICY reports_run_id_policy ON runstore.reports;
DROP POLICY reports_tenant_id_policy ON runstore.reports;
ALTER TABLE runstore.reports DISABLE ROW LEVEL SECURITY;

DROP POLICY cta_events_run_id_policy ON runstore.cta_events;
DROP POLICY cta_events_tenant_id_policy ON runstore.cta_events;
ALTER TABLE runstore.cta_events DISABLE ROW LEVEL SECURITY;

DROP POLICY memory_records_run_id_policy ON runstore.memory_records;
DROP POLICY memory_records_tenant_id_policy ON runstore.memory_records;
ALTER TABLE runstore.memory_records DISABLE ROW LEVEL SECURITY;

DROP POLICY tool_calls_run_id_policy ON runstore.tool_calls;
DROP POLICY tool_calls_tenant_id_policy ON runstore.tool_calls;
ALTER TABLE runstore.tool_calls DISABLE ROW LEVEL SECURITY;

DROP POLICY agent_steps_run_id_policy ON runstore.agent_steps;
DROP POLICY agent_steps_tenant_id_policy ON runstore.agent_steps;
ALTER TABLE runstore.agent_steps DISABLE ROW LEVEL SECURITY;

DROP POLICY agent_invocations_run_id_policy ON runstore.agent_invocations;
DROP POLICY agent_invocations_tenant_id_policy ON runstore.agent_invocations;
ALTER TABLE runstore.agent_invocations DISABLE ROW LEVEL SECURITY;

DROP POLICY phase_results_run_id_policy ON runstore.phase_results;
DROP POLICY phase_results_tenant_id_policy ON runstore.phase_results;
ALTER TABLE runstore.phase_results DISABLE ROW LEVEL SECURITY;

DROP POLICY snapshots_run_id_policy ON runstore.snapshots;
DROP POLICY snapshots_tenant_id_policy ON runstore.snapshots;
ALTER TABLE runstore.snapshots DISABLE ROW LEVEL SECURITY;

DROP POLICY sandboxes_run_id_policy ON runstore.sandboxes;
DROP POLICY sandboxes_tenant_id_policy ON runstore.sandboxes;
ALTER TABLE runstore.sandboxes DISABLE ROW LEVEL SECURITY;

DROP POLICY runs_tenant_id_policy ON runstore.runs;
ALTER TABLE runstore.runs DISABLE ROW LEVEL SECURITY;

DROP FUNCTION runstore.sees_run(uuid);
