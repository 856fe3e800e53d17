"""Forks: a shared prefix by reference, and then their own events."""

from __future__ import annotations

from uuid import UUID

import pytest

from connections import Caller
from invariants import broken
from runstore import (
    Conflict,
    InvalidPayload,
    NewChatRun,
    NewFeatureRun,
    NewRunEvent,
    NewRunFork,
    NotFound,
    Run,
    append_run_events,
    complete_run,
    create_feature_run,
    create_run,
    delete_run,
    fork_run,
    get_run,
    get_run_head,
    list_forks,
    new_run_id,
    read_run_events,
    verify_run_events,
)
from whole_runs import restore_in_place


def events(*types: str) -> list[NewRunEvent]:
    return [NewRunEvent(type=type) for type in types]


def run_with(call: Caller, *types: str) -> Run:
    run = call(create_run, NewChatRun(name="origin", thread_id="thread"))
    if types:
        call(append_run_events, run.id, events(*types))
    return run


def types(call: Caller, run_id: UUID, **page: int) -> list[str]:
    return [event.type for event in call(read_run_events, run_id, **page).events]


def numbers(call: Caller, run_id: UUID) -> list[int]:
    return [event.seq for event in call(read_run_events, run_id).events]


def test_a_fork_reads_the_shared_events_and_then_its_own(call: Caller) -> None:
    origin = run_with(call, "a", "b", "c")

    fork = call(fork_run, origin.id, 2, NewRunFork(thread_id="other"))
    assert call(append_run_events, fork.id, events("x", "y")) == 4

    assert types(call, fork.id) == ["a", "b", "x", "y"]
    assert numbers(call, fork.id) == [1, 2, 3, 4]
    assert types(call, fork.id, after=1, page_size=2) == ["b", "x"]
    assert types(call, origin.id) == ["a", "b", "c"]
    assert (fork.kind, fork.status, fork.name, fork.thread_id) == (
        "chat",
        "pending",
        "origin",
        "other",
    )
    assert (fork.forked_from_run_id, fork.forked_at_seq) == (origin.id, 2)


def test_a_fork_of_a_running_run_is_unmoved_by_what_comes_later(call: Caller) -> None:
    origin = run_with(call, "a")
    fork = call(fork_run, origin.id, 1, NewRunFork())

    call(append_run_events, origin.id, events("later"))
    call(complete_run, origin.id)

    assert types(call, fork.id) == ["a"]
    assert call(get_run_head, fork.id).last_seq == 1


def test_a_fork_may_start_before_the_first_event(call: Caller) -> None:
    origin = run_with(call, "a")
    fork = call(fork_run, origin.id, 0, NewRunFork())

    assert types(call, fork.id) == []
    assert call(append_run_events, fork.id, events("x")) == 1


def test_forks_of_forks_read_their_whole_line(call: Caller) -> None:
    first = run_with(call, "a1", "a2", "a3")
    second = call(fork_run, first.id, 2, NewRunFork())
    call(append_run_events, second.id, events("b3", "b4"))
    third = call(fork_run, second.id, 4, NewRunFork())
    call(append_run_events, third.id, events("c5"))
    # A fork within what its origin itself only shares.
    fourth = call(fork_run, third.id, 1, NewRunFork())
    call(append_run_events, fourth.id, events("d2"))

    assert types(call, third.id) == ["a1", "a2", "b3", "b4", "c5"]
    assert types(call, third.id, after=1, page_size=3) == ["a2", "b3", "b4"]
    assert types(call, fourth.id) == ["a1", "d2"]


@pytest.mark.owner
def test_a_fork_of_a_fork_that_was_restored_reads_its_whole_line(call: Caller) -> None:
    second = call(fork_run, run_with(call, "a1", "a2").id, 2, NewRunFork())
    call(append_run_events, second.id, events("b3", "b4"))
    restore_in_place(call, second.id)

    third = call(fork_run, second.id, 4, NewRunFork())
    call(append_run_events, third.id, events("c5"))
    # Within what its origin only shared where it came from.
    fourth = call(fork_run, second.id, 1, NewRunFork())

    assert types(call, third.id) == ["a1", "a2", "b3", "b4", "c5"]
    assert types(call, fourth.id) == ["a1"]
    assert call(verify_run_events).items == []
    assert broken(call) == {}
    call(complete_run, second.id)
    with pytest.raises(Conflict, match="a fork reads events of this run"):
        call(delete_run, second.id)


def test_a_fork_copies_no_event(call: Caller) -> None:
    origin = run_with(call, *["t"] * 1000)
    fork = call(fork_run, origin.id, 1000, NewRunFork())

    assert call.execute(
        "SELECT count(*) FROM runstore.run_events WHERE run_id = %s", [fork.id]
    ) == [(0,)]
    assert len(types(call, fork.id, page_size=2000)) == 1000


def test_a_fork_of_a_feature_run_runs_in_its_phase(call: Caller) -> None:
    origin = call(create_feature_run, NewFeatureRun(name="f", phase="plan"))
    fork = call(fork_run, origin.id, 1, NewRunFork(name="again"))

    assert (fork.kind, fork.status, fork.phase, fork.name) == (
        "feature",
        "running",
        "plan",
        "again",
    )
    assert types(call, fork.id) == ["run.started"]


def test_a_repeated_fork_answers_the_first(call: Caller) -> None:
    origin = run_with(call, "a", "b")
    data = NewRunFork(idempotency_key="retry", metadata={"why": "test"})

    fork = call(fork_run, origin.id, 1, data)
    assert call(fork_run, origin.id, 1, data) == fork
    keyed = NewRunFork(idempotency_key="retry", metadata={"why": "test"})
    assert call(fork_run, origin.id, 1, keyed) == fork

    with pytest.raises(Conflict):
        call(fork_run, origin.id, 2, data)
    with pytest.raises(Conflict, match="metadata"):
        call(fork_run, origin.id, 1, NewRunFork(idempotency_key="retry"))
    assert len(call(list_forks, origin.id).items) == 1


def test_a_fork_needs_an_event_to_go_on_from(call: Caller) -> None:
    origin = run_with(call, "a")

    with pytest.raises(InvalidPayload, match="at_seq: is beyond the run's last event, 1"):
        call(fork_run, origin.id, 2, NewRunFork())
    with pytest.raises(InvalidPayload, match="at_seq"):
        call(fork_run, origin.id, -1, NewRunFork())
    with pytest.raises(NotFound):
        call(fork_run, new_run_id(), 0, NewRunFork())


@pytest.mark.owner
def test_a_run_is_kept_while_a_fork_reads_its_events(call: Caller) -> None:
    origin = run_with(call, "a")
    call(complete_run, origin.id)
    fork = call(fork_run, origin.id, 1, NewRunFork())
    call(complete_run, fork.id)

    with pytest.raises(Conflict, match="a fork reads events of this run"):
        call(delete_run, origin.id)
    assert types(call, fork.id) == ["a", "run.completed"]

    call(delete_run, fork.id)
    call(delete_run, origin.id)
    with pytest.raises(NotFound):
        call(get_run, origin.id)


def test_list_forks_pages_through_direct_forks_oldest_first(call: Caller) -> None:
    origin = run_with(call, "a")
    forks = [call(fork_run, origin.id, 1, NewRunFork()).id for _ in range(5)]
    call(fork_run, forks[0], 1, NewRunFork())

    seen: list[UUID] = []
    cursor = None
    while True:
        page = call(list_forks, origin.id, cursor=cursor, page_size=2)
        seen += [run.id for run in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert seen == forks
