"""Inputs full of hostile values, for every table: what is accepted must read back equal.

A `Target` is a function that writes a row of an input. A trial of it makes inputs whose fields
hold anything, calls the function with what was accepted, and compares the row with the input; at
its end the table has as many rows more as were accepted, since what is refused leaves nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, LiteralString
from uuid import UUID

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from connections import Caller
from factories import (
    create_call,
    create_invocation,
    create_phase,
    create_run,
    create_sandbox,
    create_snapshot,
    create_step,
)
from hostile_values import as_stored, hostile
from report_factories import create_draft
from runstore import (
    Conflict,
    InvalidPayload,
    InvocationOutcome,
    NewAgentInvocation,
    NewAgentStep,
    NewBranchReport,
    NewChatRun,
    NewCtaEvent,
    NewFeatureRun,
    NewMemoryRecord,
    NewPhaseResult,
    NewPrice,
    NewQuota,
    NewReport,
    NewReservation,
    NewRunEvent,
    NewRunFork,
    NewSandbox,
    NewSnapshot,
    NewToolCall,
    NewUsage,
    NotFound,
    QuotaExceeded,
    SectionDraft,
    append_run_events,
    complete_agent_invocation,
    create_agent_invocation,
    create_agent_step,
    create_branch_report,
    create_cta_event,
    create_feature_run,
    create_memory_record,
    create_phase_result,
    create_report,
    create_sandbox_record,
    create_snapshot_record,
    create_tool_call,
    fork_run,
    get_agent_invocation,
    get_agent_step,
    get_branch_report,
    get_cta_event,
    get_memory_record,
    get_phase_result,
    get_price,
    get_report,
    get_reservation,
    get_run,
    get_sandbox,
    get_snapshot,
    get_tool_call,
    put_branch_section,
    put_report_section,
    read_run_events,
    record_usage,
    reserve_usage,
    set_price,
    set_quota,
)
from runstore import create_run as create_chat_run
from runstore._models import Input, Row
from runstore.usage_logs import find_usage_logs, logged_as


@dataclass(frozen=True)
class Family:
    """A run with one of everything that an input may refer to."""

    run_id: UUID
    report_id: UUID
    branch_id: UUID
    ids: Mapping[str, object]
    """By the names of the fields that refer to them."""


def found_family(call: Caller) -> Family:
    run = create_run(call, phase="plan")
    phase = create_phase(call, run.id)
    invocation = create_invocation(call, run.id, phase_result_id=phase.id)
    sandbox = create_sandbox(call, run.id)
    report_id = create_draft(call, run_id=run.id)
    fork = call(fork_run, run.id, 1, NewRunFork())
    branch = NewBranchReport(run_id=fork.id, report_id=report_id, name="branch")
    return Family(
        run.id,
        report_id,
        call(create_branch_report, branch).id,
        {
            "run_id": run.id,
            "parent_run_id": run.id,
            "phase_result_id": phase.id,
            "invocation_id": invocation.id,
            "parent_invocation_id": invocation.id,
            "step_id": create_step(call, invocation.id).id,
            "tool_call_id": create_call(call, invocation.id).id,
            "sandbox_id": sandbox.id,
            "parent_snapshot_id": create_snapshot(call, run.id, sandbox_id=sandbox.id).id,
            "report_id": report_id,
            "fork_id": fork.id,
        },
    )


@dataclass(frozen=True)
class Target:
    """A function that writes an input, and how to read what it wrote."""

    name: str
    model: type[Input]
    write: Callable[[Caller, Family, Any], Any]
    """Returns the row, or what `read` needs to find it."""
    read: Callable[[Caller, Family, Any, Any], Row] = lambda _call, _family, _data, row: row
    rows: LiteralString = ""
    """The table's rows, when they are not all of the table that the target is named for."""
    key: Callable[[Family, Any], object] = lambda _family, data: data.id
    """Which row an input makes."""
    always: tuple[str, ...] = ()
    """The fields of which two inputs must not say the same."""
    known_to_database: frozenset[str] = frozenset()
    """The reasons to refuse an input that only the database knows."""
    ids: Mapping[str, str] = field(default_factory=dict[str, str])
    """The names that the family has for what some fields refer to."""

    def __str__(self) -> str:
        return self.name


@dataclass
class Tally:
    """What became of the inputs of a trial: refused for what, accepted, or in another's way."""

    accepted: int = 0
    clashes: int = 0
    rows: set[object] = field(default_factory=set[object])
    refused: Counter[str] = field(default_factory=Counter[str])


# What two inputs, or an input and what it refers to, may get in each other's way for.
# Keys in one index.
_TOO_LONG_TOGETHER: Final = "is larger than the database can hold"
_FAMILY_CASES: Final = 250
_CLASHES: Final = (Conflict, NotFound, QuotaExceeded)


