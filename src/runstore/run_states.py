"""The life of a run of either kind: started, alive, asked to stop, ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import Field

from . import _sql
from ._json import nullable
from ._models import JsonGiven, Key, Page, Row, RunId, RunKind, RunStatus
from ._pages import page
from ._query import Statement, Steps, query, reads
from ._statements import not_found, one, transition
from .errors import InvalidTransition
from .run_events import EventLike, event_columns, event_of, find_appended_events, read_run_events
from .runs import RUN, Run, get_run

_SQL: Final = _sql.load("run_states")

Silence = Annotated[timedelta, Field(ge=timedelta(), le=timedelta(days=366))]
"""For how long nothing was heard."""


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
        absent=lambda: not_found(RUN, run_id),
        prepare=False,
    )


@query
@reads(int | None)
def find_end_size(run_id: UUID, seq: int) -> Statement[int | None]:
    """Return how many events the end of a run wrote; None: it is gone, or has no size."""
    return Statement(
        _SQL["find_end_size"],
        {"run_id": run_id, "seq": seq},
        lambda rows: rows[0][0] if rows else None,
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
    raise InvalidTransition(RUN, run_id, run.status)


@query
def complete_run(
    run_id: RunId, *, output: JsonGiven = None, events: Sequence[EventLike] = ()
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
    error: JsonGiven,
    output: JsonGiven = None,
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
    run_id: RunId, *, error: JsonGiven = None, events: Sequence[EventLike] = ()
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
        RUN,
        lambda: get_run.bind(run_id),
        leaves={"status": status, **given},
        answer=lambda run: repeated_end(run, events),
    )


def repeated_end(run: Run, events: Sequence[EventLike] = ()) -> Steps[RunState]:
    """Answer a second time how a run ended, when it ended with the same events."""
    state = yield from get_run_state.bind(run.id, [f"run.{run.status}"])
    size = yield from find_end_size.bind(run.id, state.last_seq)
    if size not in (None, len(events) + 1):
        raise InvalidTransition(RUN, run.id, run.status)
    if events:
        first = state.last_seq - len(events)
        page = yield from read_run_events.bind(
            run.id, after=max(0, first - 1), page_size=len(events)
        )
        if [row.seq for row in page.events] != [*range(first, state.last_seq)] or any(
            event_of(event).differences(row) for event, row in zip(events, page.events, strict=True)
        ):
            raise InvalidTransition(RUN, run.id, run.status)
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
        raise InvalidTransition(RUN, run_id, run.status)
    return (yield from get_run_state.bind(run_id, ["run.cancel_requested"]))


@query
def heartbeat_run(run_id: RunId) -> Statement[Heartbeat]:
    """Record that a run's worker is alive, and return whether the run was asked to stop.

    Raises `NotFound`, or `InvalidTransition` when the run has ended: its worker should stop.
    """
    return transition(
        Heartbeat, _SQL["heartbeat_run"], {"run_id": run_id}, RUN, lambda: get_run.bind(run_id)
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
