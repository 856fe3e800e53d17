from typing import Any
from uuid import UUID

import pytest

from connections import Caller
from contents import changes, clock, contents
from factories import create_invocation, create_run
from runstore import (
    Conflict,
    InvalidPayload,
    InvalidTransition,
    InvocationOutcome,
    NotFound,
    complete_agent_invocation,
    expire_reservations,
    get_agent_invocation,
    get_reservation,
    list_usage_logs,
    new_child_id,
    new_run_id,
    release_usage,
    remove_quota,
    reserve_usage,
    run_of,
    settle_usage,
)
from statements import statements
from usage_factories import (
    SUBJECT,
    disagreements,
    let_expire,
    make_quota,
    new_reservation,
    pass_time,
    record,
    reserve,
    used_and_held,
)

# settle_usage


def test_a_settlement_logs_what_was_used_and_frees_the_rest(call: Caller) -> None:
    make_quota(call, limit_amount=100)
    reservation = reserve(call, 60)
    now = clock(call)
    rows = call(settle_usage, reservation.id, {"tokens": 25})
    assert [(row.id, row.meter, row.amount) for row in rows] == [(reservation.id, "tokens", 25)]
    assert rows[0].subject_id == SUBJECT
    assert now < rows[0].created_at < clock(call)
    assert used_and_held(call) == [(25, 0)]
    assert call(list_usage_logs, SUBJECT).items == rows
    stored = call(get_reservation, reservation.id)
    assert stored.status == "settled"
    assert stored.finished_at is not None
    assert disagreements(call) == []


def test_a_settlement_is_logged_in_full_also_beyond_the_limit(call: Caller) -> None:
    make_quota(call, limit_amount=100)
    reservation = reserve(call, 60)
    reserve(call, 40)
    call(settle_usage, reservation.id, {"tokens": 150})
    assert used_and_held(call) == [(150, 40)]


@pytest.mark.owner
def test_a_settlement_may_be_of_other_meters(call: Caller) -> None:
    make_quota(call, meter="cost_nanousd", period="day", limit_amount=10)
    make_quota(call, meter="runs", limit_amount=10)
    make_quota(call, meter="tokens", limit_amount=100)
    reservation = reserve(call, amounts={"tokens": 60, "runs": 1})
    # The window of the meter that was not held has no counter yet.
    pass_time(call)
    call(settle_usage, reservation.id, {"tokens": 70, "cost_nanousd": 5, "unlimited": 3})
    assert used_and_held(call) == [(5, 0), (0, 0), (70, 0)]
    assert disagreements(call) == []


@pytest.mark.owner
def test_a_settlement_is_counted_where_it_was_held(call: Caller) -> None:
    for period in ("day", "month"):
        make_quota(call, period=period, limit_amount=100)
    reservation = reserve(call, 60)
    pass_time(call)
    record(call, 1)
    call(settle_usage, reservation.id, {"tokens": 25})
    assert used_and_held(call) == [(1, 0), (1, 0)]
    counters = call.execute("SELECT used, held FROM runstore.usage_counters ORDER BY used")
    assert counters == [(1, 0), (1, 0), (25, 0), (25, 0)]
    assert disagreements(call) == []


@pytest.mark.owner
def test_a_quota_that_came_later_counts_a_settlement_in_its_present_window(call: Caller) -> None:
    make_quota(call, period="month")
    reservation = reserve(call, 60)
    pass_time(call)
    make_quota(call, period="day")
    pass_time(call, "1 day")
    call(settle_usage, reservation.id, {"tokens": 25})
    assert used_and_held(call) == [(25, 0), (0, 0)]
    assert disagreements(call) == []


@pytest.mark.owner
def test_a_counter_that_was_deleted_with_its_window_is_not_made_again(call: Caller) -> None:
    make_quota(call, period="month")
    reservation = reserve(call, 60)
    pass_time(call)
    call.execute("DELETE FROM runstore.usage_counters")
    call(settle_usage, reservation.id, {"tokens": 25})
    assert used_and_held(call) == [(25, 0)]
    assert disagreements(call) == []


def test_a_settlement_after_the_hold_expired_still_logs_the_truth(call: Caller) -> None:
    make_quota(call, limit_amount=100)
    reservation = reserve(call, 60)
    let_expire(call)
    call(expire_reservations)
    reserve(call, 100)
    [row] = call(settle_usage, reservation.id, {"tokens": 70})
    assert row.amount == 70
    assert used_and_held(call) == [(70, 100)]
    assert disagreements(call) == []


def test_nothing_used_is_logged_as_nothing(call: Caller) -> None:
    make_quota(call)
    [row] = call(settle_usage, reserve(call).id, {"tokens": 0})
    assert row.amount == 0
    assert used_and_held(call) == [(0, 0)]


