"""Erasures: nothing is left of a person but what has to be, and that is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from connections import Caller, Connect
from contents import clock, contents
from factories import create_call, create_cta, create_invocation
from invariants import broken
from old_runs import add_children, end, make_old_run, make_run, run_ids
from runstore import (
    EventsPurged,
    InvalidPayload,
    NewRunEvent,
    NewRunFork,
    SubjectErasure,
    append_run_events,
    cancel_run,
    complete_cta_event,
    complete_run,
    create_run,
    delete_run,
    erase_subject,
    expire_reservations,
    fork_run,
    get_cta_event,
    get_run,
    hold_run,
    purge_run_events,
    purge_runs,
    read_run_events,
    record_usage,
    release_run_hold,
    release_usage,
    reserve_usage,
    run_removals,
    settle_usage,
    subject_erasures,
)
from runstore import NewChatRun as NewRun
from runstore.subject_erasures import count_subject_rows
from usage_factories import (
    disagreements,
    let_expire,
    make_quota,
    new_reservation,
    new_usage,
    record,
    reserve,
    used_and_held,
)
from whole_runs import restore_in_place

# Purging takes the janitor's rights, and dating runs back the owner's.
pytestmark = pytest.mark.owner

ZOE = "zoe@example.com"
"""Whom the record knows, and is to forget: every text of hers holds it."""
OTHER = "user-2"


def hers(call: Caller, **values: object) -> UUID:
    """Make a run of hers that has ended, with something of every sort, and return its id."""
    given = {"subject_id": ZOE, "thread_id": ZOE, "name": ZOE, "input": {"ask": ZOE}, **values}
    run = call(create_run, NewRun.model_validate(given))
    call(append_run_events, run.id, [NewRunEvent(type="said", payload={"text": ZOE})] * 3)
    add_children(call, run.id)
    invocation = create_invocation(call, run.id, input=ZOE)
    create_call(call, invocation.id, arguments={"to": ZOE})
    call(complete_run, run.id, output=ZOE)
    return run.id


def traces(call: Caller) -> set[str]:
    """Return the tables in which her name is left."""
    return {table for table, rows in contents(call).items() if ZOE in json.dumps(rows)}


def became(erasure: SubjectErasure, table: str) -> list[tuple[str, str | None, int]]:
    """Return what became of the rows of a table."""
    return [
        (each.outcome, each.reason, each.row_count) for each in erasure.rows if each.table == table
    ]


def settle(conn: Connection[TupleRow], reservation_id: UUID) -> object:
    return settle_usage(conn, reservation_id, {"tokens": 7})


def test_nothing_is_left_of_a_person_and_all_of_others(committed_call: Caller) -> None:
    call = committed_call
    for subject_id in (OTHER, None):
        add_children(call, make_run(call, subject_id=subject_id).id)
    call(create_run, NewRun(subject_id=ZOE, tenant_id="acme"))
    record(call, 5, subject_id=OTHER)
    before = contents(call)
    mine = {hers(call), hers(call)}
    made = len(contents(call)["tool_calls"]) - len(before["tool_calls"])

    erasure = call(erase_subject, ZOE)

    assert contents(call) == before
    assert became(erasure, "runs") == [("removed", None, len(mine))]
    assert became(erasure, "tool_calls") == [("removed", None, made)]
    assert erasure.is_complete
    assert erasure.kept_runs == {}
    [elsewhere] = call(erase_subject, ZOE, tenant_id="acme").kept_runs.values()
    assert elsewhere == "active"


def test_an_erasure_is_repeated_without_harm(committed_call: Caller) -> None:
    call = committed_call
    hers(call)
    record(call, subject_id=ZOE)
    call(erase_subject, ZOE)
    before = contents(call)

    again = call(erase_subject, ZOE)

    assert (again.rows, again.kept_runs) == ([], {})
    assert contents(call) == before


def test_an_active_run_is_kept_until_it_has_ended(committed_call: Caller) -> None:
    call = committed_call
    run = make_run(call, subject_id=ZOE)
    before = contents(call)

    erasure = call(erase_subject, ZOE)
    assert became(erasure, "runs") == [("kept", "active", 1)]
    assert (erasure.kept_runs, erasure.is_complete) == ({run.id: "active"}, False)
    assert contents(call) == before

    call(cancel_run, run.id)
    assert call(erase_subject, ZOE).is_complete
    assert traces(call) == set()


def test_a_hold_keeps_a_run_whole(committed_call: Caller) -> None:
    call = committed_call
    run_id = hers(call)
    call(hold_run, run_id, "lawsuit")
    before = contents(call)

    erasure = call(erase_subject, ZOE)
    assert erasure.kept_runs == {run_id: "held"}
    assert became(erasure, "runs") == [("kept", "held", 1)]
    assert contents(call) == before

    call(release_run_hold, run_id, "lawsuit")
    assert call(erase_subject, ZOE).is_complete
    assert traces(call) == set()


def test_her_forks_go_with_what_they_were_forked_from(committed_call: Caller) -> None:
    call = committed_call
    origin = hers(call)
    fork = call(fork_run, origin, 2, NewRunFork(subject_id=ZOE))
    call(fork_run, fork.id, 2, NewRunFork(subject_id=ZOE))
    for run_id in run_ids(contents(call)) - {origin}:
        end(call, run_id)

    erasure = call(erase_subject, ZOE, page_size=1)

    assert became(erasure, "runs") == [("removed", None, 3)]
    assert run_ids(contents(call)) == set()


def test_what_others_read_is_blanked(committed_call: Caller) -> None:
    call = committed_call
    origin = hers(call)
    fork = call(fork_run, origin, 2, NewRunFork(subject_id=OTHER, name="theirs"))

    erasure = call(erase_subject, ZOE)

    assert became(erasure, "runs") == [("blanked", "forked", 1)]
    assert became(erasure, "run_events") == [("removed", None, 2), ("blanked", "forked", 2)]
    assert erasure.is_complete
    assert traces(call) == set()
    events = call(read_run_events, fork.id).events
    assert [(event.seq, event.type, event.payload) for event in events] == [
        (1, "said", {}),
        (2, "said", {}),
    ]
    with pytest.raises(EventsPurged):
        call(read_run_events, origin)
    blank = call(get_run, origin)
    assert (blank.status, blank.subject_id, blank.input, blank.name) == (
        "completed",
        None,
        None,
        None,
    )
    assert call(erase_subject, ZOE).rows == []

    # It goes like any other once the fork has gone.
    end(call, fork.id)
    call(delete_run, fork.id)
    assert call(purge_runs, blank.created_at.replace(year=2999)).runs == 1


def test_what_nobody_reads_of_a_restored_fork_goes(committed_call: Caller) -> None:
    call = committed_call
    said = [NewRunEvent(type="said", payload={"text": ZOE})]
    origin = make_run(call, events=0, subject_id=OTHER)
    call(append_run_events, origin.id, said * 4)
    mine = call(fork_run, origin.id, 3, NewRunFork(subject_id=ZOE)).id
    call(append_run_events, mine, said)
    end(call, mine)
    restore_in_place(call, mine)
    fork = call(fork_run, mine, 1, NewRunFork(subject_id=OTHER)).id

    erasure = call(erase_subject, ZOE)

    assert became(erasure, "run_events") == [("removed", None, 4), ("blanked", "forked", 1)]
    assert call(read_run_events, fork).events[0].payload == {}
    assert broken(call) == {}


def test_what_nobody_reads_any_more_of_a_purged_log_goes(committed_call: Caller) -> None:
    call = committed_call
    mine = hers(call)
    call(fork_run, mine, 1, NewRunFork(subject_id=OTHER, name="theirs"))
    further = call(fork_run, mine, 3, NewRunFork(subject_id=OTHER)).id
    call(purge_run_events, clock(call))
    end(call, further)
    call(delete_run, further)

    erasure = call(erase_subject, ZOE)

    assert became(erasure, "run_events") == [("removed", None, 2), ("blanked", "forked", 1)]
    assert traces(call) == set()


def test_what_a_held_fork_reads_is_kept(committed_call: Caller) -> None:
    call = committed_call
    origin = hers(call)
    fork = call(fork_run, origin, 2, NewRunFork(subject_id=OTHER))
    call(hold_run, fork.id, "lawsuit")
    before = contents(call)

    assert call(erase_subject, ZOE).kept_runs == {origin: "held"}
    assert contents(call) == before


def test_runs_without_a_subject_follow_those_that_they_come_from(committed_call: Caller) -> None:
    call = committed_call
    parent = hers(call)
    child = hers(call, subject_id=None, parent_run_id=parent)
    hers(call, subject_id=None, parent_run_id=child)
    fork = call(fork_run, parent, 1, NewRunFork())
    end(call, fork.id)
    theirs = make_run(call, subject_id=OTHER, parent_run_id=parent)

    assert became(call(erase_subject, ZOE), "runs") == [("removed", None, 4)]
    assert run_ids(contents(call)) == {theirs.id}


def test_usage_stays_under_a_pseudonym_and_adds_up(
    committed_call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = committed_call
    monkeypatch.setattr(subject_erasures, "_ROWS_PER_BATCH", 2)
    for subject_id in (ZOE, OTHER):
        make_quota(call, subject_id=subject_id)
        for amount in (1, 2, 3):
            call(record_usage, new_usage(amount, subject_id=subject_id, metadata={"of": ZOE}))
    call(settle_usage, reserve(call, 5, subject_id=ZOE).id, {"tokens": 4})
    call(release_usage, reserve(call, 5, subject_id=ZOE).id)

    erasure = call(erase_subject, ZOE)

    assert became(erasure, "quotas") == [("removed", None, 1)]
    assert became(erasure, "usage_logs") == [("blanked", "accounted", 4)]
    assert became(erasure, "usage_reservations") == [("blanked", "accounted", 2)]
    found = contents(call)
    logged = {
        subject: sum(row["amount"] for row in found["usage_logs"] if row["subject_id"] == subject)
        for subject in (OTHER, erasure.pseudonym)
    }
    assert logged == {OTHER: 6, erasure.pseudonym: 10}
    assert {row["subject_id"] for row in found["usage_reservations"]} == {erasure.pseudonym}
    assert all(ZOE not in str(row["subject_id"]) for row in found["usage_logs"])
    assert used_and_held(call, OTHER) == [(6, 0)]
    assert used_and_held(call, ZOE) == []
    assert disagreements(call) == []


def test_an_open_reservation_is_settled_under_the_pseudonym(committed_call: Caller) -> None:
    call = committed_call
    make_quota(call, subject_id=ZOE)
    hold = reserve(call, 5, subject_id=ZOE)

    erasure = call(erase_subject, ZOE)
    call(settle_usage, hold.id, {"tokens": 3})

    [entry] = contents(call)["usage_logs"]
    assert (entry["subject_id"], entry["amount"]) == (erasure.pseudonym, 3)
    assert disagreements(call) == []
    assert traces(call) == set()


def test_her_name_goes_from_answers_in_runs_of_others(committed_call: Caller) -> None:
    call = committed_call
    theirs, held = make_run(call, subject_id=OTHER), make_run(call, subject_id=OTHER)
    asked, kept = create_cta(call, theirs.id), create_cta(call, held.id)
    for question in (asked, kept):
        call(complete_cta_event, question.id, {"yes": True}, resolved_by=ZOE)
    call(hold_run, held.id, "audit")

    erasure = call(erase_subject, ZOE)

    assert became(erasure, "cta_events") == [("blanked", "answered", 1), ("kept", "held", 1)]
    answer = call(get_cta_event, asked.id)
    assert (answer.resolved_by, answer.response_data) == (None, {"yes": True})
    assert call(get_cta_event, kept.id).resolved_by == ZOE
    call(release_run_hold, held.id, "audit")
    assert call(erase_subject, ZOE).is_complete
    assert traces(call) == set()


def test_long_logs_are_erased_in_pieces(
    committed_call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = committed_call
    monkeypatch.setattr(run_removals, "EVENTS_PER_BATCH", 4)
    make_old_run(call, events=30, subject_id=ZOE)
    shared = make_old_run(call, events=30, subject_id=ZOE)
    call(fork_run, shared, 10, NewRunFork(subject_id=OTHER))

    erasure = call(erase_subject, ZOE)

    assert became(erasure, "run_events") == [("removed", None, 52), ("blanked", "forked", 10)]


# At the same time


@pytest.mark.parametrize("expired", [True, False])
@pytest.mark.parametrize("finish", [settle, release_usage])
def test_a_reservation_that_is_being_ended_is_told(
    committed_call: Caller,
    connect: Connect,
    finish: Callable[[Connection[TupleRow], UUID], object],
    expired: bool,
) -> None:
    call = committed_call
    hold = reserve(call, 10, subject_id=ZOE)
    if expired:
        let_expire(call)
        call(expire_reservations)
    worker = connect()
    with worker.transaction():
        finish(worker, hold.id)
        erasure = call(erase_subject, ZOE)
    assert became(erasure, "usage_reservations") == [("kept", "in_use", 1)]
    assert not erasure.is_complete

    assert call(erase_subject, ZOE).is_complete
    assert traces(call) == set()


@pytest.mark.parametrize("made_before", [True, False])
def test_a_reservation_that_ends_before_the_report_is_told(
    committed_call: Caller,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    made_before: bool,
) -> None:
    call = committed_call
    worker = connect()
    asked = new_reservation(subject_id=ZOE)

    def end_and_count(*given: Any) -> object:
        if not made_before:
            reserve_usage(worker, asked)
            release_usage(worker, asked.id)
        worker.execute("COMMIT")
        return count_subject_rows.bind(*given)

    counter = SimpleNamespace(bind=end_and_count)
    monkeypatch.setattr(subject_erasures, "count_subject_rows", counter)
    if made_before:
        call(reserve_usage, asked)
        worker.execute("BEGIN")
        release_usage(worker, asked.id)

    erasure = call(erase_subject, ZOE)

    assert became(erasure, "usage_reservations") == [("kept", "in_use", 1)]


def test_an_answer_that_is_locked_is_in_use(committed_call: Caller, connect: Connect) -> None:
    call = committed_call
    runs = [make_run(call, subject_id=OTHER) for _ in range(3)]
    questions = [create_cta(call, run.id) for run in runs]
    for question in questions:
        call(complete_cta_event, question.id, {"yes": True}, resolved_by=ZOE)
    call(hold_run, runs[0].id, "audit")
    holder = connect()
    with holder.transaction():
        holder.execute(
            "SELECT FROM runstore.cta_events WHERE id = %s FOR UPDATE", [questions[1].id]
        )
        erasure = call(erase_subject, ZOE)

    assert became(erasure, "cta_events") == [
        ("blanked", "answered", 1),
        ("kept", "held", 1),
        ("kept", "in_use", 1),
    ]
    call(release_run_hold, runs[0].id, "audit")
    assert call(erase_subject, ZOE).is_complete
    assert traces(call) == set()


@pytest.mark.parametrize("table", ["quotas", "usage_counters"])
def test_usage_keeps_her_name_while_a_quota_counts_it(
    committed_call: Caller, connect: Connect, table: str
) -> None:
    call = committed_call
    for meter in ("tokens", "calls"):
        make_quota(call, subject_id=ZOE, meter=meter)
    call(settle_usage, reserve(call, subject_id=ZOE).id, {"tokens": 7, "calls": 1})
    call(release_usage, reserve(call, subject_id=ZOE).id)
    reserve(call, subject_id=ZOE)
    holder = connect()
    lock: Any = f"SELECT FROM runstore.{table} FOR UPDATE"
    with holder.transaction():
        holder.execute(lock)
        erasure = call(erase_subject, ZOE)
        assert disagreements(call) == []
    assert {(each.table, each.outcome, each.reason, each.row_count) for each in erasure.rows} == {
        ("quotas", "kept", "in_use", 2),
        ("usage_logs", "kept", "in_use", 2),
        ("usage_reservations", "kept", "in_use", 3),
    }
    assert not erasure.is_complete
    assert used_and_held(call, ZOE) == [(1, 0), (7, 10)]

    assert call(erase_subject, ZOE).is_complete
    assert traces(call) == set()


def test_an_erasure_cannot_run_in_a_transaction(call: Caller) -> None:
    with pytest.raises(psycopg.ProgrammingError, match="erase_subject commits batch by batch"):
        call(erase_subject, ZOE)


def test_an_erasure_needs_pages_of_some_size(committed_call: Caller) -> None:
    with pytest.raises(InvalidPayload, match="page_size"):
        committed_call(erase_subject, ZOE, page_size=0)
