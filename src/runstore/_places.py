"""Where each public name is defined: the package imports a module when a name of it is used.

A program that starts pays for the modules that it uses, and for pydantic with its first model. The
names stand in `__init__.py` once more, where type checkers and editors look for them.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_NAMES: Final = {
    "_models": """
        Created Finished Page
    """,
    "agent_invocations": """
        AgentInvocation InvocationOutcome NewAgentInvocation complete_agent_invocation
        create_agent_invocation get_agent_invocation list_agent_invocations
    """,
    "agent_steps": """
        AgentStep NewAgentStep create_agent_step create_agent_steps finish_agent_step
        get_agent_step list_agent_steps
    """,
    "branch_reports": """
        BranchDocument BranchReport BranchSection NewBranchReport SectionConflict
        create_branch_report discard_branch_report get_branch_report list_branch_reports
        merge_branch_report
    """,
    "branch_sections": """
        BranchSectionState put_branch_section remove_branch_section revert_branch_section
    """,
    "connections": """
        connect connect_async open_pool open_pool_async transaction
    """,
    "cta_events": """
        CtaEvent NewCtaEvent cancel_cta_event complete_cta_event create_cta_event
        expire_cta_events get_cta_event list_cta_events timeout_cta_event
    """,
    "errors": """
        Conflict EventsPurged InvalidPayload InvalidTransition MergeConflict NotFound
        QuotaExceeded RunstoreError StaleWrite TransactionAborted
    """,
    "event_writers": """
        AsyncioEventWriter BlockingEventWriter EventWriter
    """,
    "feature_runs": """
        NewFeatureRun advance_feature_run complete_feature_run create_feature_run
        fail_feature_run update_feature_run_phase
    """,
    "ids": """
        new_child_id new_run_id run_of
    """,
    "memory_records": """
        MemoryRecord NewMemoryRecord create_memory_record get_memory_record
        get_memory_records
    """,
    "payloads": """
        payload_rules set_payload_rules
    """,
    "phase_results": """
        NewPhaseResult PhaseResult create_phase_result fail_phase_result get_phase_result
        get_phase_results pass_phase_result
    """,
    "pipelines": """
        AsyncPipeline Pipeline Reply pipeline
    """,
    "prices": """
        NewPrice Price get_price list_prices price_usage set_price
    """,
    "quota_gates": """
        QuotaGate
    """,
    "quotas": """
        NewQuota Quota list_quotas remove_quota set_quota
    """,
    "report_sections": """
        SectionDraft SectionState list_report_sections order_report_sections
        put_report_section remove_report_section
    """,
    "report_versions": """
        PublishedReport PublishedSection ReportVersion get_published_report
        list_report_versions
    """,
    "reports": """
        NewReport Report ReportDocument ReportSection ReportState archive_report
        create_report get_report list_reports publish_report revise_report update_report
    """,
    "retries": """
        Retry is_retryable run_transaction
    """,
    "run_events": """
        EventPage LogAudit NewRunEvent RunEvent RunHead append_run_events get_run_head
        read_run_events verify_run_events
    """,
    "run_exports": """
        iter_run_export
    """,
    "run_forks": """
        NewRunFork fork_run list_forks
    """,
    "run_holds": """
        RunHold hold_run list_run_holds release_run_hold
    """,
    "run_imports": """
        import_run_events
    """,
    "run_ingests": """
        ingest_run_events
    """,
    "run_listeners": """
        RunListener listen_run_events
    """,
    "run_notifiers": """
        RunNotifier notify_run_events
    """,
    "run_purges": """
        RunPurge purge_run_events purge_runs
    """,
    "run_restores": """
        RestoredRun restore_run
    """,
    "run_states": """
        Heartbeat RunState StalledRun cancel_run complete_run fail_run heartbeat_run
        list_stalled_runs request_cancel start_run
    """,
    "run_tails": """
        iter_run_events tail_run_events
    """,
    "run_trees": """
        InvocationNode PhaseNode RunTree SandboxNode get_run_tree
    """,
    "runs": """
        DeletedRun FoundRun NewChatRun Run create_run delete_run find_runs_between get_run
        list_runs
    """,
    "sandboxes": """
        NewSandbox Sandbox create_sandbox_record get_sandbox update_sandbox_status
    """,
    "schema": """
        SchemaCheck check_schema
    """,
    "snapshots": """
        NewSnapshot Snapshot create_snapshot_record get_snapshot list_snapshots
    """,
    "sse": """
        format_sse
    """,
    "subject_erasures": """
        ErasedRows SubjectErasure erase_subject
    """,
    "tenants": """
        set_tenant
    """,
    "tool_calls": """
        AbandonedToolCall NewToolCall ToolCall close_open_tool_calls create_tool_call
        create_tool_calls finish_tool_call get_tool_call list_abandoned_tool_calls
        list_open_tool_calls list_tool_calls
    """,
    "usage_counters": """
        CounterAudit QuotaUsage get_usage rebuild_usage_counters verify_usage
    """,
    "usage_logs": """
        NewUsage UsageLog UsageSummary list_usage_logs record_usage summarize_usage
    """,
    "usage_purges": """
        UsagePurge purge_usage
    """,
    "usage_reservations": """
        NewReservation Reservation get_reservation renew_reservation reserve_usage
    """,
    "usage_settlements": """
        expire_reservations release_usage settle_usage
    """,
}

PLACES: Final = {name: module for module, names in _NAMES.items() for name in names.split()}
_MODULES: Final = {module for module in _NAMES if not module.startswith("_")}

NAMES: Final = frozenset(PLACES) | _MODULES
"""What the package has: its public names, and the modules that define them."""


def find(package: str, name: str) -> Any:
    """Return what a public name stands for, or the module of that name. Or `AttributeError`."""
    if name in PLACES:
        return getattr(import_module(f"{package}.{PLACES[name]}"), name)
    if name in _MODULES:
        return import_module(f"{package}.{name}")
    raise AttributeError(f"module {package!r} has no attribute {name!r}")
