"""Tool calls: written open before the tool runs, finished after."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Final, Literal
from uuid import UUID

from pydantic import Field, JsonValue

from . import _sql
from ._json import nullable
from ._models import (
    ChildId,
    Created,
    Finished,
    Input,
    Json,
    JsonGiven,
    JsonObject,
    Key,
    Page,
    ParentsRunId,
    Row,
    RunId,
    RunStatus,
    child_of_run,
    run_of_invocation,
)
from ._pages import page
from ._query import Statement, Steps, query, reads
from ._statements import SecondKey, create, create_many, get, maker, many, transition
from .agent_invocations import get_agent_invocation
from .ids import of_run, run_of
from .run_states import Silence
from .runs import get_run

_SQL: Final = _sql.load("tool_calls")
_TOOL_CALL: Final = "tool call"
_PROVIDERS_KEY: Final = SecondKey(
    "tool_calls_run_id_invocation_id_provider_call_id_key",
    "provider_call_id",
    get_agent_invocation.bind,
)

ToolCallStatus = Literal["open", "completed", "failed", "denied", "unknown"]
ToolCallOutcome = Literal["completed", "failed", "denied", "unknown"]


class ToolCall(Row):
    """One call of a tool. `unknown` says that nobody learnt its outcome."""

    run_id: UUID
    id: UUID
    tenant_id: str
    invocation_id: UUID
    step_id: UUID | None
    provider_call_id: str | None
    name: str
    arguments: JsonValue
    status: ToolCallStatus
    result: JsonValue
    error: JsonValue
    metadata: dict[str, JsonValue]
    created_at: datetime
    finished_at: datetime | None


class AbandonedToolCall(Row):
    """An open call that nobody will finish, unless its silent run comes back."""

    run_id: UUID
    id: UUID
    tenant_id: str
    name: str
    created_at: datetime
    run_status: RunStatus
    heartbeat_at: datetime


class NewToolCall(Input):
    """A call to record: open before its tool runs, or with its outcome when it is over already."""

    entity: ClassVar[str] = _TOOL_CALL

    invocation_id: UUID
    """The invocation that makes the call."""
    run_id: ParentsRunId = Field(default_factory=run_of_invocation)
    """The run; left out, it is that of the invocation."""
    id: ChildId = Field(default_factory=child_of_run)
    """Made here, before the first attempt: repeating a write with it is safe."""
    step_id: ChildId | None = None
    """The step of the invocation in which it is made."""
    provider_call_id: Key | None = None
    """The model provider's id of the call; unique within its invocation."""
    name: Key
    """The tool's name."""
    arguments: Json = None
    """What the tool is given; None: nothing."""
    status: ToolCallStatus = "open"
    """`open` before the tool runs, or how the call ended."""
    result: Json = None
    """What the tool answered; None: nothing."""
    error: Json = None
    """Why it failed or was denied; None: nothing was said."""
    metadata: JsonObject = Field(default_factory=dict)
    """A JSON object for what the application adds."""

    def differences(self, row: Row) -> list[str]:
        """Name the fields in which a stored call differs; what its finish changed is left out."""
        changed = ("status", "result", "error") if self.status == "open" else ()
        return [name for name in super().differences(row) if name not in changed]


@query
def create_tool_call(data: NewToolCall) -> Statement[Created]:
    """Record a call of a tool.

    Idempotent by the id of `data`. Raises `NotFound` when the invocation or the step does not
    exist, `Conflict` when the id holds another content or the invocation has a call with the
    same `provider_call_id`.
    """
    return create(
        _SQL["create_tool_call"],
        data,
        stored=get_tool_call.bind,
        parent=("agent invocation", "invocation_id"),
        second_key=_PROVIDERS_KEY,
    )


@query
@reads(datetime)
def create_tool_calls(data: Sequence[NewToolCall]) -> Statement[list[Created]]:
    """Record any number of calls of one run in one statement, all or none.

    Returns their keys in the order given. Idempotent as a whole: repeating the same calls
    changes nothing. Raises `NotFound` when the run, an invocation or a step does not exist,
    `Conflict` when an id holds another content, or when only some of the calls exist.
    """
    return create_many(_SQL["create_tool_calls"], data, NewToolCall, stored=find_tool_calls.bind)


