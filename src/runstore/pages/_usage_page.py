"""The page of what a subject used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from runstore._models import Moment
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
    since: Moment | None = None,
    until: Moment | None = None,
    timezone: str = "UTC",
    tenant_id: str | None = None,
) -> Steps[str]:
    """Return what a subject used as one self-contained HTML page.

    Its quotas with what is used and held of them, and each meter by day and model, from `since` on
    (30 days ago) and before `until` (now), at most 400 days; days begin in `timezone`, whose name
    both the database and Python know. A tenant that is None is the transaction's own. Raises
    `InvalidPayload`.
    """
    zone = _zone(timezone)
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
        meters=_meters(rows, zone),
        totals=_totals(rows),
        cost_meter=COST_METER,
    )


def _zone(name: str) -> tzinfo:
    # The default needs no time zones on the machine.
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidPayload("timezone", "is not known to Python by this name") from None


def _shown(quota: QuotaUsage) -> Mapping[str, Any]:
    whole = max(quota.limit_amount, quota.used + quota.held, 1)
    return {
        "quota": quota,
        "used_percent": round(100 * quota.used / whole, 2),
        "held_percent": round(100 * quota.held / whole, 2),
        "full": quota.used + quota.held >= quota.limit_amount,
    }


def _meters(rows: Iterable[UsageSummary], zone: tzinfo) -> list[tuple[str, Chart]]:
    """Return a chart for each meter, and one for what was priced, of the days in a time zone."""
    by_meter: dict[str, dict[str, dict[date, float]]] = {}
    for row in rows:
        if row.starts_at is None:
            continue
        model = row.model or "no model"
        # The session says the time in a zone of its own.
        day = row.starts_at.astimezone(zone).date()
        if row.amount:
            _add(by_meter, row.meter, model, day, row.amount)
        if row.cost_nanousd:
            _add(by_meter, COST_METER, model, day, row.cost_nanousd)
    return [(meter, _chart(models)) for meter, models in by_meter.items()]


def _add(
    by_meter: dict[str, dict[str, dict[date, float]]],
    meter: str,
    model: str,
    day: date,
    amount: float,
) -> None:
    days = by_meter.setdefault(meter, {}).setdefault(model, defaultdict(float))
    days[day] += amount / 1e9 if meter == COST_METER else amount


def _chart(models: Mapping[str, Mapping[date, float]]) -> Chart:
    known = {day for days in models.values() for day in days}
    first = min(known)
    # A day without usage is a gap in the chart, and not left out of it.
    days = [first + timedelta(days=number) for number in range((max(known) - first).days + 1)]
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
