from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from psycopg import Connection

from command import runstore
from runstore import (
    NewQuota,
    NewReservation,
    NewUsage,
    get_usage,
    record_usage,
    reserve_usage,
    set_quota,
)

SUBJECT = "mia"


@pytest.fixture
def used(conn: Connection[Any]) -> None:
    for meter, period, limit, hard in (
        ("tokens", "day", 1_000, True),
        ("tokens", "total", 100, False),
        ("cost_nanousd", "total", 2_000_000_000, True),
    ):
        period_: Any = period
        quota = NewQuota(
            subject_id=SUBJECT, meter=meter, period=period_, limit_amount=limit, hard=hard
        )
        set_quota(conn, quota)
    for model, tokens in (("large", 300), ("small", 100)):
        amounts = {"tokens": tokens, "cost_nanousd": tokens * 1_000_000}
        record_usage(conn, NewUsage(subject_id=SUBJECT, model=model, amounts=amounts))
    reserve_usage(conn, NewReservation(subject_id=SUBJECT, amounts={"tokens": 50}))


@pytest.mark.usefixtures("used")
def test_quotas_are_drawn_as_bars_against_their_limits(database: str) -> None:
    cost, day, total, *_ = runstore("usage", SUBJECT, "--dsn", database).out.splitlines()

    assert cost.split() == ["cost", "in", "total", "━━━━" + "─" * 20, "20%", "$0.40", "of", "$2.00"]
    assert f"per day   {'━' * 10}{'─' * 14}   45%  400 of 1,000, 50 held  resets in " in day
    assert f"in total  {'━' * 24}  450%    400 of 100, 50 held  soft" in total


@pytest.mark.usefixtures("used")
@pytest.mark.parametrize("columns", [46, 60, 80])
def test_quotas_stay_whole_where_there_is_little_room(database: str, columns: int) -> None:
    out = runstore("usage", SUBJECT, "--dsn", database, COLUMNS=str(columns)).out
    cost, day, total, *_ = out.splitlines()

    assert max(map(len, (cost, day, total))) <= columns
    assert "$0.40 of $2.00" in cost
    assert "45%  400 of 1,000, 50 held" in day
    assert "…" not in day
    assert ("resets in" in day) == (columns == 80)


@pytest.mark.usefixtures("used")
def test_usage_is_added_up_by_what_is_asked_for(database: str) -> None:
    out = runstore("usage", SUBJECT, "--since", "1h", "--dsn", database).out

    rows = [line.split() for line in out.splitlines()]
    assert ["model", "meter", "amount", "cost"] in rows
    assert ["large", "cost", "$0.30", "━" * 24] in rows
    assert ["small", "tokens", "100", "━" * 8 + "─" * 16] in rows
    by_day = runstore("usage", SUBJECT, "--by", "day", "--dsn", database).out
    assert ["day", "meter", "amount", "cost"] in [line.split() for line in by_day.splitlines()]
    assert "400" in by_day
    assert "large" not in by_day


@pytest.mark.usefixtures("used")
def test_machines_get_one_document(conn: Connection[Any], database: str) -> None:
    options = ["--since", "2026-01-01", "--until", "2126-01-02T03:04:05+00:00"]
    document = runstore("usage", SUBJECT, *options, "--json", "--dsn", database).json

    assert document["subject_id"] == SUBJECT
    assert document["until"].startswith("2126-01-0")
    assert document["quotas"] == [
        quota.model_dump(mode="json") for quota in get_usage(conn, SUBJECT)
    ]
    assert [(row["model"], row["meter"], row["amount"]) for row in document["usage"]] == [
        ("large", "cost_nanousd", 300_000_000),
        ("small", "cost_nanousd", 100_000_000),
        ("large", "tokens", 300),
        ("small", "tokens", 100),
    ]


@pytest.mark.owner
@pytest.mark.parametrize(
    ("period", "starts"),
    [
        ("hour", "2026-04-01 01:00"),
        ("day", "2026-04-01"),
        ("week", "2026-03-30"),
        ("month", "2026-04-01"),
    ],
)
@pytest.mark.parametrize("session", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_a_period_is_named_for_where_it_begins(
    conn: Connection[Any], database: str, period: str, starts: str, session: str
) -> None:
    """Periods begin in UTC, whatever the zone of the session."""
    usage = NewUsage(subject_id=SUBJECT, model="m", amounts={"tokens": 7})
    record_usage(conn, usage)
    at = datetime(2026, 4, 1, 1, 30, tzinfo=UTC)
    conn.execute("UPDATE runstore.usage_logs SET created_at = %s WHERE id = %s", [at, usage.id])

    options = ["--since", "2026-03-01", "--until", "2026-05-01", "--by", period]
    said = runstore("usage", SUBJECT, *options, "--dsn", database, PGTZ=session)

    [row] = [line for line in said.out.splitlines() if " tokens " in line]
    assert row.startswith(f"{starts}  tokens")


def test_a_subject_without_quotas_is_not_limited(database: str) -> None:
    said = runstore("usage", "nobody", "--dsn", database)

    assert said.status == 0
    assert said.out.startswith("nobody has no quotas: its usage is not limited.\n")
    assert said.out.endswith(": nothing.\n")


def test_two_periods_at_once_are_refused(database: str) -> None:
    said = runstore("usage", "mia", "--by", "day", "--by", "week", "--dsn", database)

    assert said.status == 6
    assert said.err.startswith("By: must be of provider, model,")
