from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from connections import Caller, Connect
from contents import contents
from runstore import (
    Conflict,
    InvalidPayload,
    NewUsage,
    QuotaExceeded,
    list_usage_logs,
    new_child_id,
    new_run_id,
    record_usage,
    run_of,
    settle_usage,
    summarize_usage,
)
from runstore.usage_logs import find_usage_logs
from statements import statements
from usage_factories import (
    LARGEST_LIMIT,
    SUBJECT,
    disagreements,
    make_quota,
    new_usage,
    pass_time,
    record,
    reserve,
    used_and_held,
)

EVER: dict[str, Any] = {
    "since": datetime(2020, 1, 1, tzinfo=UTC),
    "until": datetime(2100, 1, 1, tzinfo=UTC),
}

# record_usage


def most(**values: Any) -> NewUsage:
    run_id = new_run_id()
    given: dict[str, Any] = {
        "run_id": run_id,
        "invocation_id": new_child_id(run_id),
        "tool_call_id": new_child_id(run_id),
        "provider": "a provider",
        "model": "a-model",
        "amounts": {"tokens": 10, "runs": 1, "cost_nanousd": 7},
        "costs": {"tokens": 4, "runs": None},
        "metadata": {"feature": ["a"]},
        "tenant_id": "acme",
    }
    return new_usage(**given | values)


def test_usage_is_logged_as_it_is_given_a_row_for_each_meter(call: Caller) -> None:
    data = most()
    rows = call(record_usage, data)
    assert rows == call(find_usage_logs, data.id)
    assert [(row.meter, row.amount, row.cost_nanousd) for row in rows] == [
        ("cost_nanousd", 7, None),
        ("runs", 1, None),
        ("tokens", 10, 4),
    ]
    for name in (
        "id",
        "tenant_id",
        "subject_id",
        "run_id",
        "invocation_id",
        "tool_call_id",
        "provider",
        "model",
        "metadata",
    ):
        assert {str(row.__dict__[name]) for row in rows} == {str(data.__dict__[name])}
    assert len({row.created_at for row in rows}) == 1


def test_usage_is_counted_in_every_quota(call: Caller) -> None:
    for period in ("day", "month", "total"):
        make_quota(call, period=period)
    make_quota(call, meter="runs")
    record(call, amounts={"tokens": 10, "unlimited": 5})
    assert used_and_held(call) == [(0, 0), (10, 0), (10, 0), (10, 0)]
    assert disagreements(call) == []


@pytest.mark.owner
def test_a_new_window_starts_with_nothing(call: Caller) -> None:
    make_quota(call, period="month")
    record(call, 100)
    pass_time(call)
    record(call, 30)
    assert used_and_held(call) == [(30, 0)]
    make_quota(call, period="day")
    pass_time(call)
    record(call, 40)
    assert used_and_held(call) == [(40, 0), (40, 0)]
    assert disagreements(call) == []


def test_a_hard_quota_is_passed_by_force_only_and_a_soft_one_without(call: Caller) -> None:
    hard = make_quota(call, period="total", limit_amount=100)
    make_quota(call, period="month", limit_amount=10, hard=False)
    record(call, 60)
    reserve(call, 30)
    before = contents(call)
    with pytest.raises(QuotaExceeded) as raised:
        record(call, amounts={"tokens": 11, "runs": 1})
    error = raised.value
    assert (error.quota, error.used, error.held, error.asked) == (hard.id, 60, 30, 11)
    assert contents(call) == before
    record(call, 10)
    call(record_usage, new_usage(11), force=True)
    assert used_and_held(call) == [(81, 30), (81, 30)]
    assert disagreements(call) == []


@pytest.mark.owner
def test_a_new_window_is_passed_by_force_too(call: Caller) -> None:
    make_quota(call, period="month", limit_amount=5)
    pass_time(call)
    with pytest.raises(QuotaExceeded):
        record(call, 6)
    call(record_usage, new_usage(6), force=True)
    assert used_and_held(call) == [(6, 0)]


def test_a_correction_is_a_negative_row_and_is_never_refused(call: Caller) -> None:
    make_quota(call, limit_amount=10)
    first = call(record_usage, new_usage(30, costs={"tokens": 90}), force=True)
    correction = record(call, -25, costs={"tokens": -75})
    assert [row.amount for row in correction] == [-25]
    assert used_and_held(call) == [(5, 0)]
    record(call, -20)
    assert used_and_held(call) == [(-15, 0)]
    record(call, 25)
    assert call(list_usage_logs, SUBJECT).items[0] == first[0]
    assert disagreements(call) == []