def test_a_settlement_says_what_the_reservation_says(call: Caller) -> None:
    run_id = new_run_id()
    invocation_id, tool_call_id = new_child_id(run_id), new_child_id(run_id)
    data = new_reservation(
        invocation_id=invocation_id,
        tool_call_id=tool_call_id,
        provider="a provider",
        model="a-model",
        metadata={"a": 1},
        tenant_id="acme",
    )
    call(reserve_usage, data)
    [row] = call(settle_usage, data.id, {"tokens": 1})
    assert (row.run_id, row.invocation_id, row.tool_call_id) == (
        run_id,
        invocation_id,
        tool_call_id,
    )
    assert (row.provider, row.model, row.metadata) == ("a provider", "a-model", {"a": 1})
    assert (row.tenant_id, row.cost_nanousd) == ("acme", None)


def test_a_settlement_may_say_it_better(call: Caller) -> None:
    invocation_id = new_child_id(new_run_id())
    reservation = reserve(call, run_id=new_run_id(), provider="guess", model="guess")
    given: dict[str, Any] = {
        "costs": {"tokens": 3},
        "provider": "another",
        "model": "another-model",
        "invocation_id": invocation_id,
        "tool_call_id": new_child_id(invocation_id),
        "metadata": {"better": True},
    }
    rows = call(settle_usage, reservation.id, {"tokens": 1}, **given)
    assert rows[0].cost_nanousd == 3
    assert rows[0].run_id == run_of(invocation_id)
    assert all(rows[0].__dict__[name] == value for name, value in given.items() if name != "costs")
    assert call(settle_usage, reservation.id, {"tokens": 1}, **given) == rows


def test_a_settlement_may_be_repeated(call: Caller) -> None:
    make_quota(call)
    reservation = reserve(call)
    amounts, costs = {"tokens": 7, "runs": 1}, {"tokens": 3, "runs": None}
    rows = call(settle_usage, reservation.id, amounts, costs=costs)
    before = contents(call)
    assert call(settle_usage, reservation.id, amounts, costs=costs) == rows
    assert contents(call) == before


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"amounts": {"tokens": 8}}, "amounts"),
        ({"amounts": {"tokens": 7, "runs": 1}}, "amounts"),
        ({"amounts": {"runs": 7}, "costs": {}}, "amounts"),
        ({"costs": {"tokens": 4}}, "costs"),
        ({"costs": {}}, "costs"),
        ({"model": "another"}, "model"),
        ({"invocation_id": new_child_id(new_run_id())}, "invocation_id"),
        ({"metadata": {"another": 1}}, "metadata"),
    ],
)
def test_a_reservation_is_settled_once(call: Caller, values: dict[str, Any], name: str) -> None:
    reservation = reserve(call, model="a-model")
    first: dict[str, Any] = {"amounts": {"tokens": 7}, "costs": {"tokens": 3}}
    call(settle_usage, reservation.id, **first)
    before = contents(call)
    with pytest.raises(Conflict) as raised:
        call(settle_usage, reservation.id, **first | values)
    assert name in str(raised.value)
    assert contents(call) == before


def test_what_was_released_is_not_settled(call: Caller) -> None:
    reservation = reserve(call)
    call(release_usage, reservation.id)
    with pytest.raises(InvalidTransition) as raised:
        call(settle_usage, reservation.id, {"tokens": 1})
    assert raised.value.status == "released"


@pytest.mark.parametrize("function", [settle_usage, release_usage])
def test_what_is_not_there_does_not_end(call: Caller, function: Any) -> None:
    amounts = [{"tokens": 1}] if function is settle_usage else []
    with pytest.raises(NotFound):
        call(function, new_child_id(new_run_id()), *amounts)


@pytest.mark.parametrize(
    ("amounts", "costs", "path"),
    [
        ({}, {}, "amounts"),
        ({"tokens": -1}, {}, "amounts.tokens"),
        ({"tokens": 1}, {"runs": 1}, "costs"),
        ({"tokens": 1}, {"tokens": -1}, "costs"),
        ({"cost_nanousd": 1}, {"cost_nanousd": 1}, "costs"),
        ({"input_tokens": 1, "cache_read_tokens": 2}, {}, "amounts"),
    ],
)
def test_what_is_no_settlement_is_refused(
    call: Caller, amounts: dict[str, int], costs: dict[str, int], path: str
) -> None:
    reservation = reserve(call)
    with pytest.raises(InvalidPayload) as raised:
        call(settle_usage, reservation.id, amounts, costs=costs)
    assert raised.value.path == path


def test_an_id_that_usage_was_logged_under_cannot_be_settled(call: Caller) -> None:
    reservation = reserve(call)
    call.execute(
        "INSERT INTO runstore.usage_logs (id, meter, subject_id, amount)"
        " VALUES (%s, 'tokens', %s, 1)",
        (reservation.id, SUBJECT),
    )
    with pytest.raises(Conflict):
        call(settle_usage, reservation.id, {"tokens": 1})
    assert call(get_reservation, reservation.id).status == "held"


def test_one_statement_settles_and_one_releases(call: Caller) -> None:
    make_quota(call)
    first, second = reserve(call), reserve(call)
    with statements() as sent:
        call(settle_usage, first.id, {"tokens": 1})
        call(release_usage, second.id)
    assert sent == ["settle_usage", "release_usage"]


