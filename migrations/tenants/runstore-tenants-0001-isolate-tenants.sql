-- Keep tenants apart by row-level security. A role that is held to it sees, changes and adds only rows
-- of the tenant that the setting runstore.tenant_id names in its transaction, and those of the tenant
-- default where it names none. Superusers, roles with BYPASSRLS and the tables' owner are not held to it.
--
-- Whose a row is says its tenant_id, or its run where the table has none. Whoever adds a row to a run has
-- to see the run as well, because foreign keys find the runs of every tenant. The run is looked up by a
-- subquery for one value: EXISTS may become a hash of all the tenant's runs, in a plan that stays.
--
-- FORCE ROW LEVEL SECURITY would hold the owner to it, too. Nobody logs in as the owner, and what works
-- as the owner has to reach every tenant: a migration that fills a column, and pg_dump.
--
-- depends: runstore-0013-create-run-holds

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '1min';

CREATE FUNCTION runstore.sees_run(wanted_run_id uuid) RETURNS boolean
LANGUAGE sql VOLATILE
RETURN EXISTS (SELECT FROM runstore.runs WHERE id = wanted_run_id);
COMMENT ON FUNCTION runstore.sees_run(uuid) IS
    'Whether the caller sees a run. Being volatile it finds one that the same statement has made, which a '
    'subquery of that statement does not.';

ALTER TABLE runstore.runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY runs_tenant_id_policy ON runstore.runs
USING (tenant_id = runstore.current_tenant_id());

ALTER TABLE runstore.sandboxes ENABLE ROW LEVEL SECURITY;
CREATE POLICY sandboxes_tenant_id_policy ON runstore.sandboxes
USING (tenant_id = runstore.current_tenant_id());
CREATE POLICY sandboxes_run_id_policy ON runstore.sandboxes AS RESTRICTIVE FOR INSERT
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = sandboxes.run_id));

ALTER TABLE runstore.snapshots ENABLE ROW LEVEL SECURITY;
CREATE POLICY snapshots_tenant_id_policy ON runstore.snapshots
USING (tenant_id = runstore.current_tenant_id());
CREATE POLICY snapshots_run_id_policy ON runstore.snapshots AS RESTRICTIVE FOR INSERT
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = snapshots.run_id));

ALTER TABLE runstore.phase_results ENABLE ROW LEVEL SECURITY;
CREATE POLICY phase_results_tenant_id_policy ON runstore.phase_results
USING (tenant_id = runstore.current_tenant_id());
CREATE POLICY phase_results_run_id_policy ON runstore.phase_results AS RESTRICTIVE FOR INSERT
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = phase_results.run_id));

ALTER TABLE runstore.agent_invocations ENABLE ROW LEVEL SECURITY;
CREATE POLICY agent_invocations_tenant_id_policy ON runstore.agent_invocations
USING (tenant_id = runstore.current_tenant_id());
CREATE POLICY agent_invocations_run_id_policy ON runstore.agent_invocations AS RESTRICTIVE FOR INSERT
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = agent_invocations.run_id));

ALTER TABLE runstore.agent_steps ENABLE ROW LEVEL SECURITY;
CREATE POLICY agent_steps_tenant_id_policy ON runstore.agent_steps
USING (tenant_id = runstore.current_tenant_id());
CREATE POLICY agent_steps_run_id_policy ON runstore.agent_steps AS RESTRICTIVE FOR INSERT
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = agent_steps.run_id));

ALTER TABLE runstore.tool_calls ENABLE ROW LEVEL SECURITY;
CREATE POLICY tool_calls_tenant_id_policy ON runstore.tool_calls
USING (tenant_id = runstore.current_tenant_id());
CREATE POLICY tool_calls_run_id_policy ON runstore.tool_calls AS RESTRICTIVE FOR INSERT
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = tool_calls.run_id));

ALTER TABLE runstore.memory_records ENABLE ROW LEVEL SECURITY;
CREATE POLICY memory_records_tenant_id_policy ON runstore.memory_records
USING (tenant_id = runstore.current_tenant_id());
CREATE POLICY memory_records_run_id_policy ON runstore.memory_records AS RESTRICTIVE FOR INSERT
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = memory_records.run_id));

ALTER TABLE runstore.cta_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY cta_events_tenant_id_policy ON runstore.cta_events
USING (tenant_id = runstore.current_tenant_id());
CREATE POLICY cta_events_run_id_policy ON runstore.cta_events AS RESTRICTIVE FOR INSERT
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = cta_events.run_id));

ALTER TABLE runstore.reports ENABLE ROW LEVEL SECURITY;
CREATE POLICY reports_tenant_id_policy ON runstore.reports
USING (tenant_id = runstore.current_tenant_id());
CREATE POLICY reports_run_id_policy ON runstore.reports AS RESTRICTIVE FOR INSERT
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = reports.run_id));

