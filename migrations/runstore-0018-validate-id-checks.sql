-- Validate the checks of ids, which reads each table while others write. The old rows keep them: the
-- constraints that these took the place of demanded the same.
--
-- depends: runstore-0017-check-ids-by-their-bytes

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '10min';

ALTER TABLE runstore.runs VALIDATE CONSTRAINT runs_id_check;
ALTER TABLE runstore.phase_results VALIDATE CONSTRAINT phase_results_id_check;
ALTER TABLE runstore.agent_invocations VALIDATE CONSTRAINT agent_invocations_id_check;
ALTER TABLE runstore.agent_steps VALIDATE CONSTRAINT agent_steps_id_check;
ALTER TABLE runstore.tool_calls VALIDATE CONSTRAINT tool_calls_id_check;
ALTER TABLE runstore.memory_records VALIDATE CONSTRAINT memory_records_id_check;
ALTER TABLE runstore.cta_events VALIDATE CONSTRAINT cta_events_id_check;
ALTER TABLE runstore.reports VALIDATE CONSTRAINT reports_id_check;
ALTER TABLE runstore.report_sections VALIDATE CONSTRAINT report_sections_id_check;

ALTER TABLE runstore.branch_reports
VALIDATE CONSTRAINT branch_reports_id_check,
VALIDATE CONSTRAINT branch_reports_report_id_check;

ALTER TABLE runstore.usage_reservations
VALIDATE CONSTRAINT usage_reservations_run_id_check,
VALIDATE CONSTRAINT usage_reservations_invocation_id_check,
VALIDATE CONSTRAINT usage_reservations_tool_call_id_check;

ALTER TABLE runstore.usage_logs
VALIDATE CONSTRAINT usage_logs_run_id_check,
VALIDATE CONSTRAINT usage_logs_invocation_id_check,
VALIDATE CONSTRAINT usage_logs_tool_call_id_check;
