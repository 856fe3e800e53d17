"""The durable record of AI-agent work in plain PostgreSQL."""

from ._places import NAMES, find

# As `typing` has it, whose own import would take several times as long as all of this.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from ._models import (
        Created,
        Finished,
        Page,
    )
    from .agent_invocations import (
        AgentInvocation,
        InvocationOutcome,
        NewAgentInvocation,
        complete_agent_invocation,
        create_agent_invocation,
        get_agent_invocation,
        list_agent_invocations,
    )
    from .agent_steps import (
        AgentStep,
        NewAgentStep,
        create_agent_step,
        create_agent_steps,
        finish_agent_step,
        get_agent_step,
        list_agent_steps,
    )
    from .branch_reports import (
        BranchDocument,
        BranchReport,
        BranchSection,
        NewBranchReport,
        SectionConflict,
        create_branch_report,
        discard_branch_report,
        get_branch_report,
        list_branch_reports,
        merge_branch_report,
    )
    from .branch_sections import (
        BranchSectionState,
        put_branch_section,
        remove_branch_section,
        revert_branch_section,
    )
    from .connections import (
        connect,
        connect_async,
        open_pool,
        open_pool_async,
        transaction,
    )
    from .cta_events import (
        CtaEvent,
        NewCtaEvent,
        cancel_cta_event,
        complete_cta_event,
        create_cta_event,
        expire_cta_events,
        get_cta_event,
        list_cta_events,
        timeout_cta_event,
    )
    from .errors import (
        Conflict,
        EventsPurged,
        InvalidPayload,
        InvalidTransition,
        MergeConflict,
        NotFound,
        QuotaExceeded,
        RunstoreError,
        StaleWrite,
        TransactionAborted,
    )
    from .event_writers import (
        AsyncioEventWriter,
        BlockingEventWriter,
        EventWriter,
    )
    from .feature_runs import (
        NewFeatureRun,
        advance_feature_run,
        complete_feature_run,
        create_feature_run,
        fail_feature_run,
        update_feature_run_phase,
    )
    from .ids import (
        new_child_id,
        new_run_id,
        run_of,
    )
    from .memory_records import (
        MemoryRecord,
        NewMemoryRecord,
        create_memory_record,
        get_memory_record,
        get_memory_records,
    )
    from .payloads import (
        payload_rules,
        set_payload_rules,
    )
    from .phase_results import (
        NewPhaseResult,
        PhaseResult,
        create_phase_result,
        fail_phase_result,
        get_phase_result,
        get_phase_results,
        pass_phase_result,
    )
    from .pipelines import (
        AsyncPipeline,
        Pipeline,
        Reply,
        pipeline,
    )
    from .prices import (
        NewPrice,
        Price,
        get_price,
        list_prices,
        price_usage,
        set_price,
    )
    from .quota_gates import (
        QuotaGate,
    )
    from .quotas import (
        NewQuota,
        Quota,
        list_quotas,
        remove_quota,
        set_quota,
    )
    from .report_sections import (
        SectionDraft,
        SectionState,
        list_report_sections,
        order_report_sections,
        put_report_section,
        remove_report_section,
    )
    from .report_versions import (
        PublishedReport,
        PublishedSection,
        ReportVersion,
        get_published_report,
        list_report_versions,
    )
    from .reports import (
        NewReport,
        Report,
        ReportDocument,
        ReportSection,
        ReportState,
        archive_report,
        create_report,
        get_report,
        list_reports,
        publish_report,
        revise_report,
        update_report,
    )
    from .retries import (
        Retry,
        is_retryable,
        run_transaction,
    )
    from .run_events import (
        EventPage,
        LogAudit,
        NewRunEvent,
        RunEvent,
        RunHead,
        append_run_events,
        get_run_head,
        read_run_events,
        verify_run_events,
    )
    from .run_exports import (
        iter_run_export,
    )
    from .run_forks import (
        NewRunFork,
        fork_run,
        list_forks,
    )
    from .run_holds import (
        RunHold,
        hold_run,
        list_run_holds,
        release_run_hold,
    )
    from .run_imports import (
        import_run_events,
    )
    from .run_ingests import (
        ingest_run_events,
    )
    from .run_listeners import (
        RunListener,
        listen_run_events,
    )
    from .run_notifiers import (
        RunNotifier,
        notify_run_events,
    )
    from .run_purges import (
        RunPurge,
        purge_run_events,
        purge_runs,
    )
    from .run_restores import (
        RestoredRun,
        restore_run,
    )
    from .run_states import (
        Heartbeat,
        RunState,
        StalledRun,
        cancel_run,
        complete_run,
        fail_run,
        heartbeat_run,
        list_stalled_runs,
        request_cancel,
        start_run,
    )
    from .run_tails import (
        iter_run_events,
        tail_run_events,
    )
    from .run_trees import (
        InvocationNode,
        PhaseNode,
        RunTree,
        SandboxNode,
        get_run_tree,
    )
    from .runs import (
        DeletedRun,
        FoundRun,
        NewChatRun,
        Run,
        create_run,
        delete_run,
        find_runs_between,
        get_run,
        list_runs,
    )
    from .sandboxes import (
        NewSandbox,
        Sandbox,
        create_sandbox_record,
        get_sandbox,
        update_sandbox_status,
    )
    from .schema import (
        SchemaCheck,
        check_schema,
    )
    from .snapshots import (
        NewSnapshot,
        Snapshot,
        create_snapshot_record,
        get_snapshot,
        list_snapshots,
    )
    from .sse import (
        format_sse,
    )
    from .subject_erasures import (
        ErasedRows,
        SubjectErasure,
        erase_subject,
    )
    from .tenants import (
        set_tenant,
    )
    from .tool_calls import (
        AbandonedToolCall,
        NewToolCall,
        ToolCall,
        close_open_tool_calls,
        create_tool_call,
        create_tool_calls,
        finish_tool_call,
        get_tool_call,
        list_abandoned_tool_calls,
        list_open_tool_calls,
        list_tool_calls,
    )
    from .usage_counters import (
        CounterAudit,
        QuotaUsage,
        get_usage,
        rebuild_usage_counters,
        verify_usage,
    )
    from .usage_logs import (
        NewUsage,
        UsageLog,
        UsageSummary,
        list_usage_logs,
        record_usage,
        summarize_usage,
    )
    from .usage_purges import UsagePurge, purge_usage
    from .usage_reservations import (
        NewReservation,
        Reservation,
        get_reservation,
        renew_reservation,
        reserve_usage,
    )
    from .usage_settlements import (
        expire_reservations,
        release_usage,
        settle_usage,
    )

