"""Sandboxes: the isolated machines in which runs work."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final, Literal
from uuid import UUID

from pydantic import Field, JsonValue

from . import _sql
from ._models import Input, JsonObject, Key, Row, RunId
from ._query import Statement, Steps, query, reads
from ._statements import change, get, maker, many, one, same
from .errors import InvalidTransition

_SQL: Final = _sql.load("sandboxes")
_SANDBOX: Final = "sandbox"

SandboxStatus = Literal["creating", "running", "paused", "stopped", "failed"]


class Sandbox(Row):
    """A run's row of an isolated machine; `id` is its provider's."""

    run_id: UUID
    id: str
    tenant_id: str
    provider: str | None
    template: str | None
    status: SandboxStatus
    metadata: dict[str, JsonValue]
    created_at: datetime
    updated_at: datetime
    terminated_at: datetime | None


class NewSandbox(Input):
    """A sandbox to record; `id` is its provider's."""

    entity: ClassVar[str] = _SANDBOX
    changing_fields: ClassVar[frozenset[str]] = frozenset({"status"})

    run_id: RunId
    """The run that uses it; a machine that several runs use has a row for each."""
    id: Key
    """The provider's id of the machine."""
    provider: Key | None = None
    """Who runs the machine."""
    template: Key | None = None
    """The image or template that it is made from."""
    status: Literal["creating", "running", "paused"] = "creating"
    """The state that it is in now."""
    metadata: JsonObject = Field(default_factory=dict)
    """A JSON object for what the application adds."""


@query
def create_sandbox_record(data: NewSandbox) -> Statement[Sandbox]:
    """Record that a run uses a sandbox.

    Idempotent by run and id: a repeated create answers the stored row. Raises `NotFound` when
    the run does not exist, `Conflict` when the stored row differs.
    """
    return one(
        Sandbox,
        _SQL["create_sandbox_record"],
        data.parameters(),
        absent=lambda: same(
            data, get_sandbox.bind(data.id, run_id=data.run_id), ("run", data.run_id)
        ),
    )


@query
def get_sandbox(sandbox_id: Key, *, run_id: RunId | None = None) -> Statement[Sandbox]:
    """Return a sandbox: the row of this run, or the newest run's. Raises `NotFound`."""
    parameters = {"sandbox_id": sandbox_id, "run_id": run_id}
    return get(Sandbox, _SQL["get_sandbox"], _SANDBOX, sandbox_id, parameters)


@query
def update_sandbox_status(sandbox_id: Key, status: SandboxStatus) -> Statement[list[Sandbox]]:
    """Change the status of a sandbox in every run that uses it, and return the changed rows.

    Rows that are stopped or failed stay as they are, and none goes back to creating. Idempotent:
    where no row allows the change and some have the status, those that had it last are returned.
    Raises `NotFound`, `InvalidTransition` when no row allows the change, `InvalidPayload` for a
    status that does not exist.
    """
    make = maker(Sandbox)

    def found() -> Steps[list[Sandbox] | None]:
        changed = yield from find_changed_sandboxes.bind(sandbox_id, status)
        if changed:
            return changed
        sandbox = yield from get_sandbox.bind(sandbox_id)
        if status != "creating" and (yield from find_open_sandbox.bind(sandbox_id)):
            return None
        raise InvalidTransition(_SANDBOX, sandbox_id, sandbox.status)

    return change(
        _SQL["update_sandbox_status"],
        {"sandbox_id": sandbox_id, "status": status},
        lambda rows: [make(row) for row in rows],
        _SANDBOX,
        found,
    )


@query
@reads(UUID)
def find_open_sandbox(sandbox_id: str) -> Statement[UUID | None]:
    """Return a run whose row of a sandbox is neither stopped nor failed, or None."""
    return Statement(
        _SQL["find_open_sandbox"],
        {"sandbox_id": sandbox_id},
        lambda rows: rows[0][0] if rows else None,
    )


@query
def find_changed_sandboxes(sandbox_id: str, status: SandboxStatus) -> Statement[list[Sandbox]]:
    """Return those of a sandbox's rows that were last changed to a status, all at once."""
    parameters = {"sandbox_id": sandbox_id, "status": status}
    return many(Sandbox, _SQL["find_changed_sandboxes"], parameters)
