"""Snapshots: saved states of a sandbox."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final, Self
from uuid import UUID

from pydantic import Field, JsonValue, model_validator

from . import _sql
from ._models import Amount, Input, JsonObject, Key, Page, Row, RunId
from ._pages import page
from ._query import Statement, query
from ._statements import get, one, same
from .errors import InvalidPayload

_SQL: Final = _sql.load("snapshots")
_SNAPSHOT: Final = "snapshot"


class Snapshot(Row):
    """A saved state of a sandbox; `id` is its provider's, `size_bytes` None when not reported."""

    run_id: UUID
    id: str
    tenant_id: str
    sandbox_id: str
    phase: str | None
    parent_snapshot_id: str | None
    size_bytes: int | None
    metadata: dict[str, JsonValue]
    created_at: datetime


class NewSnapshot(Input):
    """A snapshot to record; `id` is its provider's."""

    entity: ClassVar[str] = _SNAPSHOT

    run_id: RunId
    """The run that it belongs to."""
    id: Key
    """The provider's id of the saved state."""
    sandbox_id: Key
    """The sandbox whose state it is, of the same run."""
    phase: Key | None = None
    """The phase at whose end, or within which, it was taken."""
    parent_snapshot_id: Key | None = None
    """The snapshot of the same run on which it builds."""
    size_bytes: Amount | None = None
    """Its size in bytes; None: not reported."""
    metadata: JsonObject = Field(default_factory=dict)
    """A JSON object for what the application adds."""

    @model_validator(mode="after")
    def _not_its_own_parent(self) -> Self:
        if self.parent_snapshot_id == self.id:
            raise InvalidPayload("parent_snapshot_id", "is the snapshot's own id")
        return self


@query
def create_snapshot_record(data: NewSnapshot) -> Statement[Snapshot]:
    """Record a snapshot of a sandbox.

    Idempotent by run and id: a repeated create answers the stored row. Raises `NotFound` when
    the run has no such sandbox or parent snapshot, `Conflict` when the stored row differs.
    """
    return one(
        Snapshot,
        _SQL["create_snapshot_record"],
        data.parameters(),
        absent=lambda: same(
            data, get_snapshot.bind(data.run_id, data.id), ("sandbox", data.sandbox_id)
        ),
    )


@query
def get_snapshot(run_id: RunId, snapshot_id: Key) -> Statement[Snapshot]:
    """Return a snapshot of a run. Raises `NotFound`."""
    parameters = {"run_id": run_id, "snapshot_id": snapshot_id}
    return get(Snapshot, _SQL["get_snapshot"], _SNAPSHOT, snapshot_id, parameters)


@query
def list_snapshots(
    run_id: RunId,
    *,
    sandbox_id: Key | None = None,
    cursor: str | None = None,
    page_size: int = 1000,
) -> Statement[Page[Snapshot]]:
    """Return a page of a run's snapshots, or of one of its sandboxes', oldest first."""
    return page(
        Snapshot,
        _SQL["list_snapshots"],
        {"run_id": run_id, "sandbox_id": sandbox_id},
        key={"after_created_at": "created_at", "after_id": "id"},
        cursor=cursor,
        page_size=page_size,
    )
