"""Every function that creates a row, with what its tests need to know of it.

What holds for all of them is stated once, in integration/test_creates.py. An entity that is
new here has to say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic import JsonValue

from connections import Caller
from factories import (
    create_call,
    create_invocation,
    create_phase,
    create_run,
    create_sandbox,
    create_snapshot,
    create_step,
    new_agent_invocation,
    new_agent_step,
    new_cta_event,
    new_feature_run,
    new_memory_record,
    new_phase_result,
    new_sandbox,
    new_snapshot,
    new_tool_call,
)
from runstore import (
    create_agent_invocation,
    create_agent_step,
    create_cta_event,
    create_feature_run,
    create_memory_record,
    create_phase_result,
    create_sandbox_record,
    create_snapshot_record,
    create_tool_call,
    get_agent_invocation,
    get_agent_step,
    get_cta_event,
    get_memory_record,
    get_phase_result,
    get_run,
    get_sandbox,
    get_snapshot,
    get_tool_call,
    new_child_id,
    new_run_id,
)
from runstore._models import Input, Row
from runstore._query import Query

TEXT = "Zoë 🦊 漢字\r\nline two\ttab \\u0000 ' \" % %s %(id)s\x01"
DOCUMENT: JsonValue = {
    "text": TEXT,
    "": [None, True, False, 0, -1, 2**63, 1.5, -0.25, 1e300, "", [], {}],
    "nested": {"a": [{"b": [[["deep"]]]}]},
    "ключ": "значение",
}
OVERDUE = datetime(2020, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)


Data = Any
"""An input of the create at hand."""


@dataclass(frozen=True)
class Create:
    function: Query[[Any], Any]
    table: str
    least: Callable[[Caller], Input]
    """Makes the rows that the new one needs, and an input with only what it must have."""
    most: Callable[[Caller], Input]
    """Makes the rows that the new one may refer to, and an input with all that it can have."""
    stored: Callable[[Caller, Data], Row]
    """Reads the row of an input."""
    others: Mapping[str, object]
    """Another value for every field of `most` that a repeated create compares."""
    strangers: Mapping[str, Callable[[Data], Input]]
    """By the name of a parent: turns an input into one whose parent does not exist."""
    also_writes: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return self.table


def again(data: Data, **values: object) -> Any:
    """Make an input that says the same, but for these values."""
    return type(data)(**dict(data) | values)


def sibling(data: Data, **values: object) -> Any:
    """Make an input with another id that says the same, but for these values."""
    return again(data, id=new_child_id(data.id), **values)


def elsewhere(data: Data, **values: object) -> Any:
    """Make an input of a run that does not exist."""
    run_id = new_run_id()
    id = new_child_id(run_id) if isinstance(data.id, UUID) else data.id
    return again(data, run_id=run_id, id=id, **values)


def most_run(_call: Caller) -> Input:
    return new_feature_run(
        name=TEXT,
        phase="plan",
        tenant_id="acme",
        thread_id="thread-1",
        subject_id="user-1",
        input=DOCUMENT,
        exclusive=True,
        idempotency_key="key-1",
        parent_run_id=new_run_id(),
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        metadata=DOCUMENT,
    )


def most_sandbox(call: Caller) -> Input:
    return new_sandbox(
        create_run(call).id,
        id=TEXT,
        provider="a provider",
        template="base",
        status="running",
        metadata=DOCUMENT,
    )


def least_snapshot(call: Caller) -> Input:
    run_id = create_run(call).id
    return new_snapshot(run_id, sandbox_id=create_sandbox(call, run_id).id)


def most_snapshot(call: Caller) -> Input:
    run_id = create_run(call).id
    sandbox_id = create_sandbox(call, run_id, id="machine").id
    parent = create_snapshot(call, run_id, sandbox_id=sandbox_id, id="parent")
    return new_snapshot(
        run_id,
        id=TEXT,
        sandbox_id=sandbox_id,
        phase="build",
        parent_snapshot_id=parent.id,
        size_bytes=2**63 - 1,
        metadata=DOCUMENT,
    )


def most_phase_result(call: Caller) -> Input:
    return new_phase_result(
        create_run(call).id, phase=TEXT, attempt=7, input=DOCUMENT, metadata=DOCUMENT
    )


def most_invocation(call: Caller) -> Input:
    run_id = create_run(call).id
    return new_agent_invocation(
        run_id,
        phase_result_id=create_phase(call, run_id).id,
        parent_invocation_id=create_invocation(call, run_id).id,
        agent=TEXT,
        provider="a provider",
        model="a-model",
        input=DOCUMENT,
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        span_id="00f067aa0ba902b7",
        metadata=DOCUMENT,
    )


def most_step(call: Caller) -> Input:
    return new_agent_step(
        create_invocation(call, create_run(call).id).id,
        position=2**31 - 1,
        kind=TEXT,
        content=DOCUMENT,
        tokens=2**63 - 1,
        metadata=DOCUMENT,
    )


def most_tool_call(call: Caller) -> Input:
    invocation_id = create_invocation(call, create_run(call).id).id
    return new_tool_call(
        invocation_id,
        step_id=create_step(call, invocation_id).id,
        provider_call_id="call-1",
        name=TEXT,
        arguments=DOCUMENT,
        status="failed",
        result=DOCUMENT,
        error=DOCUMENT,
        metadata=DOCUMENT,
    )


def most_memory(call: Caller) -> Input:
    return new_memory_record(
        create_run(call).id,
        phase="build",
        kind=TEXT,
        # Larger than a page of a table, and than what PostgreSQL compresses in one piece.
        content=TEXT * 10_000,
        metadata=DOCUMENT,
    )


def most_cta(call: Caller) -> Input:
    run_id = create_run(call).id
    invocation_id = create_invocation(call, run_id).id
    return new_cta_event(
        run_id,
        phase="review",
        kind=TEXT,
        invocation_id=invocation_id,
        tool_call_id=create_call(call, invocation_id).id,
        request=DOCUMENT,
        expires_at=OVERDUE,
        metadata=DOCUMENT,
    )


CREATES = [
    Create(
        create_feature_run,
        "runs",
        lambda _: new_feature_run(),
        most_run,
        stored=lambda call, data: call(get_run, data.id),
        others={
            "name": "another",
            "tenant_id": "another",
            "thread_id": "another",
            "subject_id": "another",
            "input": {"another": 1},
            "exclusive": False,
            "idempotency_key": "another",
            "parent_run_id": None,
            "trace_id": None,
            "metadata": {},
        },
        strangers={},
        also_writes=frozenset({"run_heads", "run_events"}),
    ),
    Create(
        create_sandbox_record,
        "sandboxes",
        lambda call: new_sandbox(create_run(call).id),
        most_sandbox,
        stored=lambda call, data: call(get_sandbox, data.id, run_id=data.run_id),
        others={"provider": None, "template": "another", "metadata": {}},
        strangers={"run": elsewhere},
    ),
    Create(
        create_snapshot_record,
        "snapshots",
        least_snapshot,
        most_snapshot,
        stored=lambda call, data: call(get_snapshot, data.run_id, data.id),
        others={
            "sandbox_id": "another",
            "phase": "another",
            "parent_snapshot_id": None,
            "size_bytes": 0,
            "metadata": {"another": None},
        },
        strangers={
            "sandbox": lambda data: again(data, id="another", sandbox_id="another"),
            "parent snapshot": lambda data: again(data, id="another", parent_snapshot_id="none"),
        },
    ),
    Create(
        create_phase_result,
        "phase_results",
        lambda call: new_phase_result(create_run(call).id),
        most_phase_result,
        stored=lambda call, data: call(get_phase_result, data.id),
        others={"phase": "another", "attempt": 8, "input": None, "metadata": {}},
        strangers={"run": elsewhere},
    ),
    Create(
        create_agent_invocation,
        "agent_invocations",
        lambda call: new_agent_invocation(create_run(call).id),
        most_invocation,
        stored=lambda call, data: call(get_agent_invocation, data.id),
        others={
            "phase_result_id": None,
            "parent_invocation_id": None,
            "agent": "another",
            "provider": "another",
            "model": None,
            "input": [],
            "trace_id": None,
            "span_id": "another",
            "metadata": {},
        },
        strangers={
            "run": lambda data: elsewhere(data, phase_result_id=None, parent_invocation_id=None),
            "phase result": lambda data: sibling(data, phase_result_id=new_child_id(data.id)),
            "parent invocation": lambda data: sibling(
                data, parent_invocation_id=new_child_id(data.id)
            ),
        },
    ),
    Create(
        create_agent_step,
        "agent_steps",
        lambda call: new_agent_step(create_invocation(call, create_run(call).id).id),
        most_step,
        stored=lambda call, data: call(get_agent_step, data.id),
        others={
            "invocation_id": new_child_id,
            "position": 0,
            "kind": "another",
            "content": None,
            "tokens": 0,
            "metadata": {},
        },
        strangers={
            "agent invocation": lambda data: sibling(data, invocation_id=new_child_id(data.id)),
        },
    ),
    Create(
        create_tool_call,
        "tool_calls",
        lambda call: new_tool_call(create_invocation(call, create_run(call).id).id),
        most_tool_call,
        stored=lambda call, data: call(get_tool_call, data.id),
        others={
            "invocation_id": new_child_id,
            "step_id": None,
            "provider_call_id": "another",
            "name": "another",
            "arguments": None,
            "status": "denied",
            "result": None,
            "error": "another",
            "metadata": {},
        },
        strangers={
            "agent invocation": lambda data: sibling(data, invocation_id=new_child_id(data.id)),
            "agent step": lambda data: sibling(
                data, step_id=new_child_id(data.id), provider_call_id="another"
            ),
        },
    ),
    Create(
        create_memory_record,
        "memory_records",
        lambda call: new_memory_record(create_run(call).id),
        most_memory,
        stored=lambda call, data: call(get_memory_record, data.id),
        others={"phase": None, "kind": "another", "content": "another", "metadata": {}},
        strangers={"run": elsewhere},
    ),
    Create(
        create_cta_event,
        "cta_events",
        lambda call: new_cta_event(create_run(call).id),
        most_cta,
        stored=lambda call, data: call(get_cta_event, data.id),
        others={
            "phase": None,
            "kind": "another",
            "invocation_id": None,
            "tool_call_id": None,
            "request": None,
            "expires_at": OVERDUE + timedelta(microseconds=1),
            "metadata": {},
        },
        strangers={
            "run": lambda data: elsewhere(data, invocation_id=None, tool_call_id=None),
            "agent invocation": lambda data: sibling(
                data, invocation_id=new_child_id(data.id), tool_call_id=None
            ),
            "tool call": lambda data: sibling(data, tool_call_id=new_child_id(data.id)),
        },
    ),
]
