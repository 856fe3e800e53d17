"""Memory records: what a run carries from one phase to the next."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final
from uuid import UUID

from pydantic import Field, JsonValue

from . import _sql
from ._models import ChildId, Created, Input, JsonObject, Key, Row, RunId, Text, child_of_run
from ._query import Statement, query
from ._statements import create, get, many
from .ids import run_of

_SQL: Final = _sql.load("memory_records")
_MEMORY_RECORD: Final = "memory record"


class MemoryRecord(Row):
    """Something that a run remembers; `phase` is the phase that learnt it."""

    run_id: UUID
    id: UUID
    tenant_id: str
    phase: str | None
    kind: str
    content: str
    metadata: dict[str, JsonValue]
    created_at: datetime


class NewMemoryRecord(Input):
    """Something to remember."""

    entity: ClassVar[str] = _MEMORY_RECORD

    run_id: RunId
    """The run that it belongs to."""
    id: ChildId = Field(default_factory=child_of_run)
    """Made here, before the first attempt: repeating a write with it is safe."""
    phase: Key | None = None
    """The phase that learnt it."""
    kind: Key
    """What sort of memory it is; the application chooses the words."""
    content: Text
    """What is to be remembered."""
    metadata: JsonObject = Field(default_factory=dict)
    """A JSON object for what the application adds."""


@query
def create_memory_record(data: NewMemoryRecord) -> Statement[Created]:
    """Remember something for the rest of a run.

    Idempotent by the id of `data`. Raises `NotFound` when the run does not exist, `Conflict`
    when the id holds another content.
    """
    return create(
        _SQL["create_memory_record"],
        data,
        stored=get_memory_record.bind,
        parent=("run", "run_id"),
    )


@query
def get_memory_record(memory_record_id: UUID) -> Statement[MemoryRecord]:
    """Return one memory. Raises `NotFound`."""
    parameters = {"run_id": run_of(memory_record_id), "memory_record_id": memory_record_id}
    return get(
        MemoryRecord, _SQL["get_memory_record"], _MEMORY_RECORD, memory_record_id, parameters
    )


@query
def get_memory_records(run_id: RunId) -> Statement[list[MemoryRecord]]:
    """Return all that a run remembers, oldest first."""
    return many(MemoryRecord, _SQL["get_memory_records"], {"run_id": run_id})
