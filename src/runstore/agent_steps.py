"""Agent steps: what an invocation thought, said and did, in its order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final
from uuid import UUID

from pydantic import Field, JsonValue

from . import _sql
from ._json import nullable
from ._models import (
    Amount,
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
    child_of_run,
    run_of_invocation,
)
from ._pages import page
from ._query import Statement, Steps, query, reads
from ._statements import SecondKey, create, create_many, get, many, one, says
from .agent_invocations import get_agent_invocation
from .errors import InvalidTransition
from .ids import run_of

_SQL: Final = _sql.load("agent_steps")
_STEP: Final = "agent step"
_INVOCATION: Final = "agent invocation"
_POSITION_KEY: Final = SecondKey(
    "agent_steps_run_id_invocation_id_position_key", "position", get_agent_invocation.bind
)


class AgentStep(Row):
    """One step of an invocation; `finished_at` is None while it is going on."""

    run_id: UUID
    id: UUID
    tenant_id: str
    invocation_id: UUID
    position: int
    kind: str
    content: JsonValue
    tokens: int | None
    metadata: dict[str, JsonValue]
    created_at: datetime
    finished_at: datetime | None


class NewAgentStep(Input):
    """A step to record. Without a `position` it follows the last one of its invocation.

    A step that is still going on is recorded with `finished=False` and finished later.
    """

    entity: ClassVar[str] = _STEP
    changing_fields: ClassVar[frozenset[str]] = frozenset({"finished"})
    optional_fields: ClassVar[frozenset[str]] = frozenset({"position"})

    invocation_id: UUID
    """The invocation that it is a step of."""
    run_id: ParentsRunId = Field(default_factory=run_of_invocation)
    """The run; left out, it is that of the invocation."""
    id: ChildId = Field(default_factory=child_of_run)
    """Made here, before the first attempt: repeating a write with it is safe."""
    position: Annotated[int, Field(strict=True, ge=0, lt=1 << 31)] | None = None
    """Its place within the invocation, from 0; None: after the last one."""
    kind: Key
    """What sort of step it is; the application chooses the words."""
    content: Json = None
    """What the step says; None: nothing."""
    tokens: Amount | None = None
    """Tokens that it took; None: not reported."""
    metadata: JsonObject = Field(default_factory=dict)
    """A JSON object for what the application adds."""
    finished: bool = True
    """False: it is still going on, and is finished later."""

    def differences(self, row: Row) -> list[str]:
        """Name the fields in which a stored step differs; what its finish changed is left out."""
        changed = () if self.finished else ("content", "tokens")
        return [name for name in super().differences(row) if name not in changed]


@query
def create_agent_step(data: NewAgentStep) -> Statement[Created]:
    """Record one step of an invocation.

    Idempotent by the id of `data`. Raises `NotFound` when the invocation does not exist,
    `Conflict` when the id holds another content or the position has its step already; two
    callers who both leave the position to the database may clash so.
    """
    return create(
        _SQL["create_agent_step"],
        data,
        stored=get_agent_step.bind,
        parent=(_INVOCATION, "invocation_id"),
        second_key=_POSITION_KEY,
    )


@query
@reads(datetime)
def create_agent_steps(data: Sequence[NewAgentStep]) -> Statement[list[Created]]:
    """Record any number of steps of one run in one statement, all or none.

    Returns their keys in the order given. Idempotent as a whole: repeating the same steps
    changes nothing. Raises `NotFound` when the run or an invocation does not exist, `Conflict`
    when an id holds another content, or when only some of the steps exist.
    """
    return create_many(_SQL["create_agent_steps"], data, NewAgentStep, stored=find_agent_steps.bind)


@query
def get_agent_step(step_id: UUID) -> Statement[AgentStep]:
    """Return a step. Raises `NotFound`."""
    parameters = {"run_id": run_of(step_id), "step_id": step_id}
    return get(AgentStep, _SQL["get_agent_step"], _STEP, step_id, parameters)


@query
def find_agent_steps(run_id: RunId, step_ids: list[UUID]) -> Statement[list[AgentStep]]:
    """Return those of a run's steps that have one of these ids, in no order."""
    parameters = {"run_id": run_id, "step_ids": step_ids}
    return many(AgentStep, _SQL["find_agent_steps"], parameters, prepare=False)


@query
def list_agent_steps(
    invocation_id: UUID, *, cursor: str | None = None, page_size: int = 1000
) -> Statement[Page[AgentStep]]:
    """Return a page of an invocation's steps, by position."""
    return page(
        AgentStep,
        _SQL["list_agent_steps"],
        {"run_id": run_of(invocation_id), "invocation_id": invocation_id},
        key={"after_position": "position"},
        cursor=cursor,
        page_size=page_size,
    )


@query
def finish_agent_step(
    step_id: UUID, *, content: JsonGiven = None, tokens: Amount | None = None
) -> Statement[Finished]:
    """Finish an open step; a content or a count of tokens replaces what it was opened with.

    Idempotent: where the finished step says what is given, it answers as it did. Raises
    `NotFound`, or `InvalidTransition` when the step is finished and says something else.
    """
    given = {"content": nullable(content, "content"), "tokens": tokens}
    return one(
        Finished,
        _SQL["finish_agent_step"],
        {"run_id": run_of(step_id), "step_id": step_id, **given},
        absent=lambda: _finished(step_id, given),
    )


def _finished(step_id: UUID, given: dict[str, Any]) -> Steps[Finished]:
    step = yield from get_agent_step.bind(step_id)
    replaced = {name: value for name, value in given.items() if value is not None}
    if step.finished_at is None or not says(step, replaced):
        raise InvalidTransition(_STEP, step_id, "finished")
    return Finished(run_id=step.run_id, id=step.id, finished_at=step.finished_at)
