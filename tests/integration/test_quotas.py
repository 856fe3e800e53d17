from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString, get_args

import pytest
from psycopg import ClientCursor

from clocks import set_clock
from connections import Caller, Connect
from contents import changes, contents
from runstore import (
    InvalidPayload,
    NotFound,
    expire_reservations,
    get_usage,
    list_quotas,
    new_run_id,
    quotas,
    rebuild_usage_counters,
    release_usage,
    remove_quota,
    set_quota,
    settle_usage,
)
from runstore.quotas import Period
from usage_factories import (
    LARGEST_LIMIT,
    SUBJECT,
    disagreements,
    let_expire,
    make_quota,
    new_quota,
    pass_time,
    record,
    reserve,
    usage_of,
    used_and_held,
)

# set_quota


def test_a_quota_is_stored_as_it_is_set(call: Caller) -> None:
    data = new_quota(
        tenant_id="acme",
        period="week",
        timezone="Europe/Berlin",
        limit_amount=LARGEST_LIMIT,
        hard=False,
        metadata={"plan": "pro"},
    )
    quota = call(set_quota, data)
    stored = call(list_quotas, tenant_id="acme").items
    assert stored == [quota]
    assert data.differences(quota) == []
    assert quota.created_at == quota.updated_at


def test_a_quota_that_is_set_again_keeps_its_id_and_what_it_counted(call: Caller) -> None:
    first = make_quota(call, limit_amount=100)
    record(call, 60)
    second = make_quota(call, limit_amount=50, hard=False, metadata={"a": 1})
    assert (second.id, second.limit_amount, second.hard) == (first.id, 50, False)
    assert (second.metadata, second.created_at) == ({"a": 1}, first.created_at)
    assert second.updated_at > first.updated_at
    assert used_and_held(call) == [(60, 0)]


def test_a_quota_that_is_set_twice_in_a_microsecond_has_one_counter(connect: Connect) -> None:
    """The statements of one message have one time, as those of two sessions may have."""
    conn = connect()
    sql: LiteralString = vars(quotas)["_SQL"]["set_quota"].text
    first, second = [
        ClientCursor(conn).mogrify(
            sql, new_quota(limit_amount=limit).parameters() | {"metadata": "{}"}
        )
        for limit in (1, 2)
    ]
    conn.execute(f"{first}; {second}".encode())
    assert [quota.limit_amount for quota in list_quotas(conn).items] == [2]
    assert [(quota.limit_amount, quota.used) for quota in get_usage(conn, SUBJECT)] == [(2, 0)]


def test_setting_a_quota_again_changes_nothing(call: Caller) -> None:
    quota = make_quota(call, metadata={"plan": "free"})
    before = contents(call)
    assert make_quota(call, metadata={"plan": "free"}) == quota
    assert contents(call) == before


@pytest.mark.parametrize("other", [{"limit_amount": 7}, {"hard": False}, {"metadata": {"a": 1}}])
def test_setting_a_quota_to_something_else_writes_nothing_else(
    call: Caller, other: dict[str, Any]
) -> None:
    quota = make_quota(call)
    before = contents(call)
    assert make_quota(call, **other).updated_at > quota.updated_at
    assert changes(before, contents(call)).keys() == {"quotas"}


@pytest.mark.owner
def test_a_quota_starts_with_what_the_log_says_of_its_window(call: Caller) -> None:
    record(call, 7)
    pass_time(call)
    record(call, 20)
    record(call, 1, subject_id="another")
    record(call, 1, amounts={"runs": 1})
    record(call, 1, tenant_id="another")
    make_quota(call, period="month")
    make_quota(call, period="total")
    assert used_and_held(call) == [(20, 0), (27, 0)]
    record(call, 5)
    assert used_and_held(call) == [(25, 0), (32, 0)]
    assert disagreements(call) == []


def test_what_is_held_when_a_quota_is_set_counts_once_it_is_settled(call: Caller) -> None:
    held = reserve(call, 30)
    make_quota(call)
    assert used_and_held(call) == [(0, 0)]
    call(settle_usage, held.id, {"tokens": 25})
    assert used_and_held(call) == [(25, 0)]
    assert disagreements(call) == []


