-- Check the ids by functions of the server alone. A CHECK is read and planned anew by each INSERT, and one
-- that calls run_of() with the function's body in its place. What is demanded stays, and so do the names:
-- an id with its last 48 bits set to zero is its run, and a run's own last 48 bits are zero.
--
-- Each constraint is exchanged for its like, which holds new rows to it from the same moment on. The one
-- that goes has held the old rows to it, so none is read here. The next migration reads them, without a
-- lock that stops writes.
--
-- The tables are locked at once, or not at all, in less than deadlock_timeout: where a transaction holds
-- some of them and wants others, this file gives way. Deploy again then.
--
-- depends: runstore-0016-index-answered-questions
--
-- squawk-ignore-file ban-drop-constraint
-- The linter takes PLACING for a type.
-- noqa: disable=CP05

SET LOCAL lock_timeout = '500ms';
SET LOCAL statement_timeout = '800ms';

LOCK TABLE runstore.runs, runstore.phase_results, runstore.agent_invocations, runstore.agent_steps,
runstore.tool_calls, runstore.memory_records, runstore.cta_events, runstore.reports, runstore.report_sections,
runstore.branch_reports, runstore.usage_reservations, runstore.usage_logs IN ACCESS EXCLUSIVE MODE;

ALTER TABLE runstore.runs
DROP CONSTRAINT runs_id_check,
ADD CONSTRAINT runs_id_check CHECK (substring(uuid_send(id) FROM 11) = '\x000000000000') NOT VALID;

ALTER TABLE runstore.phase_results
DROP CONSTRAINT phase_results_id_check,
ADD CONSTRAINT phase_results_id_check CHECK (
    overlay(uuid_send(id) PLACING '\x000000000000' FROM 11) = uuid_send(run_id)
) NOT VALID;

ALTER TABLE runstore.agent_invocations
DROP CONSTRAINT agent_invocations_id_check,
ADD CONSTRAINT agent_invocations_id_check CHECK (
    overlay(uuid_send(id) PLACING '\x000000000000' FROM 11) = uuid_send(run_id)
) NOT VALID;

ALTER TABLE runstore.agent_steps
DROP CONSTRAINT agent_steps_id_check,
ADD CONSTRAINT agent_steps_id_check CHECK (
    overlay(uuid_send(id) PLACING '\x000000000000' FROM 11) = uuid_send(run_id)
) NOT VALID;

ALTER TABLE runstore.tool_calls
DROP CONSTRAINT tool_calls_id_check,
ADD CONSTRAINT tool_calls_id_check CHECK (
    overlay(uuid_send(id) PLACING '\x000000000000' FROM 11) = uuid_send(run_id)
) NOT VALID;

ALTER TABLE runstore.memory_records
DROP CONSTRAINT memory_records_id_check,
ADD CONSTRAINT memory_records_id_check CHECK (
    overlay(uuid_send(id) PLACING '\x000000000000' FROM 11) = uuid_send(run_id)
) NOT VALID;

ALTER TABLE runstore.cta_events
DROP CONSTRAINT cta_events_id_check,
ADD CONSTRAINT cta_events_id_check CHECK (
    overlay(uuid_send(id) PLACING '\x000000000000' FROM 11) = uuid_send(run_id)
) NOT VALID;

ALTER TABLE runstore.reports
DROP CONSTRAINT reports_id_check,
ADD CONSTRAINT reports_id_check CHECK (
    overlay(uuid_send(id) PLACING '\x000000000000' FROM 11) = uuid_send(run_id)
) NOT VALID;

ALTER TABLE runstore.report_sections
DROP CONSTRAINT report_sections_id_check,
ADD CONSTRAINT report_sections_id_check CHECK (
    overlay(uuid_send(id) PLACING '\x000000000000' FROM 11) = uuid_send(run_id)
) NOT VALID;

ALTER TABLE runstore.branch_reports
DROP CONSTRAINT branch_reports_id_check,
ADD CONSTRAINT branch_reports_id_check CHECK (
    overlay(uuid_send(id) PLACING '\x000000000000' FROM 11) = uuid_send(run_id)
) NOT VALID,
DROP CONSTRAINT branch_reports_report_id_check,
ADD CONSTRAINT branch_reports_report_id_check CHECK (
    overlay(uuid_send(report_id) PLACING '\x000000000000' FROM 11) <> uuid_send(run_id)
) NOT VALID;

ALTER TABLE runstore.usage_reservations
DROP CONSTRAINT usage_reservations_run_id_check,
ADD CONSTRAINT usage_reservations_run_id_check CHECK (
    substring(uuid_send(run_id) FROM 11) = '\x000000000000'
) NOT VALID,
DROP CONSTRAINT usage_reservations_invocation_id_check,
ADD CONSTRAINT usage_reservations_invocation_id_check CHECK (
    invocation_id IS NULL
    OR (
        run_id IS NOT NULL
        AND overlay(uuid_send(invocation_id) PLACING '\x000000000000' FROM 11) = uuid_send(run_id)
    )
) NOT VALID,
DROP CONSTRAINT usage_reservations_tool_call_id_check,
ADD CONSTRAINT usage_reservations_tool_call_id_check CHECK (
    tool_call_id IS NULL
    OR (
        run_id IS NOT NULL
        AND overlay(uuid_send(tool_call_id) PLACING '\x000000000000' FROM 11) = uuid_send(run_id)
    )
) NOT VALID;

ALTER TABLE runstore.usage_logs
DROP CONSTRAINT usage_logs_run_id_check,
ADD CONSTRAINT usage_logs_run_id_check CHECK (substring(uuid_send(run_id) FROM 11) = '\x000000000000') NOT VALID,
DROP CONSTRAINT usage_logs_invocation_id_check,
ADD CONSTRAINT usage_logs_invocation_id_check CHECK (
    invocation_id IS NULL
    OR (
        run_id IS NOT NULL
        AND overlay(uuid_send(invocation_id) PLACING '\x000000000000' FROM 11) = uuid_send(run_id)
    )
) NOT VALID,
DROP CONSTRAINT usage_logs_tool_call_id_check,
ADD CONSTRAINT usage_logs_tool_call_id_check CHECK (
    tool_call_id IS NULL
    OR (
        run_id IS NOT NULL
        AND overlay(uuid_send(tool_call_id) PLACING '\x000000000000' FROM 11) = uuid_send(run_id)
    )
) NOT VALID;
