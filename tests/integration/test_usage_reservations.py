from datetime import timedelta
from typing import Any

import pytest

from connections import Caller
from contents import changes, clock, contents
from runstore import (
    Conflict,
    InvalidPayload,
    InvalidTransition,
    NewReservation,
    NotFound,
    QuotaExceeded,
    get_reservation,
    new_child_id,
    new_run_id,
    release_usage,
    renew_reservation,
    reserve_usage,
    run_of,
    set_quota,
    settle_usage,
)
from statements import statements
from usage_factories import (
    LARGEST_LIMIT,
    SUBJECT,
    disagreements,
    let_expire,
    make_quota,
    new_quota,
    new_reservation,
    pass_time,
    record,
    reserve,
    used_and_held,
)

# reserve_usage


def most(**values: Any) -> NewReservation:
    run_id = new_run_id()
    given: dict[str, Any] = {
        "run_id": run_id,
        "invocation_id": new_child_id(run_id),
        "tool_call_id": new_child_id(run_id),
        "provider": "a provider",
        "model": "a-model",
        "amounts": {"tokens": 10**15, "runs": 0},
        "metadata": {"feature": ["a"]},
        "tenant_id": "acme",
        "hold_for": timedelta(hours=2),
    }
    return new_reservation(**given | values)


def test_a_reservation_is_stored_as_it_is_asked_for(call: Caller) -> None:
    data = most()
    reservation = call(reserve_usage, data)
    assert reservation == call(get_reservation, data.id)
    assert data.differences(reservation) == []
    assert (reservation.status, reservation.finished_at) == ("held", None)
    held_for = reservation.expires_at - reservation.created_at
    assert abs(held_for - timedelta(hours=2)) < timedelta(seconds=10)


def test_a_subject_without_quotas_is_unlimited_and_still_reserves(call: Caller) -> None:
    make_quota(call, meter="runs", limit_amount=0)
    make_quota(call, subject_id="another", limit_amount=0)
    make_quota(call, tenant_id="another", limit_amount=0)
    assert reserve(call, 10**15).status == "held"
    assert disagreements(call) == []


def test_a_reservation_up_to_the_limit_is_held_and_one_more_is_not(call: Caller) -> None:
    quota = make_quota(call, period="month", limit_amount=100)
    record(call, 50)
    reserve(call, 30)
    reserve(call, 20)
    before = contents(call)
    with pytest.raises(QuotaExceeded) as raised:
        reserve(call, 1)
    error = raised.value
    assert (error.quota, error.meter, error.period) == (quota.id, "tokens", "month")
    assert (error.limit, error.used, error.held, error.asked) == (100, 50, 50, 1)
    assert error.resets_at is not None
    assert error.resets_at > clock(call)
    assert (error.resets_at.day, error.resets_at.hour) == (1, 0)
    assert SUBJECT not in str(error)
    assert contents(call) == before


def test_a_limit_of_nothing_holds_nothing_but_nothing(call: Caller) -> None:
    make_quota(call, limit_amount=0)
    assert reserve(call, 0).status == "held"
    with pytest.raises(QuotaExceeded):
        reserve(call, 1)


@pytest.mark.parametrize("periods", [["total"], ["day", "total"]])
def test_the_largest_limit_holds_also_below_zero(call: Caller, periods: list[str]) -> None:
    for period in periods:
        make_quota(call, period=period, limit_amount=LARGEST_LIMIT)
    record(call, -(10**15))
    reserve(call, 0)
    reserve(call, 10**15)
    reserve(call, 7)
    assert used_and_held(call) == [(-(10**15), 10**15 + 7)] * len(periods)
    make_quota(call, meter="runs", limit_amount=0)
    with pytest.raises(QuotaExceeded):
        reserve(call, amounts={"tokens": 1, "runs": 1})


def test_what_was_corrected_below_zero_may_be_held_beside_the_limit(call: Caller) -> None:
    make_quota(call, limit_amount=100)
    record(call, -20)
    with pytest.raises(QuotaExceeded):
        reserve(call, 121)
    reserve(call, 120)
    with pytest.raises(QuotaExceeded):
        reserve(call, 1)
    reserve(call, 0)