def arguments(target: Target, family: Family) -> st.SearchStrategy[dict[str, Any]]:
    """Return arguments for a target's input: what it needs and some of what it may have.

    One or two of the fields are hostile, and the others are left out or ordinary, so that about
    half of the inputs are accepted.
    """
    fields = target.model.model_fields
    # Ids are refused so often that little else would be tried.
    names = sorted(fields) + [name for name in fields if "UUID" not in str(fields[name])] * 3
    ordinary = {
        name: family.ids.get(target.ids.get(name, name), _ORDINARY.get(name, "ordinary"))
        for name, info in fields.items()
        if info.is_required() or name == "run_id"
    }
    unique = dict.fromkeys(target.always, st.uuids().map(str))

    def with_hostile(chosen: Iterable[str]) -> st.SearchStrategy[dict[str, Any]]:
        anything = {name: hostile(fields[name].annotation) for name in chosen}
        return st.fixed_dictionaries(unique | anything).map(lambda values: ordinary | values)

    return st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True).flatmap(
        with_hostile
    )


_ORDINARY: Final[Mapping[str, object]] = {
    "amounts": {"tokens": 3},
    "period": "day",
    "limit_amount": 10**15,
    "valid_from": "2026-01-01T00:00:00Z",
    "price": 3,
}


def attempt(call: Caller, family: Family, target: Target, values: Any, total: Tally) -> None:
    """Make one input and write it, and compare what it says with the row that it made."""
    try:
        data: Any = target.model(**values)
        found = target.write(call, family, data)
    except InvalidPayload as error:
        total.refused[_reason(error, target)] += 1
        return
    except _CLASHES:
        total.clashes += 1
        return
    total.accepted += 1
    key = target.key(family, data)
    # A repeated create answers the row that is there, which may have changed since.
    kept = data.changing_fields | {"id"} if key in total.rows else frozenset[str]()
    total.rows.add(key)
    row = target.read(call, family, data, found).__dict__
    for name, value in data.__dict__.items():
        if name in row and name not in kept and not _left_to_database(data, name):
            given = as_stored(value) if name in data.json_fields else value
            assert row[name] == given, f"{target}.{name} reads back as another value"


def _reason(error: InvalidPayload, target: Target) -> str:
    """Return why an input was refused, which names one of its fields."""
    name = error.path.partition(".")[0].partition("[")[0]
    by_database = target.known_to_database | {_TOO_LONG_TOGETHER}
    assert name in target.model.model_fields or error.reason in by_database, error
    assert "constraint" not in error.reason, error
    return error.reason


def _left_to_database(data: Input, name: str) -> bool:
    return data.__dict__[name] is None and name in {*data.optional_fields, "tenant_id"}


def trial(call: Caller, target: Target, cases: int, total: Tally) -> None:
    """Try so many inputs of a target, and count what becomes of them."""
    for start in range(0, cases, _FAMILY_CASES):
        family = found_family(call)
        made = -_count(call, target)
        known = len(total.rows)
        _attempt_several(call, family, target, min(cases - start, _FAMILY_CASES), total)
        made += _count(call, target)
        new = len(total.rows) - known
        assert made == new, f"{target} has {made} new rows for {new} inputs"


def _attempt_several(
    call: Caller, family: Family, target: Target, cases: int, total: Tally
) -> None:
    @settings(
        max_examples=cases,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.filter_too_much,
            HealthCheck.large_base_example,
        ],
    )
    @given(arguments(target, family))
    def attempt_each(values: dict[str, Any]) -> None:
        attempt(call, family, target, values, total)

    attempt_each()


def _count(call: Caller, target: Target) -> int:
    rows: Any = target.rows or f"SELECT FROM runstore.{target.name}"
    count: Any = f"SELECT count(*) FROM ({rows}) AS made"
    [[made]] = call.execute(count)
    return int(made)


def _append(call: Caller, family: Family, data: NewRunEvent) -> int:
    return call(append_run_events, family.run_id, [data])


def _event(call: Caller, family: Family, _: Any, seq: int) -> Row:
    return call(read_run_events, family.run_id, after=seq - 1, page_size=1).events[0]


def _section(sections: Sequence[Any], slug: str) -> Row:
    found: Row = next(section for section in sections if section.slug == slug)
    return found


def _complete(call: Caller, family: Family, data: InvocationOutcome) -> UUID:
    id = create_invocation(call, family.run_id).id
    call(complete_agent_invocation, id, data)
    return id


def _create(function: Any) -> Callable[[Caller, Family, Any], Any]:
    return lambda call, _family, data: call(function, data)


def _get(function: Any) -> Callable[[Caller, Family, Any, Any], Row]:
    return lambda call, _family, data, _found: call(function, data.id)