def test_another_time_zone_makes_another_quota_that_starts_with_the_log(call: Caller) -> None:
    first = make_quota(call, period="month")
    held = reserve(call, 30)
    record(call, 20)
    second = make_quota(call, period="month", timezone="Asia/Kolkata")
    assert second.id != first.id
    assert [(quota.timezone, quota.used, quota.held) for quota in usage_of(call)] == [
        ("Asia/Kolkata", 20, 0)
    ]
    call(settle_usage, held.id, {"tokens": 30})
    assert used_and_held(call) == [(50, 0)]
    assert disagreements(call) == []


def test_a_quota_object_that_is_set_again_makes_another_quota(call: Caller) -> None:
    """Open holds and entries of the log that name the first one are none of the second's."""
    data = new_quota(period="month")
    first = call(set_quota, data)
    settled, released = reserve(call, 30), reserve(call, 20)
    record(call, 10)
    call(remove_quota, SUBJECT, "tokens", "month")
    second = call(set_quota, data)
    third = call(set_quota, data.model_copy(update={"timezone": "Asia/Kolkata"}))
    assert len({first.id, second.id, third.id}) == 3
    assert used_and_held(call) == [(10, 0)]
    call(release_usage, released.id)
    call(settle_usage, settled.id, {"tokens": 25})
    assert used_and_held(call) == [(35, 0)]
    assert disagreements(call) == []


@pytest.mark.owner
def test_holds_of_a_quota_object_that_is_set_again_expire(call: Caller) -> None:
    data = new_quota()
    call(set_quota, data)
    ids = {reserve(call, 10).id, reserve(call, 10, subject_id="another").id}
    call(remove_quota, SUBJECT, "tokens", "total")
    call(set_quota, data)
    let_expire(call)
    assert {expired.id for expired in call(expire_reservations)} == ids
    assert disagreements(call) == []


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"id": new_run_id()}, "id"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": ""}, "timezone"),
        ({"limit_amount": -1}, "limit_amount"),
        ({"limit_amount": 1.5}, "limit_amount"),
        ({"limit_amount": LARGEST_LIMIT + 1}, "limit_amount"),
        ({"period": "year"}, "period"),
        ({"subject_id": ""}, "subject_id"),
        ({"meter": "x" * 256}, "meter"),
        ({"meter": "\0"}, "meter"),
    ],
)
def test_what_is_no_quota_is_refused(call: Caller, values: dict[str, Any], path: str) -> None:
    before = contents(call)
    with pytest.raises(InvalidPayload) as raised:
        make_quota(call, **{"period": "day"} | values)
    assert raised.value.path == path
    assert contents(call) == before


@pytest.mark.parametrize("period", get_args(Period))
def test_a_time_zone_that_there_is_not_is_refused(call: Caller, period: Period) -> None:
    """A total needs none, and its quota would be removed by the next call with the right one."""
    make_quota(call, period=period, timezone="Europe/Berlin")
    before = contents(call)
    for meter in ("tokens", "runs"):
        with pytest.raises(InvalidPayload, match="timezone: is not known to the database"):
            make_quota(call, meter=meter, period=period, timezone="Europe/Berlni")
    assert contents(call) == before


# remove_quota


def test_a_removed_quota_counts_no_more_and_a_new_one_starts_with_the_log(call: Caller) -> None:
    first = make_quota(call)
    held = reserve(call, 40)
    record(call, 30)
    assert call(remove_quota, SUBJECT, "tokens", "total") == first
    assert usage_of(call) == []
    record(call, 1000)
    second = make_quota(call)
    assert second.id != first.id
    assert used_and_held(call) == [(1030, 0)]
    # The hold was of the other quota, which is gone.
    call(settle_usage, held.id, {"tokens": 2})
    assert used_and_held(call) == [(1032, 0)]
    assert disagreements(call) == []


