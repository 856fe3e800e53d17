"""Runs of either kind: what they share, finding them, and the life of chat runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Final, Self
from uuid import UUID

from pydantic import Field, JsonValue, model_validator

from . import _sql
from ._json import nullable
from ._models import Input, Json, JsonObject, Key, Page, Row, RunId, RunKind, RunStatus
from ._pages import page
from ._query import Statement, Steps, query
from ._statements import (
    get,
    maker,
    many,
    not_found,
    one,
    refuse_differences,
    transition,
)
from .errors import Conflict, InvalidPayload, InvalidTransition
from .ids import new_run_id
from .run_events import EventLike, event_columns, event_of, find_appended_events, read_run_events

_SQL: Final = _sql.load("runs")
_RUN: Final = "run"
_EXCLUSIVE: Final = "runs_tenant_id_thread_id_key"


Silence = Annotated[timedelta, Field(ge=timedelta(), le=timedelta(days=366))]
"""For how long nothing was heard."""


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


class RunState(Row):
    """What a change of a run left: its status and phase, and the number of the event it wrote."""

    id: UUID
    status: RunStatus
    phase: str | None
    last_seq: int
    updated_at: datetime


class Heartbeat(Row):
    """A run's newest sign of life, and when somebody asked it to stop, if anybody did."""

    run_id: UUID
    heartbeat_at: datetime
    cancel_requested_at: datetime | None


class StalledRun(Row):
    """A running run that has given no sign of life for a while."""

    id: UUID
    tenant_id: str
    kind: RunKind
    name: str | None
    thread_id: str | None
    phase: str | None
    started_at: datetime | None
    heartbeat_at: datetime


class DeletedRun(Row):
    """The id of a run that is no more."""

    id: UUID


class NewRun(Input):
    """What all new runs have in common.

    `exclusive` allows one active exclusive run per thread at a time. `idempotency_key` is the
    caller's own, unique per tenant: who creates with it a second time gets the first one's run.
    """

    entity: ClassVar[str] = _RUN

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
    return get(Run, _SQL["get_run"], _RUN, run_id, {"run_id": run_id})


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
def get_run_state(run_id: RunId, types: list[str]) -> Statement[RunState]:
    """Return what a change left of a run, by the types of the event that it wrote.

    `last_seq` is the newest such event's number; where it is gone, the number of the last event
    of all. Raises `NotFound`.
    """
    return one(
        RunState,
        _SQL["get_run_state"],
        {"run_id": run_id, "types": types},
        absent=lambda: not_found(_RUN, run_id),
        prepare=False,
    )


@query
def start_run(run_id: RunId, *, start_id: UUID | None = None) -> Statement[RunState]:
    """Start a pending run and write its event `run.started`.

    Of any number of callers one starts it; the others hear `InvalidTransition`. With a `start_id`
    of the caller's it may be repeated when its answer was lost: who repeats it with the same id is
    the one. Locks the run's head. Raises `NotFound` or `InvalidTransition`.
    """
    return one(
        RunState,
        _SQL["start_run"],
        {"run_id": run_id, "start_id": start_id},
        absent=lambda: _started(run_id, start_id),
    )


def _started(run_id: UUID, start_id: UUID | None) -> Steps[RunState]:
    run = yield from get_run.bind(run_id)
    if start_id is not None:
        found = yield from find_appended_events.bind(run_id, start_id, 1)
        if found and found[0].type == "run.started":
            return RunState(
                id=run.id,
                status=run.status,
                phase=run.phase,
                last_seq=found[0].seq,
                updated_at=run.updated_at,
            )
    raise InvalidTransition(_RUN, run_id, run.status)


@query
def complete_run(
    run_id: RunId, *, output: JsonValue = None, events: Sequence[EventLike] = ()
) -> Statement[RunState]:
    """Complete a run, of either kind, together with its last events.

    `events` and then `run.completed` are appended; they and the status commit together.
    Idempotent: repeated with the same output and events it answers as it did. Locks the run's
    head. Raises `NotFound` or `InvalidTransition`.
    """
    given = {"output": nullable(output, "output")}
    return _end("complete_run", run_id, "completed", given, events)