def _made_run(call: Caller, _family: Family, _data: Any, run: Any) -> Row:
    return call(get_run, run.id)


def _run_key(_family: Family, data: Any) -> object:
    tenant_id = data.__dict__.get("tenant_id")
    return (tenant_id, data.idempotency_key) if data.idempotency_key else data.id


def _anew(_family: Family, _data: Any) -> object:
    return object()


# An attempt or a position after the largest that there is.
_NO_NEXT: Final = frozenset({"is a number out of range"})

TARGETS: Final = [
    Target(
        "runs",
        NewFeatureRun,
        _create(create_feature_run),
        _made_run,
        key=_run_key,
    ),
    Target(
        "runs (chat)",
        NewChatRun,
        _create(create_chat_run),
        _made_run,
        key=_run_key,
        rows="SELECT FROM runstore.runs",
    ),
    Target(
        "runs (fork)",
        NewRunFork,
        lambda call, family, data: call(fork_run, family.run_id, 1, data),
        _made_run,
        key=_run_key,
        rows="SELECT FROM runstore.runs",
    ),
    Target("run_events", NewRunEvent, _append, _event, key=_anew),
    Target(
        "sandboxes",
        NewSandbox,
        _create(create_sandbox_record),
        lambda call, _family, data, _found: call(get_sandbox, data.id, run_id=data.run_id),
        key=lambda _family, data: (data.run_id, data.id),
        always=("id",),
    ),
    Target(
        "snapshots",
        NewSnapshot,
        _create(create_snapshot_record),
        lambda call, _family, data, _found: call(get_snapshot, data.run_id, data.id),
        key=lambda _family, data: (data.run_id, data.id),
        always=("id",),
    ),
    Target(
        "phase_results",
        NewPhaseResult,
        _create(create_phase_result),
        _get(get_phase_result),
        known_to_database=_NO_NEXT,
    ),
    Target(
        "agent_invocations",
        NewAgentInvocation,
        _create(create_agent_invocation),
        _get(get_agent_invocation),
    ),
    Target(
        "agent_invocations (outcome)",
        InvocationOutcome,
        _complete,
        lambda call, _family, _data, id: call(get_agent_invocation, id),
        rows="SELECT FROM runstore.agent_invocations WHERE finished_at IS NOT NULL",
        key=_anew,
    ),
    Target(
        "agent_steps",
        NewAgentStep,
        _create(create_agent_step),
        _get(get_agent_step),
        known_to_database=_NO_NEXT,
    ),
    Target("tool_calls", NewToolCall, _create(create_tool_call), _get(get_tool_call)),
    Target(
        "memory_records", NewMemoryRecord, _create(create_memory_record), _get(get_memory_record)
    ),
    Target("cta_events", NewCtaEvent, _create(create_cta_event), _get(get_cta_event)),
    Target(
        "reports",
        NewReport,
        _create(create_report),
        lambda call, _family, data, _found: call(get_report, data.id).report,
    ),
    Target(
        "report_sections",
        SectionDraft,
        lambda call, family, data: call(put_report_section, family.report_id, data),
        lambda call, family, data, _found: _section(
            call(get_report, family.report_id).sections, data.slug
        ),
        key=lambda family, data: (family.run_id, data.slug),
    ),
    Target(
        "branch_reports",
        NewBranchReport,
        _create(create_branch_report),
        lambda call, _family, data, _found: call(get_branch_report, data.id).branch,
        always=("name",),
        ids={"run_id": "fork_id"},
    ),
    Target(
        "branch_sections",
        SectionDraft,
        lambda call, family, data: call(put_branch_section, family.branch_id, data),
        lambda call, family, data, _found: _section(
            call(get_branch_report, family.branch_id).sections, data.slug
        ),
        key=lambda family, data: (family.run_id, data.slug),
    ),
    Target(
        "quotas",
        NewQuota,
        _create(set_quota),
        key=lambda _family, data: (data.tenant_id, data.subject_id, data.meter, data.period),
        always=("subject_id",),
    ),
    Target(
        "usage_logs",
        NewUsage,
        _create(record_usage),
        lambda call, _family, data, _found: logged_as(call(find_usage_logs, data.id)),
        rows="SELECT DISTINCT id FROM runstore.usage_logs",
    ),
    Target("usage_reservations", NewReservation, _create(reserve_usage), _get(get_reservation)),
    Target(
        "prices",
        NewPrice,
        _create(set_price),
        lambda call, _family, data, _found: call(
            get_price, data.provider, data.model, data.meter, data.valid_from
        ),
        key=lambda _family, data: (data.provider, data.model, data.meter, data.valid_from),
        always=("meter",),
    ),
]
