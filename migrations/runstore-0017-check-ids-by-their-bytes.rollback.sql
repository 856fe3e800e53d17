-- Check the ids by run_of() again. Every row is read, and meanwhile nobody else reads or writes.
--
-- squawk-ignore-file ban-drop-constraint, constraint-missing-not-valid

SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '10min';

ALTER TABLE runstore.runs
DROP CONSTRAINT runs_id_check,
ADD CONSTRAINT runs_id_check CHECK (runstore.run_of(id) = id);

ALTER TABLE runstore.phase_results
DROP CONSTRAINT phase_results_id_check,
ADD CONSTRAINT phase_results_id_check CHECK (runstore.run_of(id) = run_id);

ALTER TABLE runstore.agent_invocations
DROP CONSTRAINT agent_invocations_id_check,
ADD CONSTRAINT agent_invocations_id_check CHECK (runstore.run_of(id) = run_id);

ALTER TABLE runstore.agent_steps
DROP CONSTRAINT agent_steps_id_check,
ADD CONSTRAINT agent_steps_id_check CHECK (runstore.run_of(id) = run_id);

ALTER TABLE runstore.tool_calls
DROP CONSTRAINT tool_calls_id_check,
ADD CONSTRAINT tool_calls_id_check CHECK (runstore.run_of(id) = run_id);

ALTER TABLE runstore.memory_records
DROP CONSTRAINT memory_records_id_check,
ADD CONSTRAINT memory_records_id_check CHECK (runstore.run_of(id) = run_id);

ALTER TABLE runstore.cta_events
DROP CONSTRAINT cta_events_id_check,
ADD CONSTRAINT cta_events_id_check CHECK (runstore.run_of(id) = run_id);

ALTER TABLE runstore.reports
DROP CONSTRAINT reports_id_check,
ADD CONSTRAINT reports_id_check CHECK (runstore.run_of(id) = run_id);

ALTER TABLE runstore.report_sections
DROP CONSTRAINT report_sections_id_check,
ADD CONSTRAINT report_sections_id_check CHECK (runstore.run_of(id) = run_id);

ALTER TABLE runstore.branch_reports
DROP CONSTRAINT branch_reports_id_check,
ADD CONSTRAINT branch_reports_id_check CHECK (runstore.run_of(id) = run_id),
DROP CONSTRAINT branch_reports_report_id_check,
ADD CONSTRAINT branch_reports_report_id_check CHECK (runstore.run_of(report_id) <> run_id);

ALTER TABLE runstore.usage_reservations
DROP CONSTRAINT usage_reservations_run_id_check,
ADD CONSTRAINT usage_reservations_run_id_check CHECK (runstore.run_of(run_id) = run_id),
DROP CONSTRAINT usage_reservations_invocation_id_check,
ADD CONSTRAINT usage_reservations_invocation_id_check CHECK (
    invocation_id IS NULL OR (run_id IS NOT NULL AND runstore.run_of(invocation_id) = run_id)
),
DROP CONSTRAINT usage_reservations_tool_call_id_check,
ADD CONSTRAINT usage_reservations_tool_call_id_check CHECK (
    tool_call_id IS NULL OR (run_id IS NOT NULL AND runstore.run_of(tool_call_id) = run_id)
);

ALTER TABLE runstore.usage_logs
DROP CONSTRAINT usage_logs_run_id_check,
ADD CONSTRAINT usage_logs_run_id_check CHECK (runstore.run_of(run_id) = run_id),
DROP CONSTRAINT usage_logs_invocation_id_check,
ADD CONSTRAINT usage_logs_invocation_id_check CHECK (
    invocation_id IS NULL OR (run_id IS NOT NULL AND runstore.run_of(invocation_id) = run_id)
),
DROP CONSTRAINT usage_logs_tool_call_id_check,
ADD CONSTRAINT usage_logs_tool_call_id_check CHECK (
    tool_call_id IS NULL OR (run_id IS NOT NULL AND runstore.run_of(tool_call_id) = run_id)
);
