"""Phase results: one for each attempt at a phase of a run."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal
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
    Row,
    RunId,
    child_of_run,
)
from ._query import Statement, query
from ._statements import SecondKey, create, get, many, transition
from .ids import run_of
from .runs import get_run

_SQL: Final = _sql.load("phase_results")
_PHASE_RESULT: Final = "phase result"
_ATTEMPT_KEY: Final = SecondKey("phase_results_run_id_phase_attempt_key", "attempt", get_run.bind)

PhaseStatus = Literal["running", "passed", "failed"]


class PhaseResult(Row):
    """One attempt at a phase."""

    run_id: UUID
    id: UUID
    tenant_id: str
    phase: str
    attempt: int
    status: PhaseStatus
    input: JsonValue
    output: JsonValue
    error: JsonValue
    metadata: dict[str, JsonValue]
    created_at: datetime
    finished_at: datetime | None


class NewPhaseResult(Input):
    """An attempt to start. Without an `attempt` it is the next one of its phase."""

    entity: ClassVar[str] = _PHASE_RESULT
    optional_fields: ClassVar[frozenset[str]] = frozenset({"attempt"})

    run_id: RunId
    """The run that it belongs to."""
    id: ChildId = Field(default_factory=child_of_run)
    """Made here, before the first attempt: repeating a write with it is safe."""
    phase: Key
    """The name of the phase."""
    attempt: Annotated[int, Field(strict=True, ge=1, lt=1 << 31)] | None = None
    """From 1, unique within its run and phase; None: the next one."""
    input: Json = None
    """What the phase is given; None: nothing."""
    metadata: JsonObject = Field(default_factory=dict)
    """A JSON object for what the application adds."""


@query
def create_phase_result(data: NewPhaseResult) -> Statement[Created]:
    """Start an attempt at a phase.

    Idempotent by the id of `data`. Raises `NotFound` when the run does not exist, `Conflict`
    when the id holds another content or the attempt has its row already; two callers who both
    leave the number to the database may clash so.
    """
    return create(
        _SQL["create_phase_result"],
        data,
        stored=get_phase_result.bind,
        parent=("run", "run_id"),
        second_key=_ATTEMPT_KEY,
    )


@query
def get_phase_result(phase_result_id: UUID) -> Statement[PhaseResult]:
    """Return one attempt. Raises `NotFound`."""
    parameters = {"run_id": run_of(phase_result_id), "phase_result_id": phase_result_id}
    return get(PhaseResult, _SQL["get_phase_result"], _PHASE_RESULT, phase_result_id, parameters)


@query
def get_phase_results(run_id: RunId) -> Statement[list[PhaseResult]]:
    """Return all attempts of a run, in the order in which they were made."""
    return many(PhaseResult, _SQL["get_phase_results"], {"run_id": run_id})


@query
def pass_phase_result(phase_result_id: UUID, output: JsonGiven) -> Statement[Finished]:
    """Pass a running attempt with what it gave.

    Idempotent: repeated with the same output it answers as it did. Raises `NotFound` or
    `InvalidTransition`.
    """
    given = {"output": nullable(output, "output")}
    return _finish("pass_phase_result", phase_result_id, "passed", given)


@query
def fail_phase_result(
    phase_result_id: UUID, *, error: JsonGiven = None, output: JsonGiven = None
) -> Statement[Finished]:
    """Fail a running attempt; `error` says why, `output` is what it had made by then.

    Idempotent: repeated with the same error and output it answers as it did. Raises `NotFound`
    or `InvalidTransition`.
    """
    given = {"error": nullable(error, "error"), "output": nullable(output, "output")}
    return _finish("fail_phase_result", phase_result_id, "failed", given)


def _finish(name: str, id: UUID, status: PhaseStatus, given: dict[str, Any]) -> Statement[Finished]:
    return transition(
        Finished,
        _SQL[name],
        {"run_id": run_of(id), "phase_result_id": id, **given},
        _PHASE_RESULT,
        lambda: get_phase_result.bind(id),
        leaves={"status": status, **given},
    )
