"""Usage logs: what was used; bills and reports are made of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, Final, Literal, NoReturn, get_args
from uuid import UUID

from pydantic import Field, JsonValue

from . import _sql
from ._models import Key, Moment, Page, Row
from ._pages import page
from ._query import Rows, Statement, Steps, query
from ._statements import maker, many, refuse_differences
from ._usage import Costs, NewUsageInput, SignedAmounts
from .errors import Conflict, InvalidPayload, RunstoreError
from .quotas import of_timezone
from .usage_counters import passing_over, until_decided

_SQL: Final = _sql.load("usage_logs")
_USAGE: Final = "usage"
_pass_over_changes: Final = passing_over("usage_logs_pkey")

Grouping = Literal["provider", "model", "run", "hour", "day", "week", "month"]
_GROUPINGS: Final = get_args(Grouping)
_PERIODS: Final = ("hour", "day", "week", "month")


class UsageLog(Row):
    """What a subject used of one meter, in the meter's own unit.

    The rows of all meters that were logged at once share the id. A negative amount is a
    correction. A `cost_nanousd` (1e-9 USD) that is None is unpriced.
    """

    id: UUID
    tenant_id: str
    subject_id: str
    meter: str
    amount: int
    cost_nanousd: int | None
    run_id: UUID | None
    invocation_id: UUID | None
    tool_call_id: UUID | None
    provider: str | None
    model: str | None
    metadata: dict[str, JsonValue]
    created_at: datetime


class UsageSummary(Row):
    """What the log adds up to for one meter, and for what else it was asked by.

    A field that it was not asked by is None. `starts_at` is when the hour, day, week or month
    began. `cost_nanousd` adds up what was priced, and is None when nothing was; `unpriced`
    counts the entries without a cost. The amounts of the meter `cost_nanousd` are costs
    themselves and stand in no `cost_nanousd`.
    """

    meter: str
    provider: str | None
    model: str | None
    run_id: UUID | None
    starts_at: datetime | None
    amount: int
    cost_nanousd: int | None
    entries: int
    unpriced: int


class NewUsage(NewUsageInput):
    """What was used: how much of each meter, and what it cost.

    What was not reported is left out, and never 0. `input_tokens` includes cached reads and
    writes, `output_tokens` includes reasoning. A correction has negative amounts; it is counted
    in the windows in which it is made.
    """

    entity: ClassVar[str] = _USAGE

    amounts: SignedAmounts
    """How much of each meter, in the meter's own unit; a correction is negative."""
    costs: Costs = Field(default_factory=dict)
    """What each of the amounts cost, in 1e-9 USD."""


class _Logged(Row):
    """The rows of one id as the input that they came from."""

    id: UUID
    tenant_id: str
    subject_id: str
    amounts: dict[str, int]
    costs: dict[str, int]
    run_id: UUID | None
    invocation_id: UUID | None
    tool_call_id: UUID | None
    provider: str | None
    model: str | None
    metadata: dict[str, JsonValue]


def logged_as(rows: list[UsageLog]) -> Row:
    """Return the rows of one id as one row that can be compared with an input."""
    shared = {
        name: value for name, value in rows[0].__dict__.items() if name in _Logged.model_fields
    }
    return _Logged.model_construct(
        **shared,
        amounts={row.meter: row.amount for row in rows},
        costs={row.meter: row.cost_nanousd for row in rows if row.cost_nanousd is not None},
    )


@query
def record_usage(data: NewUsage, *, force: bool = False) -> Statement[list[UsageLog]]:
    """Log what was used without a hold, and return the rows, by meter.

    It may pass a soft quota; a hard one it may pass with `force` only, and raises `QuotaExceeded`
    otherwise: all amounts are logged or none. Idempotent by the id of `data`, also when the quota
    is exceeded by now. Raises `Conflict` when the id stands for other usage. Locks the counters
    that it changes, in the order of their key.
    """
    parameters = data.parameters() | {"force": force}
    make = maker(UsageLog)

    def read(rows: Rows) -> list[UsageLog]:
        return [make(row) for row in rows]

    def attempt() -> Statement[list[UsageLog] | None]:
        return Statement(
            _SQL["record_usage"],
            parameters,
            lambda rows: read(rows) or None,
            refused=_pass_over_changes,
        )

    def undecided() -> Steps[list[UsageLog]]:
        return (
            yield from until_decided(
                data,
                data.amounts,
                force=force,
                attempt=attempt,
                repeated=lambda: _repeated(data),
            )
        )

    def refused(error: RunstoreError) -> Steps[list[UsageLog]]:
        yield from _pass_over_changes(error)
        return (yield from undecided())

    return Statement(_SQL["record_usage"], parameters, read, undecided, refused)


def _repeated(data: NewUsage) -> Steps[list[UsageLog]]:
    rows = yield from find_usage_logs.bind(data.id)
    if not rows:
        raise Conflict(f"{_USAGE} {data.id} has the id of a reservation")
    refuse_differences(data, logged_as(rows))
    return rows


@query
def find_usage_logs(id: UUID) -> Statement[list[UsageLog]]:
    """Return what was logged under an id, by meter; none: nothing was."""
    return many(UsageLog, _SQL["find_usage_logs"], {"id": id})


@query
def list_usage_logs(
    subject_id: Key,
    *,
    since: Moment | None = None,
    until: Moment | None = None,
    meter: Key | None = None,
    tenant_id: Key | None = None,
    cursor: str | None = None,
    page_size: int = 1000,
) -> Statement[Page[UsageLog]]:
    """Return a page of what a subject used, oldest first, from `since` on and before `until`.

    A filter that is None does not filter; a tenant that is None is the transaction's own.
    """
    return page(
        UsageLog,
        _SQL["list_usage_logs"],
        {
            "tenant_id": tenant_id,
            "subject_id": subject_id,
            "since": since,
            "until": until,
            "meter": meter,
        },
        key={"after_created_at": "created_at", "after_id": "id", "after_meter": "meter"},
        cursor=cursor,
        page_size=page_size,
    )


@query
def summarize_usage(
    subject_id: Key,
    *,
    since: Moment,
    until: Moment,
    by: Collection[Grouping] = ("model", "day"),
    timezone: Key = "UTC",
    tenant_id: Key | None = None,
) -> Statement[list[UsageSummary]]:
    """Add up what a subject used from `since` on and before `until`, by meter and by `by`.

    At most one of hour, day, week and month, which begin in `timezone`. Ordered by that, then by
    meter. It is computed from the log, of which it reads nothing but an index.
    """
    periods = [grouping for grouping in by if grouping in _PERIODS]
    if len(periods) > 1 or any(grouping not in _GROUPINGS for grouping in by):
        raise InvalidPayload("by", f"must be of {', '.join(_GROUPINGS)}, and one period")
    parameters: dict[str, Any] = {
        "tenant_id": tenant_id,
        "subject_id": subject_id,
        "since": since,
        "until": until,
        "timezone": timezone,
        "by_provider": "provider" in by,
        "by_model": "model" in by,
        "by_run": "run" in by,
        "by_period": periods[0] if periods else None,
    }

    def refused(error: RunstoreError) -> Steps[NoReturn]:
        yield from ()
        raise of_timezone(error) if isinstance(error, InvalidPayload) else error

    summaries = many(UsageSummary, _SQL["summarize_usage"], parameters, prepare=False)
    return replace(summaries, refused=refused)