def test_a_total_never_resets(call: Caller) -> None:
    make_quota(call, period="total", limit_amount=1)
    with pytest.raises(QuotaExceeded) as raised:
        reserve(call, 2)
    assert raised.value.resets_at is None
    assert "resets" not in str(raised.value)


def test_all_amounts_are_held_or_none(call: Caller) -> None:
    make_quota(call, meter="runs", limit_amount=1)
    make_quota(call, meter="tokens", limit_amount=100)
    reserve(call, amounts={"runs": 1, "tokens": 10, "unlimited": 10**15})
    with pytest.raises(QuotaExceeded) as raised:
        reserve(call, amounts={"runs": 1, "tokens": 10})
    assert raised.value.meter == "runs"
    assert used_and_held(call) == [(0, 1), (0, 10)]
    reserve(call, amounts={"tokens": 90})
    assert used_and_held(call) == [(0, 1), (0, 100)]


def test_all_quotas_on_a_meter_hold_and_the_one_that_resets_last_is_named(call: Caller) -> None:
    for period, limit in [("total", 100), ("month", 90), ("day", 80)]:
        make_quota(call, period=period, limit_amount=limit)
    reserve(call, 80)
    for tokens, period in [(1, "day"), (10, "day"), (11, "month"), (21, "total")]:
        with pytest.raises(QuotaExceeded) as raised:
            reserve(call, tokens)
        assert raised.value.period == period
    assert used_and_held(call) == [(0, 80)] * 3


def test_a_soft_quota_counts_and_refuses_nothing(call: Caller) -> None:
    make_quota(call, limit_amount=10, hard=False)
    reserve(call, 8)
    reserve(call, 8)
    assert used_and_held(call) == [(0, 16)]


@pytest.mark.owner
def test_a_new_window_starts_with_nothing_whatever_the_old_ones_hold(call: Caller) -> None:
    for period in ("day", "month", "total"):
        make_quota(call, period=period, limit_amount=100)
    reserve(call, 60)
    with pytest.raises(QuotaExceeded):
        reserve(call, 60)
    pass_time(call)
    reserve(call, 40)
    assert used_and_held(call) == [(0, 40), (0, 40), (0, 100)]
    assert disagreements(call) == []


def test_a_reservation_may_be_repeated_whatever_happened_since(call: Caller) -> None:
    make_quota(call, limit_amount=10)
    data = new_reservation(10)
    first = call(reserve_usage, data)
    before = contents(call)
    assert call(reserve_usage, data) == first
    assert contents(call) == before

    call(settle_usage, first.id, {"tokens": 10})
    before = contents(call)
    again = call(reserve_usage, data)
    assert (again.status, again.created_at) == ("settled", first.created_at)
    assert contents(call) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amounts", {"tokens": 11}),
        ("amounts", {"tokens": 10**15}),
        ("subject_id", "another"),
        ("tenant_id", "another"),
        ("run_id", None),
        ("provider", "another"),
        ("model", None),
        ("metadata", {}),
    ],
)
def test_an_id_stands_for_one_reservation(call: Caller, field: str, value: Any) -> None:
    data = most()
    call(reserve_usage, data)
    before = contents(call)
    values = dict(data) | {field: value}
    if field == "run_id":
        values |= {"invocation_id": None, "tool_call_id": None}
    with pytest.raises(Conflict) as raised:
        call(reserve_usage, NewReservation(**values))
    assert field in str(raised.value)
    assert contents(call) == before


def test_the_id_of_logged_usage_is_no_reservations(call: Caller) -> None:
    [row] = record(call)
    with pytest.raises(Conflict):
        reserve(call, id=row.id)


