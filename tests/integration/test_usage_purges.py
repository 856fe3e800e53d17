"""Usage purges: old usage is removed, and no quota forgets what was used."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from connections import BlockingCaller, Caller, Connect, wait_until_blocked
from contents import Contents, contents
from invariants import broken
from races import race
from runstore import (
    InvalidPayload,
    NotFound,
    QuotaExceeded,
    UsagePurge,
    expire_reservations,
    purge_usage,
    rebuild_usage_counters,
    record_usage,
    release_usage,
    remove_quota,
    reserve_usage,
    settle_usage,
)
from runstore.usage_purges import DeletedEntries, delete_old_usage_logs
from usage_factories import (
    SUBJECT,
    let_expire,
    make_quota,
    new_reservation,
    new_usage,
    pass_time,
    record,
    reserve,
    used_and_held,
)

# Purging takes the janitor's rights, and dating usage back the owner's.
pytestmark = pytest.mark.owner

A_MONTH_AGO = datetime.now(UTC) - timedelta(days=30)
"""What is old is from before this: 60 days old."""

TABLES = ("usage_reservations", "usage_counters", "usage_logs")


def rows_of(found: Contents) -> dict[str, int]:
    return {table: len(found[table]) for table in TABLES if found[table]}


def use(call: Caller, subject_id: str = SUBJECT) -> None:
    """Use 10 tokens: 7 of a reservation, 5, and -2 that correct them; and release a reservation."""
    call(settle_usage, reserve(call, subject_id=subject_id).id, {"tokens": 7})
    call(release_usage, reserve(call, subject_id=subject_id).id)
    record(call, 5, subject_id=subject_id)
    record(call, -2, subject_id=subject_id)


def test_old_usage_goes_and_totals_keep_what_was_used(committed_call: Caller) -> None:
    call = committed_call
    make_quota(call)
    make_quota(call, period="day")
    use(call)
    pass_time(call)
    use(call)
    young = contents(call)

    purge = call(purge_usage, A_MONTH_AGO)

    assert purge.rows == {"usage_reservations": 2, "usage_counters": 1, "usage_logs": 3}
    assert not purge.dry_run
    left = contents(call)
    assert rows_of(left) == {"usage_reservations": 2, "usage_counters": 2, "usage_logs": 3}
    for table in ("usage_reservations", "usage_logs"):
        assert all(row in young[table] for row in left[table])
    assert used_and_held(call) == [(10, 0), (20, 0)]
    assert broken(call) == {}
    assert call(purge_usage, A_MONTH_AGO).rows == {}


def test_a_limit_holds_after_a_purge_as_before(committed_call: Caller) -> None:
    call = committed_call
    make_quota(call, limit_amount=100)
    record(call, 90)
    pass_time(call)
    call(purge_usage, A_MONTH_AGO)

    with pytest.raises(QuotaExceeded) as raised:
        reserve(call, 11)
    assert raised.value.used == 90
    reserve(call, 10)
    assert call(rebuild_usage_counters, SUBJECT) == []


def test_a_dry_run_says_what_would_go_and_writes_nothing(committed_call: Caller) -> None:
    call = committed_call
    for subject_id in ("a", "b", "c"):
        make_quota(call, subject_id=subject_id, limit_amount=1000)
        make_quota(call, subject_id=subject_id, limit_amount=1000, period="day")
    for _ in range(3):
        for subject_id in ("a", "b", "c"):
            use(call, subject_id)
        pass_time(call, "25 days")
    reserve(call, subject_id="a")
    before = contents(call)

    told = call(purge_usage, A_MONTH_AGO, dry_run=True)
    assert contents(call) == before
    done = call(purge_usage, A_MONTH_AGO, page_size=2)

    assert told.dry_run
    assert done == told.model_copy(update={"dry_run": False})
    assert done.rows == {"usage_reservations": 12, "usage_counters": 6, "usage_logs": 18}
    assert broken(call) == {}


def test_what_is_open_stays_with_its_window(committed_call: Caller) -> None:
    call = committed_call
    make_quota(call, period="day")
    record(call, 5)
    held = reserve(call, 7)
    pass_time(call)

    assert call(purge_usage, A_MONTH_AGO).rows == {"usage_logs": 1}
    assert broken(call) == {}
    call(settle_usage, held.id, {"tokens": 6})

    [counter] = contents(call)["usage_counters"]
    assert (counter["carried"], counter["used"], counter["held"]) == (5, 11, 0)
    assert broken(call) == {}


def test_a_hold_that_expired_is_settled_in_the_present_window_once_its_own_is_gone(
    committed_call: Caller,
) -> None:
    call = committed_call
    make_quota(call, period="day")
    late = reserve(call, 7)
    pass_time(call)
    let_expire(call)
    call(expire_reservations)

    assert call(purge_usage, A_MONTH_AGO).rows == {"usage_counters": 1}
    call(settle_usage, late.id, {"tokens": 6})

    assert used_and_held(call) == [(6, 0)]
    assert broken(call) == {}


def test_what_expired_long_ago_is_no_more(committed_call: Caller) -> None:
    call = committed_call
    late = reserve(call, 7)
    let_expire(call)
    call(expire_reservations)
    pass_time(call)

    assert call(purge_usage, A_MONTH_AGO).rows == {"usage_reservations": 1}
    with pytest.raises(NotFound):
        call(settle_usage, late.id, {"tokens": 6})


def test_the_present_window_stays_whatever_the_time(committed_call: Caller) -> None:
    call = committed_call
    make_quota(call, period="day", limit_amount=10)
    make_quota(call, period="minute", limit_amount=10)
    record(call, 10)

    purge = call(purge_usage, datetime.now(UTC) + timedelta(days=400))

    assert purge.rows == {"usage_logs": 1}
    assert (10, 0) in used_and_held(call)
    with pytest.raises(QuotaExceeded):
        record(call, 1)
    assert broken(call) == {}


def test_days_end_in_the_time_zone_of_their_quota(committed_call: Caller) -> None:
    call = committed_call
    make_quota(call, period="day", timezone="Asia/Tokyo")
    record(call, 5)
    [(start,)] = call.execute("SELECT window_start FROM runstore.usage_counters")
    call.execute(
        "UPDATE runstore.usage_counters SET window_start = %s", [start - timedelta(days=9)]
    )
    end = start - timedelta(days=8)

    assert call(purge_usage, end - timedelta(seconds=1)).rows == {}
    assert call(purge_usage, end).rows == {"usage_counters": 1}


def test_entries_of_a_reservation_stay_as_long_as_it_does(committed_call: Caller) -> None:
    call = committed_call
    make_quota(call)
    settled = reserve(call)
    call(settle_usage, settled.id, {"tokens": 7})
    call.execute("UPDATE runstore.usage_logs SET created_at = created_at - interval '60 days'")

    assert call(purge_usage, A_MONTH_AGO, dry_run=True).rows == {}
    assert call(purge_usage, A_MONTH_AGO).rows == {}
    assert [log.amount for log in call(settle_usage, settled.id, {"tokens": 7})] == [7]


def test_a_purge_is_of_one_tenant(committed_call: Caller) -> None:
    call = committed_call
    for tenant_id in ("default", "acme"):
        make_quota(call, tenant_id=tenant_id, period="day")
        record(call, tenant_id=tenant_id)
        call(release_usage, reserve(call, tenant_id=tenant_id).id)
    pass_time(call)
    one_of_each = dict.fromkeys(TABLES, 1)

    assert call(purge_usage, A_MONTH_AGO, tenant_id="acme", dry_run=True).rows == one_of_each
    assert call(purge_usage, A_MONTH_AGO, tenant_id="acme").rows == one_of_each

    left = contents(call)
    assert [row["tenant_id"] for table in TABLES for row in left[table]] == ["default"] * 3
    assert broken(call) == {}


def test_usage_of_subjects_without_quotas_goes_too(committed_call: Caller) -> None:
    call = committed_call
    for subject_id in ("a", "b", "c"):
        record(call, subject_id=subject_id)
    make_quota(call, subject_id="b")
    call(remove_quota, "b", meter="tokens", period="total")
    pass_time(call)
    record(call, subject_id="b")

    assert call(purge_usage, A_MONTH_AGO, page_size=1).rows == {"usage_logs": 3}
    assert [row["subject_id"] for row in contents(call)["usage_logs"]] == ["b"]


def test_a_stopped_purge_goes_on(committed_call: Caller) -> None:
    call = committed_call
    make_quota(call, limit_amount=1000)
    for _ in range(3):
        use(call)
    pass_time(call)
    seen: list[UsagePurge] = []

    def stop(done: UsagePurge) -> None:
        seen.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(purge_usage, A_MONTH_AGO, page_size=2, on_batch=stop)
    assert rows_of(contents(call))["usage_reservations"] == 4
    assert broken(call) == {}
    done = call(purge_usage, A_MONTH_AGO, page_size=4, on_batch=seen.append)

    assert [sum(each.rows.values()) for each in seen] == [2, 4, 8, 12, 13]
    assert done == seen[-1]
    assert done.rows == {"usage_reservations": 4, "usage_logs": 9}
    assert used_and_held(call) == [(30, 0)]


@pytest.mark.parametrize("page_size", [1, 2, 4])
def test_an_entry_goes_with_all_of_its_meters_or_stays(
    committed_call: Caller, page_size: int
) -> None:
    call = committed_call
    entries = [new_usage(amounts={"tokens": 1, "calls": 2, "seconds": 3}) for _ in range(2)]
    for data in entries:
        call(record_usage, data)
    pass_time(call)

    def stop(done: UsagePurge) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        call(purge_usage, A_MONTH_AGO, page_size=page_size, on_batch=stop)

    assert [len(call(record_usage, data)) for data in entries] == [3, 3]
    pass_time(call)
    call(purge_usage, A_MONTH_AGO, page_size=page_size)
    assert rows_of(contents(call)) == {}


@pytest.mark.parametrize("page_size", [0, 10_001])
def test_a_page_size_out_of_range_is_refused(committed_call: Caller, page_size: int) -> None:
    with pytest.raises(InvalidPayload, match="page_size"):
        committed_call(purge_usage, A_MONTH_AGO, page_size=page_size)


def test_a_purge_cannot_run_in_a_transaction(call: Caller) -> None:
    with pytest.raises(psycopg.ProgrammingError, match="purge_usage commits batch by batch"):
        call(purge_usage, A_MONTH_AGO)


def test_an_id_that_is_gone_protects_from_no_repetition(committed_call: Caller) -> None:
    call = committed_call
    data, asked = new_usage(), new_reservation()
    call(record_usage, data)
    call(reserve_usage, asked)
    call(release_usage, asked.id)
    pass_time(call)
    call(purge_usage, A_MONTH_AGO)

    assert len(call(record_usage, data)) == 1
    assert call(reserve_usage, asked).status == "held"


# At the same time


def two_subjects(connect: Connect, **quota: Any) -> BlockingCaller:
    call = BlockingCaller(connect(), in_transaction=False)
    for subject_id in ("a", "b"):
        make_quota(call, subject_id=subject_id, **quota)
        record(call, 5, subject_id=subject_id)
    pass_time(call)
    return call


def test_a_counter_that_somebody_has_locked_keeps_its_subjects_entries_for_the_next_purge(
    connect: Connect,
) -> None:
    call = two_subjects(connect)
    holder = connect()
    with holder.transaction():
        holder.execute("SELECT FROM runstore.usage_counters WHERE subject_id = 'a' FOR UPDATE")
        assert call(purge_usage, A_MONTH_AGO).rows == {"usage_logs": 1}
    assert [row["subject_id"] for row in contents(call)["usage_logs"]] == ["a"]
    assert broken(call) == {}

    assert call(purge_usage, A_MONTH_AGO).rows == {"usage_logs": 1}


def test_who_purges_many_subjects_waits_for_no_counter(connect: Connect) -> None:
    call = two_subjects(connect)
    holder, purger = connect(), connect()
    with holder.transaction():
        holder.execute("SELECT FROM runstore.usage_counters WHERE subject_id = 'b' FOR UPDATE")
        # Were it to wait for the lock, it would wait for ever.
        deleted = delete_old_usage_logs(purger, ["a", "b"], A_MONTH_AGO, 100, wait=False)
        assert deleted == DeletedEntries(found_count=2, row_count=1, busy_subject_ids=["b"])
    assert [row["subject_id"] for row in contents(call)["usage_logs"]] == ["b"]
    assert broken(call) == {}


def test_who_purges_one_subject_waits_for_its_counters(connect: Connect) -> None:
    call = two_subjects(connect)
    deleted = race(
        connect,
        lambda conn: record_usage(conn, new_usage(3, subject_id="b")),
        lambda conn: delete_old_usage_logs(conn, ["b"], A_MONTH_AGO, 100, wait=True),
    )

    assert deleted == DeletedEntries(found_count=1, row_count=1, busy_subject_ids=[])
    assert used_and_held(call, "b") == [(8, 0)]
    assert broken(call) == {}


@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_a_subject_that_is_in_use_keeps_no_others_entries(connect: Connect, page_size: int) -> None:
    call = BlockingCaller(connect(), in_transaction=False)
    for subject_id in ("a", "b", "c"):
        make_quota(call, subject_id=subject_id)
        for _ in range(3):
            record(call, 5, subject_id=subject_id)
    pass_time(call)
    holder = connect()
    with holder.transaction():
        holder.execute("SELECT FROM runstore.usage_counters WHERE subject_id = 'b' FOR UPDATE")
        assert call(purge_usage, A_MONTH_AGO, page_size=page_size).rows == {"usage_logs": 6}
        assert broken(call) == {}

    assert call(purge_usage, A_MONTH_AGO, page_size=page_size).rows == {"usage_logs": 3}


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_somebody_has_locked_is_passed_over(connect: Connect, table: str) -> None:
    call = two_subjects(connect, period="day")
    for subject_id in ("a", "b"):
        call(release_usage, reserve(call, subject_id=subject_id).id)
    pass_time(call)
    holder = connect()
    lock: Any = f"SELECT FROM runstore.{table} WHERE subject_id = 'a' FOR UPDATE"
    with holder.transaction():
        holder.execute(lock)
        call(purge_usage, A_MONTH_AGO)
        left = contents(call)
        assert {row["subject_id"] for row in left[table]} == {"a"}
        assert broken(call) == {}
    call(purge_usage, A_MONTH_AGO)
    assert rows_of(contents(call)) == {}


def test_an_entry_of_which_somebody_has_a_row_locked_stays_whole(connect: Connect) -> None:
    call = BlockingCaller(connect(), in_transaction=False)
    amounts = {"tokens": 1, "calls": 2, "seconds": 3}
    entries = [new_usage(amounts=amounts) for _ in range(3)]
    for data in entries:
        call(record_usage, data)
        pass_time(call)
    holder = connect()
    with holder.transaction():
        holder.execute(
            "SELECT FROM runstore.usage_logs WHERE id = %s AND meter = 'seconds' FOR UPDATE",
            [entries[1].id],
        )
        assert call(purge_usage, A_MONTH_AGO, page_size=4).rows == {"usage_logs": 6}
        left = contents(call)["usage_logs"]
        assert [row["id"] for row in left] == [str(entries[1].id)] * 3

    assert call(purge_usage, A_MONTH_AGO).rows == {"usage_logs": 3}


def test_what_is_used_during_a_purge_is_counted_once(connect: Connect) -> None:
    call = two_subjects(connect)
    conn, observer = connect(), connect()
    with ThreadPoolExecutor(1) as threads:
        with conn.transaction():
            record_usage(conn, new_usage(3, subject_id="a"))
            purging = threads.submit(call, purge_usage, A_MONTH_AGO)
            wait_until_blocked(observer)
        purging.result()

    assert used_and_held(call, "a") == [(8, 0)]
    assert broken(call) == {}


def test_two_purges_at_once_carry_everything_over_once(connect: Connect) -> None:
    call = BlockingCaller(connect(), in_transaction=False)
    for subject_id in ("a", "b", "c"):
        make_quota(call, subject_id=subject_id, limit_amount=1000)
        for _ in range(20):
            use(call, subject_id)
    pass_time(call)

    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(purge_usage, connect(), A_MONTH_AGO, page_size=3) for _ in range(2)]
    removed = sum(sum(done.result().rows.values()) for done in both)
    removed += sum(call(purge_usage, A_MONTH_AGO).rows.values())

    assert removed == 3 * 20 * 5
    assert [used_and_held(call, subject_id) for subject_id in ("a", "b", "c")] == [[(200, 0)]] * 3
    assert broken(call) == {}
