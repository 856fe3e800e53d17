from concurrent.futures import ThreadPoolExecutor

import pytest

from connections import Caller, Connect, wait_until_blocked
from contents import contents
from runstore import (
    CounterAudit,
    InvalidPayload,
    rebuild_usage_counters,
    record_usage,
    release_usage,
    set_quota,
    settle_usage,
    transaction,
    verify_usage,
)
from usage_factories import (
    LARGEST_LIMIT,
    SUBJECT,
    disagreements,
    make_quota,
    new_quota,
    new_usage,
    pass_time,
    record,
    reserve,
    usage_of,
    used_and_held,
)

# get_usage


def test_usage_shows_every_quota_of_the_subject(call: Caller) -> None:
    make_quota(call, period="month", limit_amount=50, timezone="Asia/Tokyo")
    make_quota(call, period="total", limit_amount=100, hard=False)
    make_quota(call, meter="runs", limit_amount=1)
    make_quota(call, subject_id="another")
    make_quota(call, tenant_id="another")
    record(call, 60 - 20)
    reserve(call, 5)
    call(record_usage, new_usage(20), force=True)

    runs, month, total = usage_of(call)
    assert (runs.meter, runs.used, runs.held, runs.remaining) == ("runs", 0, 0, 1)
    assert (month.period, month.hard, month.limit_amount) == ("month", True, 50)
    assert (month.used, month.held, month.remaining) == (60, 5, 0)
    assert month.timezone == "Asia/Tokyo"
    assert month.resets_at is not None
    assert (month.resets_at.hour, month.resets_at.minute) == (15, 0)
    assert (total.used, total.held, total.remaining) == (60, 5, 35)
    assert (total.hard, total.resets_at) == (False, None)


@pytest.mark.owner
def test_a_window_in_which_nothing_happened_has_all_of_it_left(call: Caller) -> None:
    make_quota(call, period="day")
    record(call, 60)
    pass_time(call)
    [day] = usage_of(call)
    assert (day.used, day.held, day.remaining) == (0, 0, 100)


def test_what_remains_of_the_largest_limit_is_no_more_than_that(call: Caller) -> None:
    for period in ("day", "total"):
        make_quota(call, period=period, limit_amount=LARGEST_LIMIT, hard=period == "total")
    record(call, 5)
    assert [quota.remaining for quota in usage_of(call)] == [LARGEST_LIMIT - 5] * 2
    record(call, -6)
    assert [(quota.used, quota.remaining) for quota in usage_of(call)] == [(-1, LARGEST_LIMIT)] * 2


def test_a_subject_without_quotas_has_nothing_to_show(call: Caller) -> None:
    record(call)
    assert usage_of(call) == []


# verify_usage


def work(call: Caller) -> None:
    """Use windows old and new of several subjects in every way."""
    for subject in ("a", "b", "c"):
        make_quota(call, subject_id=subject, limit_amount=1000)
        make_quota(call, subject_id=subject, limit_amount=1000, period="day")
        for _ in range(2):
            call(settle_usage, reserve(call, 30, subject_id=subject).id, {"tokens": 40})
            call(release_usage, reserve(call, 30, subject_id=subject).id)
            reserve(call, 7, subject_id=subject)
            record(call, 5, subject_id=subject)
            record(call, -1, subject_id=subject)
            pass_time(call)


@pytest.mark.owner
def test_counters_agree_with_the_log_and_the_holds(call: Caller) -> None:
    work(call)
    before = contents(call)
    assert disagreements(call) == []
    assert contents(call) == before


@pytest.mark.owner
@pytest.mark.parametrize("column", ["used", "held"])
def test_counters_that_disagree_are_found_batch_by_batch(call: Caller, column: str) -> None:
    work(call)
    assert call.execute("SELECT count(*) FROM runstore.usage_counters") == [(9,)]
    if column == "used":
        call.execute(
            "UPDATE runstore.usage_counters SET used = used + 1 WHERE subject_id IN ('a', 'c')"
        )
    else:
        call.execute(
            "UPDATE runstore.usage_counters SET held = held + 1 WHERE subject_id IN ('a', 'c')"
        )
    found: list[CounterAudit] = []
    cursor, batches = None, 0
    while True:
        page = call(verify_usage, cursor=cursor, page_size=2)
        found += page.items
        batches += 1
        cursor = page.next_cursor
        if cursor is None:
            break
    assert batches == 5
    assert [audit.subject_id for audit in found] == ["a"] * 3 + ["c"] * 3
    for audit in found:
        off = {"used": audit.used - audit.logged, "held": audit.held - audit.reserved}
        assert off == {"used": 0, "held": 0} | {column: 1}
        assert not audit.agrees