@pytest.mark.parametrize("periods", [["total"], ["day", "total"]])
def test_usage_of_the_largest_limit_is_corrected_below_zero_and_goes_on(
    call: Caller, periods: list[str]
) -> None:
    for period in periods:
        make_quota(call, period=period, limit_amount=LARGEST_LIMIT)
    record(call, -(10**15))
    record(call, -1)
    record(call, 10**15)
    assert used_and_held(call) == [(-1, 0)] * len(periods)
    make_quota(call, meter="runs", limit_amount=0)
    with pytest.raises(QuotaExceeded):
        record(call, amounts={"tokens": 1, "runs": 1})


def test_usage_may_be_recorded_again_also_when_the_quota_is_exceeded_by_then(call: Caller) -> None:
    make_quota(call, limit_amount=10)
    data = new_usage(10, costs={"tokens": 3, "runs": None}, metadata={"a": 1})
    rows = call(record_usage, data)
    before = contents(call)
    assert call(record_usage, data) == rows
    assert call(record_usage, data, force=True) == rows
    assert contents(call) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amounts", {"tokens": 11, "runs": 1, "cost_nanousd": 7}),
        ("amounts", {"tokens": 10}),
        ("amounts", {"tokens": 10, "runs": 1, "cost_nanousd": 7, "more": 1}),
        ("costs", {"tokens": 5}),
        ("costs", {}),
        ("subject_id", "another"),
        ("tenant_id", "another"),
        ("provider", None),
        ("model", "another"),
        ("metadata", {}),
    ],
)
def test_an_id_stands_for_one_usage(call: Caller, field: str, value: Any) -> None:
    data = most()
    call(record_usage, data)
    before = contents(call)
    with pytest.raises(Conflict) as raised:
        call(record_usage, NewUsage(**dict(data) | {field: value}))
    assert field in str(raised.value)
    assert contents(call) == before


def test_the_id_of_an_open_reservation_is_no_usages(call: Caller) -> None:
    reservation = reserve(call)
    with pytest.raises(Conflict):
        record(call, id=reservation.id)
    call(settle_usage, reservation.id, {"tokens": 3})


def test_an_id_carries_the_run_where_there_is_one() -> None:
    run_id = new_run_id()
    assert run_of(new_usage(run_id=run_id).id) == run_id
    assert new_usage(invocation_id=new_child_id(run_id)).run_id == run_id


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"amounts": {}}, "amounts"),
        ({"amounts": {"tokens": 0.5}}, "amounts.tokens"),
        ({"amounts": {"tokens": -(10**15) - 1}}, "amounts.tokens"),
        ({"amounts": {"tokens": None}}, "amounts.tokens"),
        ({"amounts": {"input_tokens": 9, "cache_read_tokens": 10}}, "amounts"),
        ({"costs": {"runs": 1}}, "costs"),
        ({"costs": {"tokens": -1}}, "costs"),
        ({"costs": {"tokens": 10**15 + 1}}, "costs.tokens"),
        ({"amounts": {"tokens": -1}, "costs": {"tokens": 1}}, "costs"),
        ({"amounts": {"cost_nanousd": 1}, "costs": {"cost_nanousd": 1}}, "costs"),
    ],
)
def test_what_is_no_usage_is_refused(values: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidPayload) as raised:
        new_usage(**values)
    assert raised.value.path == path


def test_the_parts_of_a_correction_need_not_fit() -> None:
    amounts = {"input_tokens": -5, "cache_read_tokens": -10}
    assert new_usage(amounts=amounts).amounts == amounts


def test_one_statement_records(call: Caller) -> None:
    make_quota(call)
    with statements() as sent:
        record(call)
    assert sent == ["record_usage"]


# list_usage_logs


def test_usage_is_listed_oldest_first_page_by_page(call: Caller) -> None:
    rows = [row for _ in range(4) for row in record(call, amounts={"a": 1, "b": 2})]
    record(call, subject_id="another")
    record(call, tenant_id="another")
    listed: list[Any] = []
    cursor = None
    while True:
        page = call(list_usage_logs, SUBJECT, cursor=cursor, page_size=3)
        listed += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert listed == rows
    assert len(call(list_usage_logs, SUBJECT, tenant_id="another").items) == 1


def test_usage_is_listed_by_time_and_meter(call: Caller) -> None:
    first, second, third = (record(call, amounts={"a": 1, "b": 2}) for _ in range(3))
    at = [row[0].created_at for row in (first, second, third)]
    assert call(list_usage_logs, SUBJECT, since=at[1]).items == second + third
    assert call(list_usage_logs, SUBJECT, until=at[2]).items == first + second
    between = call(list_usage_logs, SUBJECT, since=at[1], until=at[2], meter="b").items
    assert between == second[1:]


# summarize_usage


