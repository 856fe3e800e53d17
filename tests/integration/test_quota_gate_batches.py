from typing import Any

import pytest

from connections import Caller
from runstore import (
    InvalidPayload,
    QuotaExceeded,
    Reservation,
    reserve_usage,
    settle_usage,
)
from runstore.quota_gates import reserve_usages
from runstore.usage_counters import ExceededQuota
from usage_factories import (
    LARGEST_LIMIT,
    disagreements,
    make_quota,
    new_reservation,
    pass_time,
    record,
    used_and_held,
)


def batch(call: Caller, *amounts: int) -> list[int]:
    """Reserve tokens together, and return the amounts that are held."""
    data = [new_reservation(tokens) for tokens in amounts]
    answers = call(reserve_usages, data)
    held = [answer for answer in answers if isinstance(answer, Reservation)]
    return [answer.amounts["tokens"] for answer in held]


def test_what_is_held_together_is_held_as_if_alone(call: Caller) -> None:
    make_quota(call)
    make_quota(call, period="day")
    data = [
        new_reservation(1, provider="p", metadata={"a": 1}),
        new_reservation(amounts={"tokens": 2, "runs": 1}),
        new_reservation(amounts={"runs": 1}),
    ]
    answers = call(reserve_usages, data)
    assert answers == [call(reserve_usage, item) for item in data]
    for item, answer in zip(data, answers, strict=True):
        assert isinstance(answer, Reservation)
        assert item.differences(answer) == []
    assert used_and_held(call) == [(0, 3)] * 2
    for item in data:
        call(settle_usage, item.id, item.amounts)
    assert used_and_held(call) == [(3, 0)] * 2
    assert disagreements(call) == []


def test_a_batch_is_held_up_to_the_first_that_does_not_fit(call: Caller) -> None:
    make_quota(call, limit_amount=100)
    assert batch(call, 50, 30, 21, 5) == [50, 30]
    assert used_and_held(call) == [(0, 80)]


def test_what_could_never_fit_stands_in_nobodys_way(call: Caller) -> None:
    make_quota(call, limit_amount=100)
    assert batch(call, 101, 50, 200, 50, 1) == [50, 50]
    assert batch(call, 1, 0, 2) == [0]
    assert used_and_held(call) == [(0, 100)]


def test_what_does_not_even_fit_alone_is_answered_with_its_obstacle(call: Caller) -> None:
    make_quota(call, limit_amount=100)
    make_quota(call, period="day", limit_amount=50)
    make_quota(call, meter="runs", limit_amount=0)
    call(reserve_usage, new_reservation(20))
    data = [new_reservation(tokens) for tokens in (31, 10, 81, 30)]
    data.append(new_reservation(amounts={"tokens": 1, "runs": 1}))
    answers = call(reserve_usages, data)

    for index in (0, 2, 4):
        item, answer = data[index], answers[index]
        assert isinstance(answer, ExceededQuota)
        with pytest.raises(QuotaExceeded) as raised:
            call(reserve_usage, item)
        # The one that is held by now stands in the error of who comes after it.
        alone = vars(raised.value) | {"held": answer.held}
        assert vars(answer.error()) == alone
    assert isinstance(answers[1], Reservation)
    # It fits alone, but not with the one before it.
    assert answers[3] is None


def test_a_batch_of_the_largest_limit_is_held_also_below_zero(call: Caller) -> None:
    make_quota(call, limit_amount=LARGEST_LIMIT)
    make_quota(call, meter="runs", limit_amount=0)
    record(call, -1)
    assert batch(call, 0, 10**15, 7) == [0, 10**15, 7]
    [answer] = call(reserve_usages, [new_reservation(amounts={"tokens": 1, "runs": 1})])
    assert isinstance(answer, ExceededQuota)
    assert used_and_held(call) == [(0, 0), (-1, 10**15 + 7)]


@pytest.mark.owner
def test_what_passes_a_limit_in_a_new_window_is_answered_too(call: Caller) -> None:
    make_quota(call, period="day", limit_amount=10)
    call.execute("DELETE FROM runstore.usage_counters")
    large = new_reservation(11)
    answer, other = call(reserve_usages, [large, new_reservation(1)])
    assert isinstance(answer, ExceededQuota)
    assert isinstance(other, Reservation)
    assert (answer.asked, answer.held, other.amounts) == (11, 0, {"tokens": 1})


def test_every_quota_of_a_batch_holds(call: Caller) -> None:
    make_quota(call, meter="runs", limit_amount=2)
    make_quota(call, meter="tokens", limit_amount=100)
    make_quota(call, meter="tokens", period="day", limit_amount=0, hard=False)
    data = [new_reservation(amounts={"runs": 1, "tokens": tokens}) for tokens in (40, 40, 1)]
    data.append(new_reservation(amounts={"unlimited": 5}))
    answers = call(reserve_usages, data)
    assert [isinstance(answer, Reservation) for answer in answers] == [True, True, False, True]
    assert answers[2] is None
    assert used_and_held(call) == [(0, 2), (0, 80), (0, 80)]


@pytest.mark.owner
def test_a_batch_is_held_in_new_windows(call: Caller) -> None:
    make_quota(call, period="month")
    make_quota(call, period="day", limit_amount=10)
    pass_time(call)
    assert batch(call, 1, 11, 9, 1) == [1, 9]
    assert used_and_held(call) == [(0, 10), (0, 10)]
    assert disagreements(call) == []


def test_what_is_held_already_is_passed_over(call: Caller) -> None:
    make_quota(call)
    first, second = new_reservation(5), new_reservation(6)
    call(reserve_usage, first)
    before, answer = call(reserve_usages, [first, second])
    assert before is None
    assert isinstance(answer, Reservation)
    assert used_and_held(call) == [(0, 11)]


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ([], "data"),
        ([new_reservation()] * 2, "data"),
        ([new_reservation(), new_reservation(subject_id="another")], "[1].subject_id"),
        ([new_reservation(), new_reservation(tenant_id="another")], "[1].tenant_id"),
        ([new_reservation() for _ in range(1001)], "data"),
        (["x"], "[0].data"),
    ],
)
def test_what_is_no_batch_is_refused(call: Caller, data: Any, path: str) -> None:
    with pytest.raises(InvalidPayload) as raised:
        call(reserve_usages, data)
    assert raised.value.path == path