def test_a_hold_of_a_removed_quota_is_settled_and_logged(call: Caller) -> None:
    make_quota(call)
    held = reserve(call, 40)
    call(remove_quota, SUBJECT, "tokens", "total")
    [row] = call(settle_usage, held.id, {"tokens": 41})
    assert row.amount == 41


def test_what_is_not_there_cannot_be_removed(call: Caller) -> None:
    make_quota(call)
    others: list[tuple[str, str, Period, str | None]] = [
        (SUBJECT, "tokens", "day", None),
        (SUBJECT, "runs", "total", None),
        ("another", "tokens", "total", None),
        (SUBJECT, "tokens", "total", "another"),
    ]
    for subject, meter, period, tenant in others:
        with pytest.raises(NotFound):
            call(remove_quota, subject, meter, period, tenant_id=tenant)
    assert len(usage_of(call)) == 1


# list_quotas


def test_quotas_are_listed_by_subject_meter_and_period(call: Caller) -> None:
    keys = [
        (subject, meter, period)
        for subject in ("a", "b")
        for meter in ("runs", "tokens")
        for period in ("day", "month", "total")
    ]
    for subject, meter, period in reversed(keys):
        make_quota(call, subject_id=subject, meter=meter, period=period)
    make_quota(call, tenant_id="another")

    listed: list[tuple[str, str, str]] = []
    cursor = None
    while True:
        page = call(list_quotas, cursor=cursor, page_size=5)
        listed += [(quota.subject_id, quota.meter, quota.period) for quota in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert listed == keys
    assert [quota.subject_id for quota in call(list_quotas, subject_id="b").items] == ["b"] * 6
    assert len(call(list_quotas, tenant_id="another").items) == 1


# The windows


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "timezone", "time", "window"),
    [
        ("minute", "UTC", "2026-03-29T00:59:59.999999", ("2026-03-29T00:59", "2026-03-29T01:00")),
        ("hour", "UTC", "2026-12-31T23:00", ("2026-12-31T23:00", "2027-01-01T00:00")),
        # 05:30 from UTC
        ("hour", "Asia/Kolkata", "2026-01-01T00:29", ("2025-12-31T23:30", "2026-01-01T00:30")),
        # The hour that is there twice is two hours.
        ("hour", "Europe/Berlin", "2026-10-25T00:30", ("2026-10-25T00:00", "2026-10-25T01:00")),
        ("hour", "Europe/Berlin", "2026-10-25T01:30", ("2026-10-25T01:00", "2026-10-25T02:00")),
        ("day", "UTC", "2028-02-29T12:00", ("2028-02-29T00:00", "2028-03-01T00:00")),
        # A day of 23 hours and one of 25.
        ("day", "Europe/Berlin", "2026-03-29T12:00", ("2026-03-28T23:00", "2026-03-29T22:00")),
        ("day", "Europe/Berlin", "2026-10-25T12:00", ("2026-10-24T22:00", "2026-10-25T23:00")),
        # Days that begin at 01:00, as midnight is skipped.
        ("day", "Africa/Cairo", "2026-04-24T12:00", ("2026-04-23T22:00", "2026-04-24T21:00")),
        ("day", "Asia/Beirut", "2026-03-29T12:00", ("2026-03-28T22:00", "2026-03-29T21:00")),
        ("day", "America/Santiago", "2026-09-06T12:00", ("2026-09-06T04:00", "2026-09-07T03:00")),
        ("day", "America/Havana", "2026-03-08T12:00", ("2026-03-08T05:00", "2026-03-09T04:00")),
        ("week", "Atlantic/Azores", "2026-03-29T12:00", ("2026-03-23T01:00", "2026-03-30T00:00")),
        ("week", "America/Havana", "2026-03-08T12:00", ("2026-03-02T05:00", "2026-03-09T04:00")),
        # A day whose last hour is skipped.
        ("day", "America/Nuuk", "2026-03-28T12:00", ("2026-03-28T02:00", "2026-03-29T01:00")),
        # The days before a midnight that comes twice, and before one that is an hour later.
        ("day", "Atlantic/Azores", "2026-10-24T12:00", ("2026-10-24T00:00", "2026-10-25T00:00")),
        ("day", "America/Havana", "2026-10-31T12:00", ("2026-10-31T04:00", "2026-11-01T04:00")),
        ("month", "America/Havana", "2026-10-31T12:00", ("2026-10-01T04:00", "2026-11-01T04:00")),
        ("day", "America/Santiago", "2026-04-04T12:00", ("2026-04-04T03:00", "2026-04-05T04:00")),
        ("day", "America/New_York", "2026-01-01T04:59", ("2025-12-31T05:00", "2026-01-01T05:00")),
        ("week", "UTC", "2026-01-01T00:00", ("2025-12-29T00:00", "2026-01-05T00:00")),
        ("week", "Europe/Berlin", "2026-03-29T12:00", ("2026-03-22T23:00", "2026-03-29T22:00")),
        ("month", "UTC", "2026-12-31T23:59", ("2026-12-01T00:00", "2027-01-01T00:00")),
        ("month", "Asia/Tokyo", "2026-01-31T15:00", ("2026-01-31T15:00", "2026-02-28T15:00")),
    ],
)
def test_windows_are_those_of_the_calendar_in_the_time_zone(
    call: Caller, period: str, timezone: str, time: str, window: tuple[str, str]
) -> None:
    [(start, end)] = call.execute(
        "SELECT start, runstore.window_end(%(period)s, %(zone)s, start)"
        " FROM runstore.window_start(%(period)s, %(zone)s, %(at)s) AS start",
        {"period": period, "zone": timezone, "at": at(time)},
    )
    assert (start, end) == tuple(map(at, window))