@pytest.mark.owner
def test_usage_is_summed_up_by_meter_model_and_day(call: Caller) -> None:
    record(call, 5, model="m", costs={"tokens": 50})
    pass_time(call, "1 day")
    record(call, 1, model="m", costs={"tokens": 10})
    record(call, 2, model="m")
    record(call, 4, model="n", amounts={"tokens": 4, "cost_nanousd": 40})
    record(call, -1, model="m", costs={"tokens": -3})
    record(call, 1000, subject_id="another")
    record(call, 1000, tenant_id="another")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    summary = call(summarize_usage, SUBJECT, **EVER)
    assert [
        (row.starts_at, row.meter, row.model, row.amount, row.cost_nanousd) for row in summary
    ] == [
        (today - timedelta(days=1), "tokens", "m", 5, 50),
        (today, "cost_nanousd", "n", 40, None),
        (today, "tokens", "m", 2, 7),
        (today, "tokens", "n", 4, None),
    ]
    assert [(row.entries, row.unpriced) for row in summary] == [(1, 0), (1, 0), (3, 1), (1, 1)]
    assert all(row.provider is None and row.run_id is None for row in summary)


def test_usage_is_summed_up_by_what_is_asked_for(call: Caller) -> None:
    runs = sorted([new_run_id(), new_run_id()])
    for run_id in runs:
        for provider in ("p", "q"):
            record(call, 1, run_id=run_id, provider=provider, model="m")
    assert [row.amount for row in call(summarize_usage, SUBJECT, **EVER, by=())] == [4]
    by_provider = call(summarize_usage, SUBJECT, **EVER, by=["provider"])
    assert [(row.provider, row.run_id, row.amount) for row in by_provider] == [
        ("p", None, 2),
        ("q", None, 2),
    ]
    by_run = call(summarize_usage, SUBJECT, **EVER, by=["run"])
    assert [(row.run_id, row.amount) for row in by_run] == [(run_id, 2) for run_id in runs]
    assert len(call(summarize_usage, SUBJECT, **EVER, by={"run", "provider", "month"})) == 4


def test_a_summary_has_what_was_used_from_since_on_and_before_until(call: Caller) -> None:
    first, second = record(call, 1), record(call, 2)
    since, until = first[0].created_at, second[0].created_at
    [row] = call(summarize_usage, SUBJECT, since=since, until=until, by=())
    assert row.amount == 1
    assert call(summarize_usage, SUBJECT, since=until, until=until) == []


@pytest.mark.owner
def test_a_sum_that_is_out_of_range_says_so_and_blames_no_time_zone(call: Caller) -> None:
    call.execute(
        "INSERT INTO runstore.usage_logs (id, meter, subject_id, amount)"
        " SELECT gen_random_uuid(), 'tokens', %s, %s FROM generate_series(1, 2)",
        (SUBJECT, LARGEST_LIMIT),
    )
    with pytest.raises(InvalidPayload, match="parameter: is a number out of range"):
        call(summarize_usage, SUBJECT, **EVER)


def test_a_summary_in_a_time_zone_that_there_is_not_is_refused(call: Caller) -> None:
    record(call)
    with pytest.raises(InvalidPayload, match="timezone: is not known to the database"):
        call(summarize_usage, SUBJECT, **EVER, by=["day"], timezone="Europe/Berlni")


def test_periods_of_a_summary_begin_in_its_time_zone(call: Caller) -> None:
    record(call, 1)
    zone = "Pacific/Kiritimati"
    [row] = call(summarize_usage, SUBJECT, **EVER, by=["day"], timezone=zone)
    assert row.starts_at is not None
    assert row.starts_at.astimezone(UTC).hour == 10


@pytest.mark.parametrize("by", [["day", "hour"], ["subject"], "model"])
def test_a_summary_is_by_what_it_knows_and_one_period(call: Caller, by: Any) -> None:
    with pytest.raises(InvalidPayload) as raised:
        call(summarize_usage, SUBJECT, **EVER, by=by)
    assert raised.value.path == "by"


def test_a_summary_reads_nothing_but_an_index(connect: Connect) -> None:
    conn = connect()
    # Of what was committed otherwise, VACUUM cannot yet say that everybody sees it.
    conn.execute("SET synchronous_commit = on")
    conn.execute(
        "INSERT INTO runstore.usage_logs (id, meter, subject_id, amount, created_at)"
        " SELECT runstore.new_run_id(), 'tokens', 'user-' || mod(n, 50), 1,"
        " now() - n * interval '1 minute' FROM generate_series(1, 20000) AS n"
    )
    conn.execute("VACUUM ANALYZE runstore.usage_logs")
    statement = summarize_usage.bind("user-7", **EVER)
    explain: Any = "EXPLAIN (FORMAT JSON) " + statement.sql.text
    with psycopg.ClientCursor(conn) as cursor:
        row = cursor.execute(explain, statement.parameters).fetchone()
    assert row is not None
    scans = [
        (node["Node Type"], node["Index Name"])
        for node in nodes(row[0][0]["Plan"])
        if "Relation Name" in node
    ]
    assert scans == [("Index Only Scan", "usage_logs_tenant_id_subject_id_created_at_id_meter_idx")]


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(found for child in plan.get("Plans", []) for found in nodes(child))]
