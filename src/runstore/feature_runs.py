"""Feature runs: runs of a pipeline, from phase to phase."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Final
from uuid import UUID

from . import _sql
from ._arrays import arrays_of
from ._json import nullable
from ._models import JsonGiven, Key, RunId, RunStatus
from ._query import Statement, Steps, query
from ._statements import (
    columns_of,
    one,
    same_many,
    same_taken,
    transition,
)
from .errors import InvalidPayload, InvalidTransition, NotFound, RunstoreError
from .run_states import RunState, get_run_state, repeated_end
from .runs import NewRun, Run, existing_run, get_run
from .tool_calls import NewToolCall, find_tool_calls

_SQL: Final = _sql.load("feature_runs")
_FEATURE_RUN: Final = "feature run"


class NewFeatureRun(NewRun):
    """A feature run to create. `phase` is the phase in which it starts, if any."""

    entity: ClassVar[str] = _FEATURE_RUN
    changing_fields: ClassVar[frozenset[str]] = frozenset({"phase"})
    optional_fields: ClassVar[frozenset[str]] = frozenset({"tenant_id"})

    tenant_id: Key | None = None
    """Whose run it is; None: the transaction's tenant."""
    name: Key
    """What the pipeline is called; many runs share it."""
    phase: Key | None = None
    """The phase in which it starts, if any."""


@query
def create_feature_run(data: NewFeatureRun) -> Statement[Run]:
    """Create a running feature run and write its event `run.started`.

    Idempotent by the id of `data`, and by its idempotency key when it has one: a repeated
    create answers the run that is there. Raises `Conflict` when that one differs, or when
    another exclusive run of the thread is active.
    """
    return one(
        Run,
        _SQL["create_feature_run"],
        data.parameters(),
        absent=lambda: existing_run(data, "feature", data.tenant_id),
    )


@query
def update_feature_run_phase(run_id: RunId, phase: Key) -> Statement[RunState]:
    """Move a running feature run to another phase and write its event `run.phase_changed`.

    Idempotent: a move to the phase in which the run is changes nothing. Locks the run's head.
    Raises `NotFound` or `InvalidTransition`.
    """
    return _change(
        "update_feature_run_phase",
        run_id,
        "running",
        {"phase": phase},
        lambda run: get_run_state.bind(run.id, ["run.phase_changed", "run.started"]),
        allowed_in="running",
    )


@query
def advance_feature_run(
    run_id: RunId, phase: Key, tool_calls: Sequence[NewToolCall]
) -> Statement[RunState]:
    """Move a running feature run to another phase, with the tool calls of the one that it leaves.

    What `create_tool_calls` and `update_feature_run_phase` do, in one statement and all or none.
    Idempotent by the ids of the calls: to repeat it changes nothing, also when the run has ended
    since, and answers the run as it is by now. Locks the run's head. Raises `NotFound`,
    `InvalidTransition`, or `Conflict` when an id holds another content or only some of the calls
    exist.
    """
    of_run, columns = columns_of(tool_calls, NewToolCall, "tool_calls")
    if of_run != run_id:
        raise InvalidPayload("tool_calls", "belong to another run")

    # Made when they are needed, which is hardly ever.
    stored = partial(find_tool_calls.bind, run_id, columns["id"])
    moved = partial(get_run_state.bind, run_id, ["run.phase_changed"])

    def repeated() -> Steps[RunState]:
        if not (yield from same_many(tool_calls, stored())):
            run = yield from _get_feature_run(run_id)
            raise InvalidTransition(_FEATURE_RUN, run_id, run.status)
        return (yield from moved())

    def refused(error: RunstoreError) -> Steps[RunState]:
        yield from same_taken(error, tool_calls, stored())
        return (yield from moved())

    sql = _SQL["advance_feature_run"]
    parameters = {**arrays_of(sql.text, columns), "run_id": run_id, "phase": phase}
    return one(RunState, sql, parameters, absent=repeated, refused=refused)


@query
def complete_feature_run(run_id: RunId, *, output: JsonGiven = None) -> Statement[RunState]:
    """Complete a running feature run and write its event `run.completed`.

    Idempotent: repeated with the same output it answers as it did. Locks the run's head. Raises
    `NotFound` or `InvalidTransition`.
    """
    given = {"output": nullable(output, "output")}
    return _change("complete_feature_run", run_id, "completed", given, repeated_end)


@query
def fail_feature_run(
    run_id: RunId, *, error: JsonGiven = None, output: JsonGiven = None
) -> Statement[RunState]:
    """Fail a running feature run and write its event `run.failed`; `error` says why.

    `output` is what it had made by then. Idempotent: repeated with the same error and output it
    answers as it did. Locks the run's head. Raises `NotFound` or `InvalidTransition`.
    """
    given = {"output": nullable(output, "output"), "error": nullable(error, "error")}
    return _change("fail_feature_run", run_id, "failed", given, repeated_end)


def _change(
    name: str,
    run_id: UUID,
    status: RunStatus,
    given: dict[str, Any],
    answer: Callable[[Run], Steps[RunState] | Statement[RunState]],
    *,
    allowed_in: RunStatus | None = None,
) -> Statement[RunState]:
    return transition(
        RunState,
        _SQL[name],
        {"run_id": run_id, **given},
        _FEATURE_RUN,
        lambda: _get_feature_run(run_id),
        leaves={"status": status, **given},
        allowed_in=allowed_in,
        answer=answer,
    )


def _get_feature_run(run_id: UUID) -> Steps[Run]:
    try:
        run = yield from get_run.bind(run_id)
    except NotFound:
        raise NotFound(_FEATURE_RUN, run_id) from None
    if run.kind != "feature":
        raise NotFound(_FEATURE_RUN, run_id)
    return run