@pytest.mark.owner
@pytest.mark.parametrize(
    ("timezone", "time"),
    [
        ("Africa/Cairo", "2026-04-24T12:00"),
        ("Atlantic/Azores", "2026-03-29T12:00"),
        ("Atlantic/Azores", "2026-10-24T12:00"),
        ("America/Havana", "2026-10-31T12:00"),
    ],
)
def test_a_window_ends_when_the_next_one_begins(call: Caller, timezone: str, time: str) -> None:
    set_clock(call, at(time))
    make_quota(call, period="day", timezone=timezone)
    record(call, 10)
    [day] = usage_of(call)
    assert day.resets_at is not None
    set_clock(call, day.resets_at - timedelta(microseconds=1))
    assert used_and_held(call) == [(10, 0)]
    set_clock(call, day.resets_at)
    assert used_and_held(call) == [(0, 0)]


TWO_MIDNIGHTS = [("Atlantic/Azores", "2026-10-25T00:30"), ("America/Havana", "2026-11-01T04:30")]


@pytest.mark.owner
@pytest.mark.parametrize(("timezone", "time"), TWO_MIDNIGHTS)
def test_between_two_midnights_nothing_is_forgiven_or_of_another_day(
    call: Caller, timezone: str, time: str
) -> None:
    """The server's windows begin at the second one, which is yet to come."""
    set_clock(call, at(time) - timedelta(minutes=45))
    record(call, 5)
    set_clock(call, at(time))
    first = make_quota(call, period="day", timezone=timezone)
    record(call, 10)
    assert used_and_held(call) == [(10, 0)]
    assert disagreements(call) == []
    assert call(rebuild_usage_counters, SUBJECT) == []
    call(remove_quota, SUBJECT, "tokens", "day")
    second = make_quota(call, period="day", timezone=timezone)
    assert second.id != first.id
    set_clock(call, at(time) + timedelta(minutes=45))
    record(call, 1)
    assert used_and_held(call) == [(11, 0)]
    assert disagreements(call) == []


def test_a_total_has_one_window_without_an_end(call: Caller) -> None:
    answer = call.execute(
        "SELECT start = '-infinity', runstore.window_end('total', 'UTC', start)"
        " FROM runstore.window_start('total', 'UTC', now()) AS start"
    )
    assert answer == [(True, None)]