@query
def fail_run(
    run_id: RunId,
    *,
    error: JsonValue,
    output: JsonValue = None,
    events: Sequence[EventLike] = (),
) -> Statement[RunState]:
    """Fail a run, of either kind, together with its last events; `error` says why.

    `events` and then `run.failed` are appended; they and the status commit together. `output`
    is what the run had made by then. Idempotent: repeated with the same error, output and events
    it answers as it did. Locks the run's head. Raises `NotFound` or `InvalidTransition`.
    """
    given = {"error": nullable(error, "error"), "output": nullable(output, "output")}
    return _end("fail_run", run_id, "failed", given, events)


@query
def cancel_run(
    run_id: RunId, *, error: JsonValue = None, events: Sequence[EventLike] = ()
) -> Statement[RunState]:
    """Cancel a run, of either kind, together with its last events; `error` says why.

    `events` and then `run.cancelled` are appended; they and the status commit together.
    Idempotent: repeated with the same error and events it answers as it did. Locks the run's
    head. Raises `NotFound` or `InvalidTransition`.
    """
    given = {"error": nullable(error, "error")}
    return _end("cancel_run", run_id, "cancelled", given, events)


def _end(
    name: str,
    run_id: UUID,
    status: RunStatus,
    given: dict[str, Any],
    events: Sequence[EventLike],
) -> Statement[RunState]:
    return transition(
        RunState,
        _SQL[name],
        {"run_id": run_id, **given, **event_columns(events)},
        _RUN,
        lambda: get_run.bind(run_id),
        leaves={"status": status, **given},
        answer=lambda run: repeated_end(run, events),
    )


def repeated_end(run: Run, events: Sequence[EventLike] = ()) -> Steps[RunState]:
    """Answer a second time how a run ended, when its log ends with the same events."""
    state = yield from get_run_state.bind(run.id, [f"run.{run.status}"])
    if events:
        first = state.last_seq - len(events)
        page = yield from read_run_events.bind(
            run.id, after=max(0, first - 1), page_size=len(events)
        )
        if [row.seq for row in page.events] != [*range(first, state.last_seq)] or any(
            event_of(event).differences(row) for event, row in zip(events, page.events, strict=True)
        ):
            raise InvalidTransition(_RUN, run.id, run.status)
    return state


@query
def request_cancel(run_id: RunId) -> Statement[RunState]:
    """Ask a run to stop and write its event `run.cancel_requested`; the run decides when it does.

    `get_run` and `heartbeat_run` show the request. Asking again changes nothing and succeeds, also
    when the run has ended since. Locks the run's head. Raises `NotFound`, or `InvalidTransition`
    when the run has ended.
    """
    return one(
        RunState,
        _SQL["request_cancel"],
        {"run_id": run_id},
        absent=lambda: _requested(run_id),
    )


def _requested(run_id: UUID) -> Steps[RunState]:
    run = yield from get_run.bind(run_id)
    if run.cancel_requested_at is None:
        raise InvalidTransition(_RUN, run_id, run.status)
    return (yield from get_run_state.bind(run_id, ["run.cancel_requested"]))


@query
def heartbeat_run(run_id: RunId) -> Statement[Heartbeat]:
    """Record that a run's worker is alive, and return whether the run was asked to stop.

    Raises `NotFound`, or `InvalidTransition` when the run has ended: its worker should stop.
    """
    return transition(
        Heartbeat, _SQL["heartbeat_run"], {"run_id": run_id}, _RUN, lambda: get_run.bind(run_id)
    )


@query
def list_stalled_runs(
    *,
    silent_for: Silence,
    tenant_id: Key | None = None,
    cursor: str | None = None,
    page_size: int = 100,
) -> Statement[Page[StalledRun]]:
    """Return a page of a tenant's running runs without a sign of life, longest silent first.

    A heartbeat, an append of events and a change of status are signs of life. The clock is
    the database's.
    """
    return page(
        StalledRun,
        _SQL["list_stalled_runs"],
        {"tenant_id": tenant_id, "silent_for": silent_for},
        key={"after_heartbeat_at": "heartbeat_at", "after_id": "id"},
        cursor=cursor,
        page_size=page_size,
    )


@query
def delete_run(run_id: RunId) -> Statement[DeletedRun]:
    """Delete a run that has ended, with all that hangs off it. Nothing of it is left.

    Raises `NotFound`, `InvalidTransition` when the run is active, `Conflict` when a fork
    still reads events of it (delete the forks first) or a hold keeps it.
    """
    return transition(
        DeletedRun, _SQL["delete_run"], {"run_id": run_id}, _RUN, lambda: get_run.bind(run_id)
    )
