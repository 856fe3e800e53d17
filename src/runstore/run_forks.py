"""Run forks: runs that go on from an event of another run."""

from __future__ import annotations

from typing import ClassVar, Final
from uuid import UUID

from . import _sql
from ._models import Amount, Key, Page, RunId
from ._pages import page
from ._query import Statement, Steps, query
from ._statements import one
from .errors import Conflict, EventsPurged, InvalidPayload
from .run_events import get_run_head
from .runs import NewRun, Run, existing_run, find_created_run, get_run

_SQL: Final = _sql.load("run_forks")


class NewRunFork(NewRun):
    """A fork to create. It is of its origin's kind and tenant; without a `name` it has its name."""

    entity: ClassVar[str] = "run fork"
    optional_fields: ClassVar[frozenset[str]] = frozenset({"name"})

    name: Key | None = None
    """What the fork is called; None: what its origin is called."""


@query
def fork_run(run_id: RunId, at_seq: Amount, data: NewRunFork) -> Statement[Run]:
    """Create a run that goes on from an event of another one, and return it.

    The fork reads its origin's events up to `at_seq`, inclusive, and then its own, which go on
    at `at_seq + 1`. It refers to the shared events and copies none, whatever their number; what
    the origin appends later does not reach it. The origin may be running, ended, or a fork. A
    fork of a chat run is pending, one of a feature run is running, in its origin's phase.

    Idempotent like `create_run`. Keeps its origin from being deleted. Raises `NotFound` when
    the origin does not exist, `InvalidPayload` when it has no event `at_seq`, `EventsPurged` when
    events of it were purged, `Conflict` as `create_run` does.
    """
    parameters = data.parameters() | {"run_id": run_id, "at_seq": at_seq}
    return one(
        Run, _SQL["fork_run"], parameters, absent=lambda: _existing_fork(run_id, at_seq, data)
    )


def _existing_fork(run_id: UUID, at_seq: int, data: NewRunFork) -> Steps[Run]:
    origin = yield from get_run.bind(run_id)
    head = yield from get_run_head.bind(run_id)
    if at_seq > head.last_seq:
        raise InvalidPayload("at_seq", f"is beyond the run's last event, {head.last_seq}")
    if head.purged_seq is not None and not (
        yield from find_created_run.bind(data, origin.tenant_id)
    ):
        raise EventsPurged(run_id, head.purged_seq)
    fork = yield from existing_run(data, origin.kind, origin.tenant_id)
    if (fork.forked_from_run_id, fork.forked_at_seq) != (run_id, at_seq):
        raise Conflict(f"run {fork.id} exists and is not a fork of this event")
    return fork


@query
def list_forks(
    run_id: RunId, *, cursor: str | None = None, page_size: int = 100
) -> Statement[Page[Run]]:
    """Return a page of a run's direct forks, oldest first."""
    return page(
        Run,
        _SQL["list_forks"],
        {"run_id": run_id},
        key={"after_id": "id"},
        cursor=cursor,
        page_size=page_size,
    )