ALTER TABLE runstore.report_sections ENABLE ROW LEVEL SECURITY;
CREATE POLICY report_sections_tenant_id_policy ON runstore.report_sections
USING (tenant_id = runstore.current_tenant_id());
CREATE POLICY report_sections_run_id_policy ON runstore.report_sections AS RESTRICTIVE FOR INSERT
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = report_sections.run_id));

ALTER TABLE runstore.report_versions ENABLE ROW LEVEL SECURITY;
CREATE POLICY report_versions_tenant_id_policy ON runstore.report_versions
USING (tenant_id = runstore.current_tenant_id());
CREATE POLICY report_versions_run_id_policy ON runstore.report_versions AS RESTRICTIVE FOR INSERT
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = report_versions.run_id));

ALTER TABLE runstore.report_version_sections ENABLE ROW LEVEL SECURITY;
CREATE POLICY report_version_sections_tenant_id_policy ON runstore.report_version_sections
USING (tenant_id = runstore.current_tenant_id());
CREATE POLICY report_version_sections_run_id_policy ON runstore.report_version_sections AS RESTRICTIVE FOR INSERT
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = report_version_sections.run_id));

ALTER TABLE runstore.branch_reports ENABLE ROW LEVEL SECURITY;
CREATE POLICY branch_reports_tenant_id_policy ON runstore.branch_reports
USING (tenant_id = runstore.current_tenant_id());
CREATE POLICY branch_reports_run_id_policy ON runstore.branch_reports AS RESTRICTIVE FOR INSERT
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = branch_reports.run_id));

ALTER TABLE runstore.branch_sections ENABLE ROW LEVEL SECURITY;
CREATE POLICY branch_sections_tenant_id_policy ON runstore.branch_sections
USING (tenant_id = runstore.current_tenant_id());
CREATE POLICY branch_sections_run_id_policy ON runstore.branch_sections AS RESTRICTIVE FOR INSERT
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = branch_sections.run_id));

ALTER TABLE runstore.run_holds ENABLE ROW LEVEL SECURITY;
CREATE POLICY run_holds_tenant_id_policy ON runstore.run_holds
USING (tenant_id = runstore.current_tenant_id());
CREATE POLICY run_holds_run_id_policy ON runstore.run_holds AS RESTRICTIVE FOR INSERT
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = run_holds.run_id));

ALTER TABLE runstore.quotas ENABLE ROW LEVEL SECURITY;
CREATE POLICY quotas_tenant_id_policy ON runstore.quotas
USING (tenant_id = runstore.current_tenant_id());

ALTER TABLE runstore.usage_counters ENABLE ROW LEVEL SECURITY;
CREATE POLICY usage_counters_tenant_id_policy ON runstore.usage_counters
USING (tenant_id = runstore.current_tenant_id());

ALTER TABLE runstore.usage_reservations ENABLE ROW LEVEL SECURITY;
CREATE POLICY usage_reservations_tenant_id_policy ON runstore.usage_reservations
USING (tenant_id = runstore.current_tenant_id());

ALTER TABLE runstore.usage_logs ENABLE ROW LEVEL SECURITY;
CREATE POLICY usage_logs_tenant_id_policy ON runstore.usage_logs
USING (tenant_id = runstore.current_tenant_id());

ALTER TABLE runstore.run_heads ENABLE ROW LEVEL SECURITY;
CREATE POLICY run_heads_run_id_policy ON runstore.run_heads
USING ((SELECT true FROM runstore.runs WHERE runs.id = run_heads.run_id))
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = run_heads.run_id) OR runstore.sees_run(run_id));

ALTER TABLE runstore.run_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY run_events_run_id_policy ON runstore.run_events
USING ((SELECT true FROM runstore.runs WHERE runs.id = run_events.run_id))
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = run_events.run_id) OR runstore.sees_run(run_id));

ALTER TABLE runstore.run_segments ENABLE ROW LEVEL SECURITY;
CREATE POLICY run_segments_run_id_policy ON runstore.run_segments
USING ((SELECT true FROM runstore.runs WHERE runs.id = run_segments.run_id))
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = run_segments.run_id) OR runstore.sees_run(run_id));
CREATE POLICY run_segments_source_run_id_policy ON runstore.run_segments AS RESTRICTIVE FOR INSERT
WITH CHECK ((SELECT true FROM runstore.runs WHERE runs.id = run_segments.source_run_id));

ALTER TABLE runstore.prices ENABLE ROW LEVEL SECURITY;
CREATE POLICY prices_select_policy ON runstore.prices FOR SELECT
USING (true);
CREATE POLICY prices_insert_policy ON runstore.prices FOR INSERT
WITH CHECK (runstore.current_tenant_id() = 'default');
COMMENT ON POLICY prices_insert_policy ON runstore.prices IS
    'A price is every tenant''s, so it is the tenant default that sets it.';
