"""Runs of either kind: what they share, and finding them; how chat runs begin."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final, Self
from uuid import UUID

from pydantic import Field, JsonValue, model_validator

from . import _sql
from ._models import Input, Json, JsonObject, Key, Page, Row, RunId, RunKind, RunStatus
from ._pages import page
from ._query import Statement, Steps, query
from ._statements import get, maker, many, one, refuse_differences, transition
from .errors import Conflict, InvalidPayload
from .ids import new_run_id

_SQL: Final = _sql.load("runs")
RUN: Final = "run"
_EXCLUSIVE: Final = "runs_tenant_id_thread_id_key"


class Run(Row):
    """A run: of a pipeline (feature) or of a conversation (chat)."""

    id: UUID
    tenant_id: str
    kind: RunKind
    name: str | None
    thread_id: str | None
    subject_id: str | None
    phase: str | None
    status: RunStatus
    input: JsonValue
    output: JsonValue
    error: JsonValue
    exclusive: bool
    idempotency_key: str | None
    parent_run_id: UUID | None
    forked_from_run_id: UUID | None
    forked_at_seq: int | None
    trace_id: str | None
    metadata: dict[str, JsonValue]
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime
    cancel_requested_at: datetime | None
    finished_at: datetime | None


class FoundRun(Row):
    """A run that is looked for by a part of its id."""

    id: UUID
    tenant_id: str
    kind: RunKind
    name: str | None
    status: RunStatus
    created_at: datetime


class DeletedRun(Row):
    """The id of a run that is no more."""

    id: UUID


class NewRun(Input):
    """What all new runs have in common.

    `exclusive` allows one active exclusive run per thread at a time. `idempotency_key` is the
    caller's own, unique per tenant: who creates with it a second time gets the first one's run.
    """

    entity: ClassVar[str] = RUN

    id: RunId = Field(default_factory=new_run_id)
    """Made here, before the first attempt: repeating a write with it is safe."""
    thread_id: Key | None = None
    """The conversation to which the run belongs."""
    subject_id: Key | None = None
    """Who the run is for: a user, a team; the application chooses."""
    input: Json = None
    """What the run is asked; None: nothing."""
    exclusive: bool = False
    """Allow no other active exclusive run of the thread; needs a `thread_id`."""
    idempotency_key: Key | None = None
    """The caller's own key, unique per tenant: a second create answers the first one's run."""
    parent_run_id: RunId | None = None
    """The run that starts this one; it may end, or go, before it."""
    trace_id: Key | None = None
    """The trace (W3C Trace Context) in which the run is made."""
    metadata: JsonObject = Field(default_factory=dict)
    """A JSON object for what the application adds."""

    @model_validator(mode="after")
    def _fields_fit(self) -> Self:
        if self.exclusive and self.thread_id is None:
            raise InvalidPayload("exclusive", "needs a thread_id")
        if self.parent_run_id == self.id:
            raise InvalidPayload("parent_run_id", "is the run's own id")
        return self


class NewChatRun(NewRun):
    """A chat run to create. A `tenant_id` that is None is the transaction's own."""

    optional_fields: ClassVar[frozenset[str]] = frozenset({"tenant_id"})

    tenant_id: Key | None = None
    """Whose run it is; None: the transaction's tenant."""
    name: Key | None = None
    """What the run is called; many runs may share it."""


@query
def create_run(data: NewChatRun) -> Statement[Run]:
    """Create a pending chat run.

    Idempotent by the id of `data`, and by its idempotency key when it has one: a repeated
    create answers the run that is there. Raises `Conflict` when that one differs, or when
    another exclusive run of the thread is active.
    """
    parameters = data.parameters()
    return one(
        Run,
        _SQL["create_run"],
        parameters,
        absent=lambda: existing_run(data, "chat", data.tenant_id),
    )


@query
def find_created_run(data: NewRun, tenant_id: Key | None) -> Statement[Run | None]:
    """Return the run that stands in the way of creating this one, or None.

    The run that has its id, else the one that has its idempotency key, else the active
    exclusive run of its thread.
    """
    make = maker(Run)
    parameters = {
        "id": data.id,
        "tenant_id": tenant_id,
        "idempotency_key": data.idempotency_key,
        "exclusive": data.exclusive,
        "thread_id": data.thread_id,
    }
    return Statement(
        _SQL["find_created_run"], parameters, lambda rows: make(rows[0]) if rows else None
    )


def existing_run(data: NewRun, kind: RunKind, tenant_id: str | None) -> Steps[Run]:
    """Answer the run that stood in the way of a create, when it is the same."""
    run = yield from find_created_run.bind(data, tenant_id)
    if run is None:
        # Whoever stood in the way has been deleted or has ended since; the caller may repeat.
        raise Conflict("another run stood in the way and is gone")
    same_key = data.idempotency_key is not None and run.idempotency_key == data.idempotency_key
    if run.id != data.id and not same_key:
        raise Conflict(f"run {run.id} is active in the thread", constraint=_EXCLUSIVE)
    if run.kind != kind:
        raise Conflict(f"run {run.id} exists with another kind")
    refuse_differences(data, run)
    return run


@query
def get_run(run_id: RunId) -> Statement[Run]:
    """Return a run. Raises `NotFound`."""
    return get(Run, _SQL["get_run"], RUN, run_id, {"run_id": run_id})


@query
def list_runs(
    *,
    tenant_id: Key | None = None,
    kind: RunKind | None = None,
    status: RunStatus | None = None,
    thread_id: Key | None = None,
    subject_id: Key | None = None,
    name: Key | None = None,
    parent_run_id: RunId | None = None,
    cursor: str | None = None,
    page_size: int = 100,
) -> Statement[Page[Run]]:
    """Return a page of a tenant's runs, newest first.

    Newest by the run's id, which starts with the time at which it was made. A filter that is
    None does not filter; a tenant that is None is the transaction's own. `cursor` is the
    `next_cursor` of the page before, asked with the same filters.
    """
    filters: dict[str, Any] = {
        "tenant_id": tenant_id,
        "kind": kind,
        "status": status,
        "thread_id": thread_id,
        "subject_id": subject_id,
        "name": name,
        "parent_run_id": parent_run_id,
    }
    key = {"before_id": "id"}
    return page(Run, _SQL["list_runs"], filters, key=key, cursor=cursor, page_size=page_size)


@query
def find_runs_between(first_id: UUID, last_id: UUID) -> Statement[list[FoundRun]]:
    """Return the newest two runs whose ids lie between two, inclusive, of any tenant.

    One answer says that the beginning of an id, from its zeros to its last possible digits, is
    enough to know the run by.
    """
    ends = {"first_id": first_id, "last_id": last_id}
    return many(FoundRun, _SQL["find_runs_between"], ends)


@query
def delete_run(run_id: RunId) -> Statement[DeletedRun]:
    """Delete a run that has ended, with all that hangs off it. Nothing of it is left.

    Raises `NotFound`, `InvalidTransition` when the run is active, `Conflict` when a fork
    still reads events of it (delete the forks first) or a hold keeps it.
    """
    return transition(
        DeletedRun, _SQL["delete_run"], {"run_id": run_id}, RUN, lambda: get_run.bind(run_id)
    )
