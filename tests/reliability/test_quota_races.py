"""Two who change the same counters at once: the second waits, and then says the truth."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from connections import Connect, wait_until_blocked
from races import Conn, loses, race
from runstore import (
    Conflict,
    InvalidTransition,
    NewReservation,
    QuotaExceeded,
    expire_reservations,
    get_reservation,
    get_usage,
    record_usage,
    release_usage,
    remove_quota,
    renew_reservation,
    reserve_usage,
    set_quota,
    settle_usage,
    transaction,
    verify_usage,
)
from runstore.quota_gates import reserve_usages
from usage_factories import SUBJECT, new_quota, new_reservation, new_usage


def used_and_held(conn: Conn) -> list[tuple[int, int]]:
    assert verify_usage(conn).items == []
    return [(quota.used, quota.held) for quota in get_usage(conn, SUBJECT)]


def let_windows_pass(conn: Conn) -> None:
    conn.execute(
        "UPDATE runstore.usage_counters SET window_start = window_start - interval '60 days'"
    )


@pytest.fixture
def conn(connect: Connect) -> Conn:
    """A connection of a subject with a limit of 100."""
    conn = connect()
    set_quota(conn, new_quota(period="month", limit_amount=100))
    return conn


@pytest.mark.owner
@pytest.mark.parametrize("new_window", [False, True])
def test_the_second_hears_what_the_first_left(
    conn: Conn, connect: Connect, *, new_window: bool
) -> None:
    if new_window:
        let_windows_pass(conn)
    error = loses(
        connect,
        lambda first: reserve_usage(first, new_reservation(60)),
        lambda second: reserve_usage(second, new_reservation(41)),
    )
    assert isinstance(error, QuotaExceeded)
    assert (error.used, error.held, error.asked) == (0, 60, 41)
    assert used_and_held(conn) == [(0, 60)]


@pytest.mark.owner
@pytest.mark.parametrize("new_window", [False, True])
@pytest.mark.parametrize("quotas", [1, 2])
@pytest.mark.parametrize("first_gives_up", [False, True])
def test_both_are_counted_where_both_fit(
    conn: Conn, connect: Connect, *, new_window: bool, quotas: int, first_gives_up: bool
) -> None:
    if quotas == 2:
        set_quota(conn, new_quota(period="day", limit_amount=100))
    if new_window:
        let_windows_pass(conn)
    race(
        connect,
        lambda first: reserve_usage(first, new_reservation(60)),
        lambda second: record_usage(second, new_usage(40)),
        first_gives_up=first_gives_up,
    )
    assert used_and_held(conn) == [(40, 0 if first_gives_up else 60)] * quotas


def reserve_in_batch(conn: Conn, data: NewReservation) -> Any:
    return reserve_usages(conn, [data])


@pytest.mark.parametrize(
    ("write", "new"),
    [
        (reserve_usage, new_reservation),
        (reserve_in_batch, new_reservation),
        (record_usage, new_usage),
    ],
)
def test_who_waits_for_an_id_keeps_nobody_from_a_counter(
    conn: Conn, connect: Connect, write: Callable[[Conn, Any], Any], new: Callable[..., Any]
) -> None:
    data = new(amounts={"tokens": 40, "searches": 1})
    holder, waiter = connect(), connect()
    with ThreadPoolExecutor(1) as pool:
        with transaction(holder):
            # Of a meter without a quota, and so without a counter.
            write(holder, new(id=data.id, amounts={"searches": 1}))
            waiting = pool.submit(write, waiter, data)
            wait_until_blocked(conn)
            conn.execute("SET lock_timeout = '5s'")
            reserve_usage(conn, new_reservation(20))
            record_usage(conn, new_usage(30))
            raise psycopg.Rollback
        waiting.result(timeout=10)
    [(used, held)] = used_and_held(conn)
    assert used + held == 90


@pytest.mark.parametrize(
    ("use", "new"), [(reserve_usage, new_reservation), (record_usage, new_usage)]
)
def test_a_race_for_the_last_room_leaves_a_transaction_usable(
    conn: Conn, connect: Connect, use: Any, new: Callable[[int], Any]
) -> None:
    def second(waiter: Conn) -> None:
        with transaction(waiter):
            record_usage(waiter, new_usage(1))
            with pytest.raises(QuotaExceeded):
                use(waiter, new(40))
            use(waiter, new(39))

    race(connect, lambda first: reserve_usage(first, new_reservation(60)), second)
    [(used, held)] = used_and_held(conn)
    assert used + held == 100


@pytest.mark.parametrize("tokens", [10, 60, 100])
@pytest.mark.parametrize("limited", [True, False])
def test_a_reservation_that_is_repeated_before_its_answer_is_one(
    conn: Conn, connect: Connect, tokens: int, *, limited: bool
) -> None:
    if not limited:
        remove_quota(conn, SUBJECT, "tokens", "month")
    data = new_reservation(tokens)
    # With 60 or 100 the repetition finds the quota exceeded, by its own reservation.
    again = race(
        connect,
        lambda first: reserve_usage(first, data),
        lambda second: reserve_usage(second, data),
    )
    assert again == get_reservation(conn, data.id)
    assert used_and_held(conn) == [(0, tokens)] * limited


def test_the_same_id_for_other_amounts_at_once_is_a_conflict(conn: Conn, connect: Connect) -> None:
    data = new_reservation(10)
    other = new_reservation(id=data.id, amounts={"tokens": 11})
    error = loses(
        connect,
        lambda first: reserve_usage(first, data),
        lambda second: reserve_usage(second, other),
    )
    assert isinstance(error, Conflict)
    assert used_and_held(conn) == [(0, 10)]


@pytest.mark.owner
def test_the_same_id_for_other_meters_at_once_is_a_conflict(conn: Conn, connect: Connect) -> None:
    set_quota(conn, new_quota(meter="runs", period="month"))
    let_windows_pass(conn)
    data = new_reservation(10)
    other = new_reservation(id=data.id, amounts={"runs": 1})
    error = loses(
        connect,
        lambda first: reserve_usage(first, data),
        lambda second: reserve_usage(second, other),
    )
    assert isinstance(error, Conflict)
    assert used_and_held(conn) == [(0, 0), (0, 10)]


@pytest.mark.parametrize("limited", [True, False])
@pytest.mark.parametrize("tokens", [10, 100])
def test_usage_that_is_repeated_before_its_answer_is_logged_once(
    conn: Conn, connect: Connect, tokens: int, *, limited: bool
) -> None:
    if not limited:
        remove_quota(conn, SUBJECT, "tokens", "month")
    data = new_usage(tokens)
    [row] = race(
        connect,
        lambda first: record_usage(first, data),
        lambda second: record_usage(second, data),
    )
    assert row.amount == tokens
    assert used_and_held(conn) == [(tokens, 0)] * limited


def settle(amount: int) -> Callable[[Conn, UUID], Any]:
    return lambda conn, id: settle_usage(conn, id, {"tokens": amount})


ENDS: dict[str, tuple[Callable[[Conn, UUID], Any], list[tuple[int, int]]]] = {
    "settled": (settle(25), [(25, 0)]),
    "released": (release_usage, [(0, 0)]),
}


@pytest.mark.parametrize("first", ENDS)
@pytest.mark.parametrize("second", ENDS)
@pytest.mark.parametrize("expired", [False, True])
def test_a_reservation_ends_once(
    conn: Conn, connect: Connect, first: str, second: str, *, expired: bool
) -> None:
    id = reserve_usage(conn, new_reservation(60)).id
    if expired:
        conn.execute("UPDATE runstore.usage_reservations SET expires_at = now()")
        expire_reservations(conn)
    end, left = ENDS[first]
    if first == second:
        race(connect, lambda conn: end(conn, id), lambda conn: end(conn, id))
    else:
        error = loses(connect, lambda conn: end(conn, id), lambda conn: ENDS[second][0](conn, id))
        assert isinstance(error, InvalidTransition)
        assert error.status == first
    assert get_reservation(conn, id).status == first
    assert used_and_held(conn) == left


def test_a_reservation_is_not_settled_twice_at_once_with_other_amounts(
    conn: Conn, connect: Connect
) -> None:
    id = reserve_usage(conn, new_reservation(60)).id
    error = loses(connect, lambda conn: settle(25)(conn, id), lambda conn: settle(26)(conn, id))
    assert isinstance(error, Conflict)
    assert used_and_held(conn) == [(25, 0)]


def test_an_overdue_hold_that_is_ending_is_left_to_its_end(conn: Conn, connect: Connect) -> None:
    id = reserve_usage(conn, new_reservation(60)).id
    conn.execute("UPDATE runstore.usage_reservations SET expires_at = now()")
    settler = connect()
    with settler.transaction():
        settle_usage(settler, id, {"tokens": 25})
        assert expire_reservations(conn) == []
    assert expire_reservations(conn) == []
    assert used_and_held(conn) == [(25, 0)]


def test_who_settles_waits_for_an_expiry_and_still_logs_the_truth(
    conn: Conn, connect: Connect
) -> None:
    id = reserve_usage(conn, new_reservation(60)).id
    conn.execute("UPDATE runstore.usage_reservations SET expires_at = now()")
    race(connect, expire_reservations, lambda conn: settle(70)(conn, id))
    assert used_and_held(conn) == [(70, 0)]


def test_who_renews_waits_for_an_expiry_and_hears_of_it(conn: Conn, connect: Connect) -> None:
    id = reserve_usage(conn, new_reservation(60)).id
    conn.execute("UPDATE runstore.usage_reservations SET expires_at = now()")
    error = loses(connect, expire_reservations, lambda conn: renew_reservation(conn, id))
    assert isinstance(error, InvalidTransition)
    assert error.status == "expired"


@pytest.mark.owner
@pytest.mark.parametrize("new_window", [False, True])
@pytest.mark.parametrize("use", [reserve_usage, record_usage])
def test_a_quota_that_is_being_removed_is_waited_for_and_counts_no_more(
    conn: Conn, connect: Connect, use: Any, *, new_window: bool
) -> None:
    if new_window:
        let_windows_pass(conn)
    data = new_reservation(60) if use is reserve_usage else new_usage(60)
    race(
        connect,
        lambda first: remove_quota(first, SUBJECT, "tokens", "month"),
        lambda second: use(second, data),
    )
    assert used_and_held(conn) == []
    assert conn.execute("SELECT FROM runstore.usage_counters").rowcount == 0


def expire(conn: Conn, id: UUID) -> None:
    [expired] = expire_reservations(conn)
    assert expired.id == id


@pytest.mark.parametrize("stays", [True, False])
@pytest.mark.parametrize(
    ("end", "left"), [(settle(50), (50, 0)), (release_usage, (0, 0)), (expire, (0, 0))]
)
def test_who_ends_a_hold_waits_for_who_removes_its_quota(
    conn: Conn, connect: Connect, end: Any, left: tuple[int, int], *, stays: bool
) -> None:
    data = new_reservation(60, hold_for=timedelta(milliseconds=1))
    reserve_usage(conn, data)
    race(
        connect,
        lambda first: remove_quota(first, SUBJECT, "tokens", "month"),
        lambda second: end(second, data.id),
        first_gives_up=stays,
    )
    assert get_reservation(conn, data.id).status != "held"
    assert used_and_held(conn) == [left] * stays
    assert conn.execute("SELECT FROM runstore.usage_counters").rowcount == stays


def test_who_removes_a_quota_waits_for_who_uses_it(conn: Conn, connect: Connect) -> None:
    data = new_reservation(60)
    race(
        connect,
        lambda first: reserve_usage(first, data),
        lambda second: remove_quota(second, SUBJECT, "tokens", "month"),
    )
    settle_usage(conn, data.id, {"tokens": 60})
    assert used_and_held(conn) == []


def test_a_quota_may_be_set_by_two_at_once(conn: Conn, connect: Connect) -> None:
    remove_quota(conn, SUBJECT, "tokens", "month")
    record_usage(conn, new_usage(5))
    second = race(
        connect,
        lambda conn: set_quota(conn, new_quota(period="month", limit_amount=7)),
        lambda conn: set_quota(conn, new_quota(period="month", limit_amount=8)),
    )
    [quota] = get_usage(conn, SUBJECT)
    assert (quota.quota_id, quota.limit_amount, quota.used) == (second.id, 8, 5)
    assert verify_usage(conn).items == []


def test_a_quota_may_be_set_with_another_time_zone_by_two_at_once(
    conn: Conn, connect: Connect
) -> None:
    record_usage(conn, new_usage(5))
    race(
        connect,
        lambda conn: set_quota(conn, new_quota(period="month", timezone="Asia/Tokyo")),
        lambda conn: set_quota(conn, new_quota(period="month", timezone="Asia/Kolkata")),
    )
    [quota] = get_usage(conn, SUBJECT)
    assert (quota.timezone, quota.used) == ("Asia/Kolkata", 5)
    assert verify_usage(conn).items == []
