"""Holds: reasons to keep a run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from connections import Caller
from old_runs import LONG_AGO, make_old_run, make_run
from runstore import (
    Conflict,
    InvalidPayload,
    NotFound,
    delete_run,
    get_run,
    hold_run,
    list_run_holds,
    new_run_id,
    release_run_hold,
)

# Purging takes the janitor's rights, and dating runs back the owner's.
pytestmark = pytest.mark.owner

SOON = datetime.now(UTC) + timedelta(days=1)


# hold_run


def test_a_run_that_is_held_cannot_be_deleted(call: Caller) -> None:
    run_id = make_old_run(call)
    hold = call(hold_run, run_id, "audit 7", held_by="legal", expires_at=SOON)

    assert (hold.run_id, hold.reason, hold.tenant_id) == (run_id, "audit 7", "default")
    assert (hold.held_by, hold.expires_at) == ("legal", SOON)
    with pytest.raises(Conflict, match="a hold keeps this run"):
        call(delete_run, run_id)


def test_a_hold_that_has_expired_keeps_nothing(call: Caller) -> None:
    run_id = make_old_run(call)
    call(hold_run, run_id, "audit", expires_at=LONG_AGO)

    call(delete_run, run_id)

    with pytest.raises(NotFound):
        call(get_run, run_id)


def test_holding_again_for_the_same_reason_replaces_the_hold(call: Caller) -> None:
    run = make_run(call)
    first = call(hold_run, run.id, "audit", held_by="legal", expires_at=SOON)
    again = call(hold_run, run.id, "audit")

    assert (again.held_by, again.expires_at) == (None, None)
    assert again.created_at == first.created_at
    assert call(list_run_holds).items == [again]


def test_a_hold_needs_a_run_a_reason_and_a_time_zone(call: Caller) -> None:
    with pytest.raises(NotFound):
        call(hold_run, new_run_id(), "audit")
    run = make_run(call)
    with pytest.raises(InvalidPayload, match="reason"):
        call(hold_run, run.id, "")
    with pytest.raises(InvalidPayload, match="expires_at: should have timezone info"):
        call(hold_run, run.id, "audit", expires_at=datetime(2030, 1, 1))  # noqa: DTZ001


# release_run_hold


def test_each_reason_is_released_by_itself(call: Caller) -> None:
    run_id = make_old_run(call)
    first = call(hold_run, run_id, "audit")
    call(hold_run, run_id, "complaint")

    assert call(release_run_hold, run_id, "audit") == first
    with pytest.raises(Conflict):
        call(delete_run, run_id)
    call(release_run_hold, run_id, "complaint")
    call(delete_run, run_id)


def test_a_hold_is_released_once(call: Caller) -> None:
    run = make_run(call)
    with pytest.raises(NotFound):
        call(release_run_hold, run.id, "audit")


# list_run_holds


def test_holds_are_listed_by_run_and_reason(call: Caller) -> None:
    first, second = make_run(call), make_run(call)
    other = make_run(call, tenant_id="other")
    for run in (other, second, first):
        call(hold_run, run.id, "b")
        call(hold_run, run.id, "a")

    page = call(list_run_holds, page_size=3)
    rest = call(list_run_holds, page_size=3, cursor=page.next_cursor)

    listed = [(hold.run_id, hold.reason) for hold in [*page.items, *rest.items]]
    assert listed == [(run, reason) for run in (first.id, second.id) for reason in "ab"]
    assert rest.next_cursor is None
    assert {hold.run_id for hold in call(list_run_holds, run_id=second.id).items} == {second.id}
    assert len(call(list_run_holds, tenant_id="other").items) == 2
