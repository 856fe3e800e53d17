"""The page of what a subject used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from runstore._query import Steps, operation
from runstore._usage import COST_METER
from runstore.errors import InvalidPayload
from runstore.usage_counters import QuotaUsage, get_usage
from runstore.usage_logs import UsageSummary, summarize_usage

from ._charts import Chart, stacked_bars
from ._rendering import render

_LONGEST: Final = timedelta(days=400)


@operation
def render_usage_page(
    subject_id: str,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    timezone: str = "UTC",
    tenant_id: str | None = None,
) -> Steps[str]:
    """Return what a subject used as one self-contained HTML page.

    Its quotas with what is used and held of them, and each meter by day and model, from `since` on
    (30 days ago) and before `until` (now), at most 400 days; days begin in `timezone`. A tenant
    that is None is the transaction's own. Raises `InvalidPayload`.
    """
    until = until or datetime.now(UTC)
    since = since or until - timedelta(days=30)
    if not timedelta(0) < until - since <= _LONGEST:
        raise InvalidPayload("since", "must be before `until`, by 400 days at most")
    quotas = yield from get_usage.bind(subject_id, tenant_id=tenant_id)
    rows = yield from summarize_usage.bind(
        subject_id,
        since=since,
        until=until,
        by=("model", "day"),
        timezone=timezone,
        tenant_id=tenant_id,
    )
    return render(
        "usage.html.jinja",
        subject_id=subject_id,
        since=since,
        until=until,
        timezone=timezone,
        quotas=[_shown(quota) for quota in quotas],
        meters=_meters(rows),
        totals=_totals(rows),
        cost_meter=COST_METER,
    )


def _shown(quota: QuotaUsage) -> Mapping[str, Any]:
    whole = max(quota.limit_amount, quota.used + quota.held, 1)
    return {
        "quota": quota,
        "used_percent": round(100 * quota.used / whole, 2),
        "held_percent": round(100 * quota.held / whole, 2),
        "full": quota.used + quota.held >= quota.limit_amount,
    }


def _meters(rows: Iterable[UsageSummary]) -> list[tuple[str, Chart]]:
    """Return a chart for each meter, and one for what was priced."""
    by_meter: dict[str, dict[str, dict[datetime, float]]] = {}
    for row in rows:
        if row.starts_at is None:
            continue
        model = row.model or "no model"
        if row.amount:
            _add(by_meter, row.meter, model, row.starts_at, row.amount)
        if row.cost_nanousd:
            _add(by_meter, COST_METER, model, row.starts_at, row.cost_nanousd)
    return [(meter, _chart(meter, models)) for meter, models in by_meter.items()]


def _add(
    by_meter: dict[str, dict[str, dict[datetime, float]]],
    meter: str,
    model: str,
    day: datetime,
    amount: float,
) -> None:
    days = by_meter.setdefault(meter, {}).setdefault(model, defaultdict(float))
    days[day] += amount / 1e9 if meter == COST_METER else amount


def _chart(meter: str, models: Mapping[str, Mapping[datetime, float]]) -> Chart:
    known = sorted({day for days in models.values() for day in days})
    days: list[datetime] = []
    day = known[0]
    # A day without usage is a gap in the chart, and not left out of it.
    while day <= known[-1]:
        days.append(day)
        day += timedelta(days=1)
    return stacked_bars(
        [f"{day:%d %b}" for day in days],
        {model: [amounts.get(day) for day in days] for model, amounts in sorted(models.items())},
    )


def _totals(rows: Iterable[UsageSummary]) -> list[dict[str, Any]]:
    totals: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        key = (row.meter, row.model or "no model")
        total = totals.setdefault(
            key,
            {
                "meter": key[0],
                "model": key[1],
                "amount": 0,
                "cost": None,
                "entries": 0,
                "unpriced": 0,
            },
        )
        total["amount"] += row.amount
        total["entries"] += row.entries
        total["unpriced"] += row.unpriced
        if row.cost_nanousd is not None:
            total["cost"] = (total["cost"] or 0) + row.cost_nanousd
    return sorted(totals.values(), key=lambda each: (each["meter"], -each["amount"]))
