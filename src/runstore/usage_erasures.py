"""Usage erasures: a person's quotas removed, and what the person used given another name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from . import _sql
from ._models import Row
from ._query import Statement, query
from ._statements import maker

RowT = TypeVar("RowT", bound=Row)

_SQL: Final = _sql.load("usage_erasures")


class DeletedQuotas(Row):
    """How many quotas and counters are no more, and how many quotas are left."""

    quotas: int
    usage_counters: int
    quotas_left: int


class BlankedLogs(Row):
    """How many entries of the usage log have another name, and up to when."""

    row_count: int
    reached: datetime | None


class BlankedReservations(Row):
    """How many reservations have another name, which were locked, and the last one looked at."""

    row_count: int
    busy_ids: list[UUID]
    looked_at: datetime
    after_id: UUID | None
    after_tenant_id: str | None
    after_subject_id: str | None


@query
def delete_subject_quota(subject_id: str) -> Statement[DeletedQuotas]:
    """Delete one of a subject's quotas, with its counters."""
    return _only(DeletedQuotas, "delete_subject_quota", {"subject_id": subject_id})


@query
def blank_usage_logs(
    subject_id: str, pseudonym: str, since: datetime | None, row_limit: int
) -> Statement[BlankedLogs]:
    """Give some of a subject's usage another name, the oldest first."""
    parameters = {
        "subject_id": subject_id,
        "pseudonym": pseudonym,
        "since": since,
        "row_limit": row_limit,
    }
    return _only(BlankedLogs, "blank_usage_logs", parameters)


@query
def blank_usage_reservations(
    subject_id: str, pseudonym: str, after: BlankedReservations | None, row_limit: int
) -> Statement[BlankedReservations]:
    """Give a subject's reservations another name, among the next ones of all that there are."""
    parameters = {
        "subject_id": subject_id,
        "pseudonym": pseudonym,
        "after_id": after and after.after_id,
        "after_tenant_id": after and after.after_tenant_id,
        "after_subject_id": after and after.after_subject_id,
        "row_limit": row_limit,
    }
    return _only(BlankedReservations, "blank_usage_reservations", parameters)


def _only(model: type[RowT], name: str, parameters: Mapping[str, object]) -> Statement[RowT]:
    make = maker(model)
    return Statement(_SQL[name], parameters, lambda rows: make(rows[0]), prepare=False)