def test_an_invocation_and_its_bill_commit_together(committed_call: Caller) -> None:
    call = committed_call
    make_quota(call)
    run_id = create_run(call).id
    invocation_id = create_invocation(call, run_id).id
    reservation = reserve(call, 60, invocation_id=invocation_id)
    outcome = InvocationOutcome(output="done", input_tokens=20, output_tokens=5)

    def state() -> tuple[str, list[tuple[int, int]]]:
        return call(get_agent_invocation, invocation_id).status, used_and_held(call)

    call.execute("BEGIN")
    call(complete_agent_invocation, invocation_id, outcome)
    call(settle_usage, reservation.id, {"tokens": 25})
    call.execute("ROLLBACK")
    assert state() == ("running", [(0, 60)])

    call.execute("BEGIN")
    call(complete_agent_invocation, invocation_id, outcome)
    call(settle_usage, reservation.id, {"tokens": 25})
    call.execute("COMMIT")
    assert state() == ("completed", [(25, 0)])


# release_usage


@pytest.mark.parametrize("expired", [False, True])
def test_a_released_hold_is_free_again(call: Caller, *, expired: bool) -> None:
    make_quota(call, limit_amount=100)
    reservation = reserve(call, 60)
    other = reserve(call, 5)
    if expired:
        call.execute(
            "UPDATE runstore.usage_reservations SET expires_at = now() WHERE id = %s",
            (reservation.id,),
        )
        call(expire_reservations)
    released = call(release_usage, reservation.id)
    assert (released.status, released.id) == ("released", reservation.id)
    assert used_and_held(call) == [(0, 5)]
    before = contents(call)
    assert call(release_usage, reservation.id) == released
    assert contents(call) == before
    assert call(get_reservation, other.id).status == "held"
    assert disagreements(call) == []


def test_what_was_settled_is_not_released(call: Caller) -> None:
    reservation = reserve(call)
    call(settle_usage, reservation.id, {"tokens": 1})
    with pytest.raises(InvalidTransition) as raised:
        call(release_usage, reservation.id)
    assert raised.value.status == "settled"


def test_a_hold_of_a_removed_quota_is_released_and_expires(call: Caller) -> None:
    make_quota(call)
    first, second = reserve(call), reserve(call)
    call(remove_quota, SUBJECT, "tokens", "total")
    make_quota(call)
    assert call(release_usage, first.id).status == "released"
    let_expire(call)
    assert ids(call) == {second.id}
    assert used_and_held(call) == [(0, 0)]


# expire_reservations


def ids(call: Caller, max_rows: int = 100) -> set[UUID]:
    return {reservation.id for reservation in call(expire_reservations, max_rows=max_rows)}


def test_overdue_holds_are_given_back_once_and_their_ids_told(call: Caller) -> None:
    make_quota(call, limit_amount=100)
    make_quota(call, subject_id="another", period="day")
    mine, theirs = reserve(call, 60), reserve(call, 5, subject_id="another")
    unlimited, settled = reserve(call, subject_id="unlimited"), reserve(call, 1)
    call(settle_usage, settled.id, {"tokens": 1})
    assert ids(call) == set()
    let_expire(call)
    fresh = reserve(call, 30)

    expired = call(expire_reservations)
    assert {reservation.id for reservation in expired} == {mine.id, theirs.id, unlimited.id}
    assert all(reservation.status == "expired" for reservation in expired)
    assert all(reservation.finished_at is not None for reservation in expired)
    assert used_and_held(call) == [(1, 30)]
    assert used_and_held(call, "another") == [(0, 0)]
    assert ids(call) == set()
    assert call(get_reservation, fresh.id).status == "held"
    assert disagreements(call) == []


def test_so_many_holds_are_given_back_at_once_those_first_that_expired_first(call: Caller) -> None:
    make_quota(call)
    reserved = [reserve(call, 1).id for _ in range(5)]
    for age, id in enumerate(reserved, 1):
        call.execute(
            "UPDATE runstore.usage_reservations SET expires_at = now() - %s * interval '1 hour'"
            " WHERE id = %s",
            (age, id),
        )
    assert ids(call, 2) == set(reserved[3:])
    assert used_and_held(call) == [(0, 3)]
    assert ids(call, 4) == set(reserved[:3])
    assert used_and_held(call) == [(0, 0)]


@pytest.mark.parametrize("max_rows", [0, -1, 10_001])
def test_some_holds_are_given_back(call: Caller, max_rows: int) -> None:
    with pytest.raises(InvalidPayload):
        call(expire_reservations, max_rows=max_rows)


def test_an_expired_hold_changes_in_nothing_but_its_end(call: Caller) -> None:
    make_quota(call)
    reservation = reserve(call)
    let_expire(call)
    before = contents(call)
    [expired] = call(expire_reservations)
    assert changes(before, contents(call)).keys() == {"usage_reservations", "usage_counters"}
    same = {"status", "finished_at", "expires_at"}
    assert expired.model_dump(exclude=same) == reservation.model_dump(exclude=same)
