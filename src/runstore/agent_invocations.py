"""Agent invocations: one for each call of an agent, from its start to its outcome."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from uuid import UUID

from pydantic import Field, JsonValue, model_validator

from . import _sql
from ._models import (
    Amount,
    ChildId,
    Created,
    Finished,
    Input,
    Json,
    JsonObject,
    Key,
    Page,
    ParentsRunId,
    Row,
    RunId,
    child_of_run,
)
from ._pages import page
from ._query import Statement, query
from ._statements import create, get, transition
from .errors import InvalidPayload
from .ids import of_run, run_of

_SQL: Final = _sql.load("agent_invocations")
_INVOCATION: Final = "agent invocation"

InvocationStatus = Literal["running", "completed", "failed", "cancelled"]


class AgentInvocation(Row):
    """One call of an agent.

    `input_tokens` includes cached reads and writes, `output_tokens` includes reasoning. A count
    that is None was not reported; a `cost_usd` that is None is unpriced.
    """

    run_id: UUID
    id: UUID
    tenant_id: str
    phase_result_id: UUID | None
    parent_invocation_id: UUID | None
    agent: str
    provider: str | None
    model: str | None
    status: InvocationStatus
    input: JsonValue
    output: JsonValue
    finish_reason: str | None
    error: JsonValue
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: Decimal | None
    usage_raw: JsonValue
    trace_id: str | None
    span_id: str | None
    metadata: dict[str, JsonValue]
    created_at: datetime
    finished_at: datetime | None


def _run_of_caller(data: dict[str, Any]) -> UUID:
    caller = data["phase_result_id"] or data["parent_invocation_id"]
    if caller is None:
        raise InvalidPayload(
            "run_id", "is needed where no phase_result_id and no parent_invocation_id is"
        )
    return run_of(caller)


class NewAgentInvocation(Input):
    """A call of an agent to start: by an attempt at a phase, by another invocation, or by the run.

    `run_id` may be left out where one of the others says it.
    """

    entity: ClassVar[str] = _INVOCATION

    phase_result_id: UUID | None = None
    """The attempt at a phase that calls the agent."""
    parent_invocation_id: UUID | None = None
    """The invocation that calls this one as its sub-agent."""
    run_id: ParentsRunId = Field(default_factory=_run_of_caller, validate_default=True)
    """The run; left out, it is that of the two before."""
    id: ChildId = Field(default_factory=child_of_run)
    """Made here, before the first attempt: repeating a write with it is safe."""
    agent: Key
    """The agent's name."""
    provider: Key | None = None
    """Who serves the model."""
    model: Key | None = None
    """The model, as its provider names it."""
    input: Json = None
    """What the agent is given; None: nothing."""
    trace_id: Key | None = None
    """The trace (W3C Trace Context) of the call."""
    span_id: Key | None = None
    """The span (W3C Trace Context) of the call."""
    metadata: JsonObject = Field(default_factory=dict)
    """A JSON object for what the application adds."""

    @model_validator(mode="after")
    def _not_its_own_parent(self) -> Self:
        if self.parent_invocation_id == self.id:
            raise InvalidPayload("parent_invocation_id", "is the invocation's own id")
        return self


class InvocationOutcome(Input):
    """How an invocation ended, and what it used.

    A provider that reports cached tokens beside its input tokens has them added by the caller:
    `input_tokens` includes both kinds. What was not reported is None, never 0.
    """

    entity: ClassVar[str] = "invocation outcome"

    status: Literal["completed", "failed", "cancelled"] = "completed"
    """How it ended."""
    output: Json = None
    """What the agent answered; None: nothing."""
    finish_reason: Key | None = None
    """Why the model stopped, in its provider's word."""
    error: Json = None
    """Why it failed or was cancelled; None: nothing was said."""
    input_tokens: Amount | None = None
    """Tokens read, cached reads and writes included; None: not reported."""
    output_tokens: Amount | None = None
    """Tokens written, reasoning included; None: not reported."""
    cache_read_tokens: Amount | None = None
    """The part of `input_tokens` that came from a cache; None: not reported."""
    cache_write_tokens: Amount | None = None
    """The part of `input_tokens` that was written to a cache; None: not reported."""
    reasoning_tokens: Amount | None = None
    """The part of `output_tokens` spent on reasoning; None: not reported."""
    # PostgreSQL's numeric has an end, far behind any sum of money.
    cost_usd: Annotated[Decimal, Field(ge=0, max_digits=100)] | None = None
    """What the call cost, in US dollars; None: unpriced."""
    usage_raw: Json = None
    """The provider's own account of usage, as it came."""

    @model_validator(mode="after")
    def _parts_in_whole(self) -> Self:
        parts = (self.cache_read_tokens or 0) + (self.cache_write_tokens or 0)
        if self.input_tokens is None and parts >= 1 << 63:
            raise InvalidPayload("cache_write_tokens", "is too much beside cache_read_tokens")
        if self.input_tokens is not None and self.input_tokens < parts:
            raise InvalidPayload(
                "input_tokens",
                "is less than cache_read_tokens and cache_write_tokens, which it includes",
            )
        return self


@query
def create_agent_invocation(data: NewAgentInvocation) -> Statement[Created]:
    """Start a call of an agent.

    Idempotent by the id of `data`. Raises `NotFound` when the run, the phase result or the
    parent invocation does not exist, `Conflict` when the id holds another content.
    """
    return create(
        _SQL["create_agent_invocation"],
        data,
        stored=get_agent_invocation.bind,
        parent=("run", "run_id"),
    )


@query
def get_agent_invocation(invocation_id: UUID) -> Statement[AgentInvocation]:
    """Return an invocation. Raises `NotFound`."""
    parameters = {"run_id": run_of(invocation_id), "invocation_id": invocation_id}
    return get(
        AgentInvocation, _SQL["get_agent_invocation"], _INVOCATION, invocation_id, parameters
    )


@query
def list_agent_invocations(
    run_id: RunId,
    *,
    phase_result_id: UUID | None = None,
    cursor: str | None = None,
    page_size: int = 1000,
) -> Statement[Page[AgentInvocation]]:
    """Return a page of a run's invocations, or of one attempt's at a phase, oldest first."""
    return page(
        AgentInvocation,
        _SQL["list_agent_invocations"],
        {
            "run_id": run_id,
            "phase_result_id": of_run(run_id, phase_result_id, "phase_result_id"),
        },
        key={"after_created_at": "created_at", "after_id": "id"},
        cursor=cursor,
        page_size=page_size,
    )


@query
def complete_agent_invocation(invocation_id: UUID, data: InvocationOutcome) -> Statement[Finished]:
    """Give a running invocation its outcome, whatever it was.

    Idempotent: repeated with the same outcome it answers as it did. Raises `NotFound` or
    `InvalidTransition`.
    """
    outcome = data.parameters()
    return transition(
        Finished,
        _SQL["complete_agent_invocation"],
        {"run_id": run_of(invocation_id), "invocation_id": invocation_id, **outcome},
        _INVOCATION,
        lambda: get_agent_invocation.bind(invocation_id),
        leaves=outcome,
    )
