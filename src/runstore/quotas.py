"""Quotas: how much a subject may use of a meter in a period."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final, Literal
from uuid import UUID

from pydantic import Field, JsonValue

from . import _sql
from ._models import Amount, Input, JsonObject, Key, Page, Row
from ._pages import page
from ._query import Statement, Steps, operation, query
from ._statements import get, maker
from .errors import NOT_KNOWN, Conflict, InvalidPayload

_SQL: Final = _sql.load("quotas")
QUOTA: Final = "quota"

Period = Literal["minute", "hour", "day", "week", "month", "total"]


class Quota(Row):
    """How much a subject may use of a meter in a period, in the meter's own unit.

    The windows of a period are the calendar's in the quota's time zone; a total has one window,
    which never ends. `hard` says whether what would pass the limit is refused.
    """

    tenant_id: str
    subject_id: str
    id: UUID
    meter: str
    period: Period
    timezone: str
    limit_amount: int
    hard: bool
    metadata: dict[str, JsonValue]
    created_at: datetime
    updated_at: datetime


class NewQuota(Input):
    """A quota to set. `timezone` is a name of the database's `pg_timezone_names`.

    It has no id: a subject has one quota on each meter and period, and the database makes the id of
    each that is new.
    """

    entity: ClassVar[str] = QUOTA

    tenant_id: Key | None = None
    """Whose quota it is; None: the transaction's tenant."""
    subject_id: Key
    """Who is limited: a user, a team; the application chooses."""
    meter: Key
    """What is counted: `tokens`, `runs`, `cost_nanousd`; any name of the application's."""
    period: Period
    """How long a window is; windows are those of the calendar."""
    timezone: Key = "UTC"
    """In which windows begin: a name of `pg_timezone_names`."""
    limit_amount: Amount
    """What may be used in a window, in the meter's own unit."""
    hard: bool = True
    """False: it is counted and reported, and refuses nothing."""
    metadata: JsonObject = Field(default_factory=dict)
    """A JSON object for what the application adds."""


@operation
def set_quota(data: NewQuota) -> Steps[Quota]:
    """Limit what a subject may use of a meter in a period, or give its quota another limit.

    A subject has one quota on each meter and period, so repeating the call changes nothing. The
    new quota starts with what the log says was used in its window before; open holds count
    from when they are settled. Another time zone makes another quota of it, with an id of its
    own, and so does setting it again after it was removed. A limit below what is used refuses what
    comes, and takes nothing back.
    """
    try:
        for _ in range(3):
            quota = yield from _set_quota.bind(data)
            if quota is not None:
                return quota
            # Of its time zone everything depends that it has counted, so it is made anew.
            yield from remove_quota.bind(
                data.subject_id, data.meter, data.period, tenant_id=data.tenant_id
            )
    except InvalidPayload as error:
        raise of_timezone(error) from None
    raise Conflict("the quota was set with another time zone at the same time; repeat the call")


def of_timezone(error: InvalidPayload) -> InvalidPayload:
    """Name the field of a value that the database did not know: a time zone's name is one."""
    is_unknown = (error.path, error.reason) == ("parameter", NOT_KNOWN)
    return InvalidPayload("timezone", error.reason) if is_unknown else error


@query
def _set_quota(data: NewQuota) -> Statement[Quota | None]:
    make = maker(Quota)
    return Statement(
        _SQL["set_quota"],
        data.parameters(),
        lambda rows: make(rows[0]) if rows else None,
    )


@query
def remove_quota(
    subject_id: Key, meter: Key, period: Period, *, tenant_id: Key | None = None
) -> Statement[Quota]:
    """Delete a quota with its counters, and return it. Raises `NotFound`.

    The log and the reservations stay as they are. A tenant that is None is the transaction's own.
    """
    parameters = {
        "tenant_id": tenant_id,
        "subject_id": subject_id,
        "meter": meter,
        "period": period,
    }
    name = f"of {meter} per {period}"
    return get(Quota, _SQL["remove_quota"], QUOTA, name, parameters)


@query
def list_quotas(
    *,
    subject_id: Key | None = None,
    tenant_id: Key | None = None,
    cursor: str | None = None,
    page_size: int = 100,
) -> Statement[Page[Quota]]:
    """Return a page of a tenant's quotas, or of one subject's, by subject, meter and period.

    A tenant that is None is the transaction's own.
    """
    return page(
        Quota,
        _SQL["list_quotas"],
        {"tenant_id": tenant_id, "subject_id": subject_id},
        key={
            "after_subject_id": "subject_id",
            "after_meter": "meter",
            "after_period": "period",
        },
        cursor=cursor,
        page_size=page_size,
    )