@pytest.mark.owner
def test_a_lost_entry_of_the_log_and_a_lost_hold_are_found(call: Caller) -> None:
    make_quota(call)
    [row] = record(call, 5)
    held = reserve(call, 7)
    call.execute("DELETE FROM runstore.usage_logs WHERE id = %s", (row.id,))
    call.execute("DELETE FROM runstore.usage_reservations WHERE id = %s", (held.id,))
    [audit] = disagreements(call)
    assert (audit.used, audit.logged, audit.held, audit.reserved) == (5, 0, 7, 0)
    assert audit.window_start is None


@pytest.mark.owner
def test_subjects_whose_quotas_have_one_id_are_told_apart(call: Caller) -> None:
    """A quota's key is its id together with its tenant and subject."""
    for tenant, subject in (("a", "x"), ("a", "y"), ("b", "x")):
        make_quota(call, tenant_id=tenant, subject_id=subject, period="day")
    call.execute("DELETE FROM runstore.usage_counters")
    call.execute("UPDATE runstore.quotas SET id = '01890000-0000-7000-8000-000000000000'")
    for amount, (tenant, subject) in enumerate((("a", "x"), ("a", "y"), ("b", "x")), 1):
        record(call, amount, tenant_id=tenant, subject_id=subject)
        reserve(call, 10 * amount, tenant_id=tenant, subject_id=subject)
    assert disagreements(call) == []
    assert call(rebuild_usage_counters, "x", tenant_id="a") == []


@pytest.mark.parametrize("page_size", [0, 10_001])
def test_a_batch_has_some_counters(call: Caller, page_size: int) -> None:
    with pytest.raises(InvalidPayload):
        call(verify_usage, page_size=page_size)


# rebuild_usage_counters


@pytest.mark.owner
def test_counters_that_disagree_are_mended_and_told(call: Caller) -> None:
    work(call)
    before = contents(call)
    assert call(rebuild_usage_counters, "a") == []
    assert contents(call) == before
    call.execute("UPDATE runstore.usage_counters SET used = used - 3, held = held + 1")
    wrong = disagreements(call)

    mended = call(rebuild_usage_counters, "a")
    assert mended == [audit for audit in wrong if audit.subject_id == "a"]
    assert len(mended) == 3
    assert {audit.subject_id for audit in disagreements(call)} == {"b", "c"}
    for subject in ("b", "c"):
        call(rebuild_usage_counters, subject)
    assert contents(call) == before


def test_a_rebuild_waits_for_whoever_writes_and_counts_what_they_wrote(connect: Connect) -> None:
    writer, mender, observer = connect(), connect(), connect()
    set_quota(writer, new_quota())
    writer.execute("UPDATE runstore.usage_counters SET used = 50")
    with ThreadPoolExecutor(1) as pool:
        with transaction(writer):
            record_usage(writer, new_usage(5))
            mending = pool.submit(rebuild_usage_counters, mender, SUBJECT)
            wait_until_blocked(observer)
        [audit] = mending.result(timeout=10)
    assert (audit.used, audit.logged) == (55, 5)
    assert verify_usage(observer).items == []


def test_whoever_writes_waits_for_a_rebuild(connect: Connect) -> None:
    mender, writer, observer = connect(), connect(), connect()
    set_quota(mender, new_quota(limit_amount=100))
    mender.execute("UPDATE runstore.usage_counters SET used = 100")
    with ThreadPoolExecutor(1) as pool:
        with transaction(mender):
            rebuild_usage_counters(mender, SUBJECT)
            writing = pool.submit(record_usage, writer, new_usage(5), force=True)
            wait_until_blocked(observer)
        writing.result(timeout=10)
    assert verify_usage(observer).items == []


def test_a_rebuild_of_a_subject_without_counters_mends_nothing(call: Caller) -> None:
    assert call(rebuild_usage_counters, SUBJECT) == []
    assert used_and_held(call) == []