def test_an_id_carries_the_run_where_there_is_one() -> None:
    run_id = new_run_id()
    child = new_child_id(run_id)
    assert run_of(new_reservation(run_id=run_id).id) == run_id
    assert new_reservation(invocation_id=child).run_id == run_id
    assert new_reservation(tool_call_id=child).run_id == run_id
    without = new_reservation()
    assert without.run_id is None
    assert run_of(without.id) != without.id


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"amounts": {}}, "amounts"),
        ({"amounts": {"tokens": -1}}, "amounts.tokens"),
        ({"amounts": {"tokens": 1.0}}, "amounts.tokens"),
        ({"amounts": {"tokens": True}}, "amounts.tokens"),
        ({"amounts": {"tokens": 10**15 + 1}}, "amounts.tokens"),
        ({"amounts": {"": 1}}, "amounts[a key]"),
        ({"amounts": {str(number): 1 for number in range(33)}}, "amounts"),
        (
            {"amounts": {"input_tokens": 1, "cache_read_tokens": 1, "cache_write_tokens": 1}},
            "amounts",
        ),
        ({"amounts": {"output_tokens": 1, "reasoning_tokens": 2}}, "amounts"),
        ({"subject_id": ""}, "subject_id"),
        ({"hold_for": timedelta()}, "hold_for"),
        ({"hold_for": timedelta(days=367)}, "hold_for"),
        ({"run_id": new_child_id(new_run_id())}, "run_id"),
        ({"invocation_id": new_child_id(new_run_id()), "run_id": new_run_id()}, "run_id"),
        (
            {
                "invocation_id": new_child_id(new_run_id()),
                "tool_call_id": new_child_id(new_run_id()),
            },
            "run_id",
        ),
    ],
)
def test_what_is_no_reservation_is_refused(values: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidPayload) as raised:
        new_reservation(**values)
    assert raised.value.path == path


# How many statements a call sends; a test is in a transaction, which adds savepoints.


def test_one_statement_reserves_also_in_the_first_window_of_a_subject(
    committed_call: Caller,
) -> None:
    call = committed_call
    for period in ("day", "month"):
        make_quota(call, period=period)
    with statements() as sent:
        reserve(call)
        reserve(call)
        reserve(call, subject_id="unknown")
    assert sent == ["reserve_usage"] * 3


@pytest.mark.owner
def test_one_statement_reserves_in_new_windows(committed_call: Caller) -> None:
    call = committed_call
    for period in ("month", "day", "total"):
        make_quota(call, period=period)
        pass_time(call)
        with statements() as sent:
            reserve(call)
        assert sent == ["reserve_usage"]
    assert used_and_held(call) == [(0, 10)] * 3
    assert disagreements(call) == []


def test_one_statement_refuses(committed_call: Caller) -> None:
    make_quota(committed_call, limit_amount=5)
    make_quota(committed_call, period="day")
    with statements() as sent, pytest.raises(QuotaExceeded):
        reserve(committed_call)
    assert sent == ["reserve_usage"]


def test_a_refusal_leaves_a_transaction_usable_and_reserves_nothing(call: Caller) -> None:
    call(set_quota, new_quota(limit_amount=5))
    with pytest.raises(QuotaExceeded):
        reserve(call)
    reserve(call, 5)
    assert used_and_held(call) == [(0, 5)]


# get_reservation


def test_a_reservation_that_is_not_there_is_not_found(call: Caller) -> None:
    for function in (get_reservation, renew_reservation):
        with pytest.raises(NotFound):
            call(function, new_child_id(new_run_id()))


# renew_reservation


def test_a_renewed_hold_expires_later_and_nothing_else_changes(call: Caller) -> None:
    make_quota(call)
    reservation = reserve(call)
    before = contents(call)
    now = clock(call)
    renewed = call(renew_reservation, reservation.id, hold_for=timedelta(hours=3))
    assert now < renewed.expires_at - timedelta(hours=3) < clock(call)
    assert renewed == reservation.model_copy(update={"expires_at": renewed.expires_at})
    assert changes(before, contents(call)).keys() == {"usage_reservations"}


def test_a_hold_that_is_overdue_and_still_open_is_renewed(call: Caller) -> None:
    reservation = reserve(call)
    let_expire(call)
    assert call(renew_reservation, reservation.id).expires_at > clock(call)


def test_a_hold_that_ended_is_not_renewed(call: Caller) -> None:
    reservation = reserve(call)
    call(release_usage, reservation.id)
    with pytest.raises(InvalidTransition) as raised:
        call(renew_reservation, reservation.id)
    assert raised.value.status == "released"


@pytest.mark.parametrize("hold_for", [timedelta(), timedelta(seconds=-1), timedelta(days=400)])
def test_a_hold_is_renewed_for_some_time(call: Caller, hold_for: timedelta) -> None:
    reservation = reserve(call)
    with pytest.raises(InvalidPayload):
        call(renew_reservation, reservation.id, hold_for=hold_for)