__version__ = "0.1.0"

__all__ = [
    "AbandonedToolCall",
    "AgentInvocation",
    "AgentStep",
    "AsyncPipeline",
    "AsyncioEventWriter",
    "BlockingEventWriter",
    "BranchDocument",
    "BranchReport",
    "BranchSection",
    "BranchSectionState",
    "Conflict",
    "CounterAudit",
    "Created",
    "CtaEvent",
    "DeletedRun",
    "ErasedRows",
    "EventPage",
    "EventWriter",
    "EventsPurged",
    "Finished",
    "FoundRun",
    "Heartbeat",
    "InvalidPayload",
    "InvalidTransition",
    "InvocationNode",
    "InvocationOutcome",
    "LogAudit",
    "MemoryRecord",
    "MergeConflict",
    "NewAgentInvocation",
    "NewAgentStep",
    "NewBranchReport",
    "NewChatRun",
    "NewCtaEvent",
    "NewFeatureRun",
    "NewMemoryRecord",
    "NewPhaseResult",
    "NewPrice",
    "NewQuota",
    "NewReport",
    "NewReservation",
    "NewRunEvent",
    "NewRunFork",
    "NewSandbox",
    "NewSnapshot",
    "NewToolCall",
    "NewUsage",
    "NotFound",
    "Page",
    "PhaseNode",
    "PhaseResult",
    "Pipeline",
    "Price",
    "PublishedReport",
    "PublishedSection",
    "Quota",
    "QuotaExceeded",
    "QuotaGate",
    "QuotaUsage",
    "Reply",
    "Report",
    "ReportDocument",
    "ReportSection",
    "ReportState",
    "ReportVersion",
    "Reservation",
    "RestoredRun",
    "Retry",
    "Run",
    "RunEvent",
    "RunHead",
    "RunHold",
    "RunListener",
    "RunNotifier",
    "RunPurge",
    "RunState",
    "RunTree",
    "RunstoreError",
    "Sandbox",
    "SandboxNode",
    "SchemaCheck",
    "SectionConflict",
    "SectionDraft",
    "SectionState",
    "Snapshot",
    "StaleWrite",
    "StalledRun",
    "SubjectErasure",
    "ToolCall",
    "TransactionAborted",
    "UsageLog",
    "UsagePurge",
    "UsageSummary",
    "advance_feature_run",
    "append_run_events",
    "archive_report",
    "cancel_cta_event",
    "cancel_run",
    "check_schema",
    "close_open_tool_calls",
    "complete_agent_invocation",
    "complete_cta_event",
    "complete_feature_run",
    "complete_run",
    "connect",
    "connect_async",
    "create_agent_invocation",
    "create_agent_step",
    "create_agent_steps",
    "create_branch_report",
    "create_cta_event",
    "create_feature_run",
    "create_memory_record",
    "create_phase_result",
    "create_report",
    "create_run",
    "create_sandbox_record",
    "create_snapshot_record",
    "create_tool_call",
    "create_tool_calls",
    "delete_run",
    "discard_branch_report",
    "erase_subject",
    "expire_cta_events",
    "expire_reservations",
    "fail_feature_run",
    "fail_phase_result",
    "fail_run",
    "find_runs_between",
    "finish_agent_step",
    "finish_tool_call",
    "fork_run",
    "format_sse",
    "get_agent_invocation",
    "get_agent_step",
    "get_branch_report",
    "get_cta_event",
    "get_memory_record",
    "get_memory_records",
    "get_phase_result",
    "get_phase_results",
    "get_price",
    "get_published_report",
    "get_report",
    "get_reservation",
    "get_run",
    "get_run_head",
    "get_run_tree",
    "get_sandbox",
    "get_snapshot",
    "get_tool_call",
    "get_usage",
    "heartbeat_run",
    "hold_run",
    "import_run_events",
    "ingest_run_events",
    "is_retryable",
    "iter_run_events",
    "iter_run_export",
    "list_abandoned_tool_calls",
    "list_agent_invocations",
    "list_agent_steps",
    "list_branch_reports",
    "list_cta_events",
    "list_forks",
    "list_open_tool_calls",
    "list_prices",
    "list_quotas",
    "list_report_sections",
    "list_report_versions",
    "list_reports",
    "list_run_holds",
    "list_runs",
    "list_snapshots",
    "list_stalled_runs",
    "list_tool_calls",
    "list_usage_logs",
    "listen_run_events",
    "merge_branch_report",
    "new_child_id",
    "new_run_id",
    "notify_run_events",
    "open_pool",
    "open_pool_async",
    "order_report_sections",
    "pass_phase_result",
    "payload_rules",
    "pipeline",
    "price_usage",
    "publish_report",
    "purge_run_events",
    "purge_runs",
    "purge_usage",
    "put_branch_section",
    "put_report_section",
    "read_run_events",
    "rebuild_usage_counters",
    "record_usage",
    "release_run_hold",
    "release_usage",
    "remove_branch_section",
    "remove_quota",
    "remove_report_section",
    "renew_reservation",
    "request_cancel",
    "reserve_usage",
    "restore_run",
    "revert_branch_section",
    "revise_report",
    "run_of",
    "run_transaction",
    "set_payload_rules",
    "set_price",
    "set_quota",
    "set_tenant",
    "settle_usage",
    "start_run",
    "summarize_usage",
    "tail_run_events",
    "timeout_cta_event",
    "transaction",
    "update_feature_run_phase",
    "update_report",
    "update_sandbox_status",
    "verify_run_events",
    "verify_usage",
]


if not TYPE_CHECKING:
    # Type checkers and editors see the imports above; a type of theirs is not to be Any.

    def __getattr__(name):
        value = globals()[name] = find(__name__, name)
        return value

    def __dir__():
        return sorted(NAMES | globals().keys())
