"""Runs of either kind: what they share, and finding them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Literal
from uuid import UUID

from pydantic import Field, JsonValue

from . import _sql
from ._json import nullable
from ._models import Input, Json, JsonObject, Key, Page, Row, RunId
from ._pages import page
from ._query import Statement, query
from ._statements import get, maker, transition
from .ids import new_run_id

_SQL: Final = _sql.load("runs")
_RUN: Final = "run"

RunKind = Literal["feature", "chat"]
RunStatus = Literal["pending", "running", "completed", "failed", "cancelled"]


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


class NewRun(Input):
    """What new runs of either kind have in common."""

    entity: ClassVar[str] = _RUN
    changing_fields: ClassVar[frozenset[str]] = frozenset({"phase"})
    optional_fields: ClassVar[frozenset[str]] = frozenset({"tenant_id"})

    id: RunId = Field(default_factory=new_run_id)
    tenant_id: Key | None = None
    thread_id: Key | None = None
    subject_id: Key | None = None
    input: Json = None
    idempotency_key: Key | None = None
    parent_run_id: RunId | None = None
    trace_id: Key | None = None
    metadata: JsonObject = Field(default_factory=dict)


@query
def get_run(run_id: UUID) -> Statement[Run]:
    """Return a run. Raises `NotFound`."""
    return get(Run, _SQL["get_run"], _RUN, run_id, {"run_id": run_id})


@query
def find_created_run(
    id: UUID, tenant_id: str | None, idempotency_key: str | None
) -> Statement[Run | None]:
    """Return the run that has this id, else the one that has this idempotency key, or None."""
    make = maker(Run)
    return Statement(
        _SQL["find_created_run"],
        {"id": id, "tenant_id": tenant_id, "idempotency_key": idempotency_key},
        lambda rows: make(rows[0]) if rows else None,
    )


@query
def list_runs(
    *,
    tenant_id: str | None = None,
    kind: RunKind | None = None,
    status: RunStatus | None = None,
    thread_id: str | None = None,
    subject_id: str | None = None,
    name: str | None = None,
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
    }
    key = {"before_id": "id"}
    return page(Run, _SQL["list_runs"], filters, key=key, cursor=cursor, page_size=page_size)


@query
def cancel_run(run_id: UUID, *, error: JsonValue = None) -> Statement[RunState]:
    """Cancel a run that has not ended, whatever its kind; `error` says why.

    Writes the event `run.cancelled`. Locks the run's head. Raises `NotFound` or
    `InvalidTransition`.
    """
    parameters = {"run_id": run_id, "error": nullable(error, "error")}
    return transition(RunState, _SQL["cancel_run"], parameters, _RUN, lambda: get_run.bind(run_id))


@query
def heartbeat_run(run_id: UUID) -> Statement[Heartbeat]:
    """Record that a run's worker is alive, and return whether the run was asked to stop.

    Raises `NotFound`, or `InvalidTransition` when the run has ended: its worker should stop.
    """
    return transition(
        Heartbeat, _SQL["heartbeat_run"], {"run_id": run_id}, _RUN, lambda: get_run.bind(run_id)
    )


@query
def list_stalled_runs(
    *,
    silent_for: timedelta,
    tenant_id: str | None = None,
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
