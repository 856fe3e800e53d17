"""Calls to action: questions that a run asks a person."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final, Literal, cast
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
    Moment,
    Page,
    Row,
    RunId,
    child_of_run,
)
from ._pages import page
from ._query import Statement, Steps, query
from ._statements import SecondKey, create, get, many, transition
from .ids import run_of
from .runs import get_run

_SQL: Final = _sql.load("cta_events")
_CTA: Final = "call to action"
_TOOL_CALL_KEY: Final = SecondKey(
    "cta_events_run_id_tool_call_id_key", "tool_call_id", get_run.bind
)

CtaStatus = Literal["pending", "completed", "timed_out", "cancelled"]


class CtaEvent(Row):
    """A question to a person; `expires_at` is when it is overdue, None never."""

    run_id: UUID
    id: UUID
    tenant_id: str
    phase: str | None
    kind: str
    invocation_id: UUID | None
    tool_call_id: UUID | None
    request: JsonValue
    status: CtaStatus
    response_data: JsonValue
    expires_at: datetime | None
    resolved_by: str | None
    metadata: dict[str, JsonValue]
    created_at: datetime
    resolved_at: datetime | None


class NewCtaEvent(Input):
    """A question to ask. A tool call that waits for the answer has one pending question at most."""

    entity: ClassVar[str] = _CTA

    run_id: RunId
    """The run that it belongs to."""
    id: ChildId = Field(default_factory=child_of_run)
    """Made here, before the first attempt: repeating a write with it is safe."""
    phase: Key | None = None
    """The phase that asks."""
    kind: Key
    """What sort of question it is; the application chooses the words."""
    invocation_id: ChildId | None = None
    """The invocation that asks."""
    tool_call_id: ChildId | None = None
    """The tool call that waits for the answer; it has one pending question at most."""
    request: Json = None
    """The question; None: its kind says all."""
    expires_at: Moment | None = None
    """When an unanswered question is overdue; None: never."""
    metadata: JsonObject = Field(default_factory=dict)
    """A JSON object for what the application adds."""


@query
def create_cta_event(data: NewCtaEvent) -> Statement[Created]:
    """Ask a person something.

    Idempotent by the id of `data`. Raises `NotFound` when the run, the invocation or the tool
    call does not exist, `Conflict` when the id holds another content or the tool call has a
    pending question already.
    """
    return create(
        _SQL["create_cta_event"],
        data,
        stored=get_cta_event.bind,
        parent=("run", "run_id"),
        second_key=_TOOL_CALL_KEY,
    )


@query
def get_cta_event(cta_id: UUID) -> Statement[CtaEvent]:
    """Return a question. Raises `NotFound`."""
    parameters = {"run_id": run_of(cta_id), "cta_id": cta_id}
    return get(CtaEvent, _SQL["get_cta_event"], _CTA, cta_id, parameters)


@query
def list_cta_events(
    *, tenant_id: Key | None = None, cursor: str | None = None, page_size: int = 100
) -> Statement[Page[CtaEvent]]:
    """Return a page of a tenant's pending questions, oldest first.

    A tenant that is None is the transaction's own. A question stays pending when it is overdue,
    until `timeout_cta_event` or `expire_cta_events` says otherwise.
    """
    return page(
        CtaEvent,
        _SQL["list_cta_events"],
        {"tenant_id": tenant_id},
        key={"after_created_at": "created_at", "after_id": "id"},
        cursor=cursor,
        page_size=page_size,
    )


@query
def complete_cta_event(
    cta_id: UUID, response_data: JsonGiven, *, resolved_by: Key | None = None
) -> Statement[Finished]:
    """Answer a pending question.

    Idempotent: repeated with the same answer of the same person it answers as it did. Raises
    `NotFound` or `InvalidTransition`.
    """
    given = {
        "response_data": nullable(response_data, "response_data"),
        "resolved_by": resolved_by,
    }
    return _resolve("complete_cta_event", cta_id, "completed", given)


@query
def timeout_cta_event(cta_id: UUID) -> Statement[Finished]:
    """Give up on a pending question, overdue or not.

    Idempotent. Raises `NotFound` or `InvalidTransition`.
    """
    return _resolve("timeout_cta_event", cta_id, "timed_out", {})


@query
def cancel_cta_event(cta_id: UUID, *, resolved_by: Key | None = None) -> Statement[Finished]:
    """Withdraw a pending question.

    Idempotent: repeated by the same person it answers as it did. Raises `NotFound` or
    `InvalidTransition`.
    """
    return _resolve("cancel_cta_event", cta_id, "cancelled", {"resolved_by": resolved_by})


@query
def expire_cta_events() -> Statement[list[Finished]]:
    """Give up on every overdue question of every tenant, and return their keys.

    Any number of processes may do so at once: each question expires once, and one that is
    being answered at this moment is left to its answer.
    """
    return many(Finished, _SQL["expire_cta_events"], {})


def _resolve(name: str, id: UUID, status: CtaStatus, given: dict[str, Any]) -> Statement[Finished]:
    return transition(
        Finished,
        _SQL[name],
        {"run_id": run_of(id), "cta_id": id, **given},
        _CTA,
        lambda: get_cta_event.bind(id),
        leaves={"status": status, **given},
        answer=_resolved,
    )


def _resolved(cta: CtaEvent) -> Steps[Finished]:
    yield from ()
    # A question that is not pending has this time.
    return Finished(run_id=cta.run_id, id=cta.id, finished_at=cast("datetime", cta.resolved_at))
