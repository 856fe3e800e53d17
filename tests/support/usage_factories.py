"""Quotas, reservations and usage, every value of which may be given, and windows that moved."""

from __future__ import annotations

from typing import Any

from connections import Caller
from runstore import (
    CounterAudit,
    NewQuota,
    NewReservation,
    NewUsage,
    Quota,
    QuotaUsage,
    Reservation,
    UsageLog,
    get_usage,
    record_usage,
    reserve_usage,
    set_quota,
    verify_usage,
)

SUBJECT = "user-1"
LARGEST_LIMIT = 2**63 - 1


def _over(values: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    return defaults | values


def new_quota(**values: Any) -> NewQuota:
    return NewQuota(
        **_over(values, subject_id=SUBJECT, meter="tokens", period="total", limit_amount=100)
    )


def new_reservation(tokens: int = 10, **values: Any) -> NewReservation:
    return NewReservation(**_over(values, subject_id=SUBJECT, amounts={"tokens": tokens}))


def new_usage(tokens: int = 10, **values: Any) -> NewUsage:
    return NewUsage(**_over(values, subject_id=SUBJECT, amounts={"tokens": tokens}))


def make_quota(call: Caller, **values: Any) -> Quota:
    return call(set_quota, new_quota(**values))


def reserve(call: Caller, tokens: int = 10, **values: Any) -> Reservation:
    return call(reserve_usage, new_reservation(tokens, **values))


def record(call: Caller, tokens: int = 10, **values: Any) -> list[UsageLog]:
    return call(record_usage, new_usage(tokens, **values))


def usage_of(call: Caller, subject_id: str = SUBJECT) -> list[QuotaUsage]:
    return call(get_usage, subject_id)


def used_and_held(call: Caller, subject_id: str = SUBJECT) -> list[tuple[int, int]]:
    """Return used and held of each quota of a subject, by meter and period."""
    return [(quota.used, quota.held) for quota in usage_of(call, subject_id)]


def disagreements(call: Caller) -> list[CounterAudit]:
    """Return the counters that are not what the log and the open holds say."""
    page = call(verify_usage)
    assert page.next_cursor is None
    return page.items


def pass_time(call: Caller, interval: str = "60 days") -> None:
    """Make all that was counted belong to windows so much earlier.

    The windows of totals have no beginning and stay.
    """
    # By way of another age, so that no window meets one that has yet to move.
    call.execute(
        "UPDATE runstore.usage_counters"
        " SET window_start = window_start + interval '365000 days' - %s::interval"
        " WHERE isfinite(window_start)",
        (interval,),
    )
    call.execute(
        "UPDATE runstore.usage_counters SET window_start = window_start - interval '365000 days'"
        " WHERE isfinite(window_start)"
    )
    times = {"usage_reservations": ("created_at", "finished_at"), "usage_logs": ("created_at",)}
    for table, columns in times.items():
        moved = ", ".join(f"{column} = {column} - %(by)s::interval" for column in columns)
        statement: Any = (
            f"UPDATE runstore.{table} SET {moved}, window_starts = ARRAY("
            "SELECT CASE WHEN isfinite(start) THEN start - %(by)s::interval ELSE start END"
            " FROM unnest(window_starts) WITH ORDINALITY AS window_start (start, place)"
            " ORDER BY place)"
        )
        call.execute(statement, {"by": interval})


def let_expire(call: Caller) -> None:
    """Make every open hold overdue."""
    call.execute(
        "UPDATE runstore.usage_reservations SET expires_at = now() - interval '1 hour'"
        " WHERE status = 'held'"
    )