@query
def get_tool_call(tool_call_id: UUID) -> Statement[ToolCall]:
    """Return a call. Raises `NotFound`."""
    parameters = {"run_id": run_of(tool_call_id), "tool_call_id": tool_call_id}
    return get(ToolCall, _SQL["get_tool_call"], _TOOL_CALL, tool_call_id, parameters)


@query
def find_tool_calls(run_id: RunId, tool_call_ids: list[UUID]) -> Statement[list[ToolCall]]:
    """Return those of a run's calls that have one of these ids, in no order."""
    parameters = {"run_id": run_id, "tool_call_ids": tool_call_ids}
    return many(ToolCall, _SQL["find_tool_calls"], parameters, prepare=False)


@query
def list_tool_calls(
    run_id: RunId,
    *,
    invocation_id: UUID | None = None,
    cursor: str | None = None,
    page_size: int = 1000,
) -> Statement[Page[ToolCall]]:
    """Return a page of a run's calls, or of one invocation's, oldest first."""
    return page(
        ToolCall,
        _SQL["list_tool_calls"],
        {"run_id": run_id, "invocation_id": of_run(run_id, invocation_id, "invocation_id")},
        key={"after_created_at": "created_at", "after_id": "id"},
        cursor=cursor,
        page_size=page_size,
    )


@query
def list_open_tool_calls(
    run_id: RunId, *, cursor: str | None = None, page_size: int = 1000
) -> Statement[Page[ToolCall]]:
    """Return a page of a run's open calls, oldest first: those whose outcome nobody recorded."""
    return page(
        ToolCall,
        _SQL["list_open_tool_calls"],
        {"run_id": run_id},
        key={"after_created_at": "created_at", "after_id": "id"},
        cursor=cursor,
        page_size=page_size,
    )


@query
def list_abandoned_tool_calls(
    *, silent_for: Silence, cursor: str | None = None, page_size: int = 1000
) -> Statement[Page[AbandonedToolCall]]:
    """Return a page of the open calls of dead runs, of every tenant, oldest run first.

    A run is dead when it has ended, or has given no sign of life for so long. The clock is the
    database's. `close_open_tool_calls` closes those of a run.
    """
    return page(
        AbandonedToolCall,
        _SQL["list_abandoned_tool_calls"],
        {"silent_for": silent_for},
        key={"after_run_id": "run_id", "after_id": "id"},
        cursor=cursor,
        page_size=page_size,
    )


@query
def finish_tool_call(
    tool_call_id: UUID,
    *,
    status: ToolCallOutcome = "completed",
    result: JsonGiven = None,
    error: JsonGiven = None,
) -> Statement[Finished]:
    """Finish an open call with its outcome.

    Idempotent: repeated with the same outcome it answers as it did. Raises `NotFound` or
    `InvalidTransition`.
    """
    outcome = {
        "status": status,
        "result": nullable(result, "result"),
        "error": nullable(error, "error"),
    }
    return transition(
        Finished,
        _SQL["finish_tool_call"],
        {"run_id": run_of(tool_call_id), "tool_call_id": tool_call_id, **outcome},
        _TOOL_CALL,
        lambda: get_tool_call.bind(tool_call_id),
        leaves=outcome,
    )


@query
def close_open_tool_calls(run_id: RunId, reason: JsonGiven) -> Statement[list[Finished]]:
    """Close a run's open calls as `unknown`, with the reason as their error, and return their keys.

    A run whose worker died leaves calls open; a conversation cannot go on with them. Returns an
    empty list when none is open. Raises `NotFound` when the run does not exist.
    """
    make = maker(Finished)

    def none_open() -> Steps[list[Finished]]:
        yield from get_run.bind(run_id)
        return []

    return Statement(
        _SQL["close_open_tool_calls"],
        {"run_id": run_id, "error": nullable(reason, "reason")},
        lambda rows: [make(row) for row in rows],
        none_open,
    )
