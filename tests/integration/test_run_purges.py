"""Purges: old runs are removed, or their events alone, and nothing else is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from connections import Caller
from contents import contents
from invariants import broken
from old_runs import (
    LONG_AGO,
    add_children,
    counts,
    end,
    make_old_run,
    make_run,
    run_ids,
)
from report_factories import new_branch
from runstore import (
    EventsPurged,
    InvalidPayload,
    NewRunEvent,
    NewRunFork,
    RunPurge,
    append_run_events,
    create_branch_report,
    delete_run,
    discard_branch_report,
    fork_run,
    get_run_head,
    get_run_tree,
    hold_run,
    purge_run_events,
    purge_runs,
    read_run_events,
    run_removals,
)
from runstore.run_removals import Remover
from usage_factories import disagreements, make_quota, record
from whole_runs import restore_in_place

# Purging takes the janitor's rights, and dating runs back the owner's.
pytestmark = pytest.mark.owner

PURGES = pytest.mark.parametrize("purge", [purge_runs, purge_run_events])


@pytest.fixture
def _short_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a batch delete four events at most."""
    monkeypatch.setattr(run_removals, "EVENTS_PER_BATCH", 4)


def seqs(call: Caller, run_id: UUID) -> list[int]:
    rows = call.execute(
        "SELECT seq FROM runstore.run_events WHERE run_id = %s ORDER BY seq", [run_id]
    )
    return [seq for (seq,) in rows]


def purge_one_batch(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Purge the events of old runs, and press Ctrl-C after the first batch."""
    pieces = Remover.pieces

    def first_piece(remover: Remover, logs: Any) -> Any:
        yield next(pieces(remover, logs))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Remover, "pieces", first_piece)
        with pytest.raises(KeyboardInterrupt):
            call(purge_run_events, LONG_AGO)


# purge_runs


def test_all_that_hangs_off_an_old_run_goes_and_nothing_else(committed_call: Caller) -> None:
    call = committed_call
    for kept in (make_run(call).id, make_old_run(call, days=30)):
        add_children(call, kept)
    before = contents(call)

    origin = make_run(call)
    report_id = add_children(call, origin.id)
    fork = call(fork_run, origin.id, 2, NewRunFork())
    branch = call(create_branch_report, new_branch(fork.id, report_id))
    call.execute(
        "INSERT INTO runstore.branch_sections"
        " (run_id, branch_id, slug, base_version, content, version)"
        " VALUES (%s, %s, 'new', 0, 'text', 1)",
        [fork.id, branch.id],
    )
    call(discard_branch_report, branch.id)
    call(hold_run, origin.id, "audit", expires_at=LONG_AGO)
    end(call, fork.id, days=100)
    end(call, origin.id)
    made = counts(contents(call))

    purge = call(purge_runs, LONG_AGO)

    assert contents(call) == before
    left = counts(before)
    assert purge.rows == {
        table: count - left.get(table, 0)
        for table, count in made.items()
        if count > left.get(table, 0)
    }
    hanging = call.execute(
        "SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'f'"
        " AND confrelid = ANY(ARRAY(SELECT attrelid FROM pg_attribute WHERE attname = 'run_id')"
        " || 'runstore.runs'::regclass::oid)"
    )
    assert purge.rows.keys() == {name.removeprefix("runstore.") for (name,) in hanging} | {"runs"}
    assert (purge.runs, purge.kept, purge.dry_run) == (2, {}, False)


def test_a_dry_run_says_what_would_go_and_writes_nothing(committed_call: Caller) -> None:
    call = committed_call
    for _ in range(3):
        add_children(call, make_old_run(call))
    call(hold_run, make_old_run(call), "audit")
    before = contents(call)

    told = call(purge_runs, LONG_AGO, page_size=2, dry_run=True)
    assert contents(call) == before
    done = call(purge_runs, LONG_AGO, page_size=2)

    assert told.dry_run
    assert done == told.model_copy(update={"dry_run": False})
    assert done.kept == {"held": 1}


def test_a_run_is_kept_while_a_fork_reads_its_events(committed_call: Caller) -> None:
    call = committed_call
    origin = make_old_run(call)
    fork = call(fork_run, origin, 1, NewRunFork())

    purge = call(purge_runs, LONG_AGO)
    assert (purge.runs, purge.kept) == (0, {"forked": 1})
    assert [event.seq for event in call(read_run_events, fork.id).events] == [1]

    end(call, fork.id, days=1)
    call(delete_run, fork.id)
    assert call(purge_runs, LONG_AGO).runs == 1


@pytest.mark.parametrize("page_size", [1, 2, 100])
def test_an_origin_goes_with_its_forks_wherever_they_are_in_the_purge(
    committed_call: Caller, page_size: int
) -> None:
    call = committed_call
    origin = make_old_run(call, days=100)
    for days in (90, 80):
        fork = call(fork_run, origin, 1, NewRunFork())
        call(append_run_events, fork.id, [NewRunEvent(type="token")])
        end(call, fork.id, days)
        origin = fork.id
    held = make_old_run(call, days=95)
    call(hold_run, held, "audit")

    purge = call(purge_runs, LONG_AGO, page_size=page_size)

    assert (purge.runs, purge.kept) == (3, {"held": 1})
    assert run_ids(contents(call)) == {held}


def test_a_run_is_kept_while_a_branch_of_its_report_is_open(committed_call: Caller) -> None:
    call = committed_call
    origin = make_run(call)
    report_id = add_children(call, origin.id)
    # It shares no event.
    fork = call(fork_run, origin.id, 0, NewRunFork())
    branch = call(create_branch_report, new_branch(fork.id, report_id))
    end(call, origin.id)

    purge = call(purge_runs, LONG_AGO)
    assert (purge.runs, purge.kept) == (0, {"branched": 1})

    call(discard_branch_report, branch.id)
    assert call(purge_runs, LONG_AGO).runs == 1


def test_a_report_goes_with_the_fork_that_has_a_branch_of_it(committed_call: Caller) -> None:
    call = committed_call
    origin = make_run(call)
    report_id = add_children(call, origin.id)
    fork = call(fork_run, origin.id, 0, NewRunFork())
    call(create_branch_report, new_branch(fork.id, report_id))
    end(call, origin.id, days=100)
    end(call, fork.id, days=90)

    purge = call(purge_runs, LONG_AGO, page_size=1)

    assert (purge.runs, purge.kept) == (2, {})


@PURGES
def test_the_oldest_go_first_and_a_stopped_purge_goes_on(
    committed_call: Caller, purge: Any
) -> None:
    call = committed_call
    runs = [make_old_run(call, days=days) for days in (70, 90, 80, 75, 100)]
    by_age = [runs[index] for index in (4, 1, 2, 3, 0)]
    seen: list[RunPurge] = []

    def stop(done: RunPurge) -> None:
        seen.append(done)
        raise KeyboardInterrupt

    def old() -> list[UUID]:
        rows = call.execute(
            "SELECT id FROM runstore.runs WHERE purged_seq IS NULL ORDER BY finished_at"
        )
        return [id for (id,) in rows]

    with pytest.raises(KeyboardInterrupt):
        call(purge, LONG_AGO, page_size=2, on_batch=stop)
    assert old() == by_age[2:]
    done = call(purge, LONG_AGO, page_size=2, on_batch=seen.append)

    assert [each.runs for each in seen] == [2, 2, 3]
    assert done == seen[-1]
    assert done.reached
    assert done.reached < LONG_AGO
    assert old() == []


@PURGES
def test_a_hold_keeps_a_run_from_a_purge(committed_call: Caller, purge: Any) -> None:
    call = committed_call
    held = make_old_run(call)
    add_children(call, held)
    call(hold_run, held, "audit")
    before = contents(call)
    make_old_run(call)

    done = call(purge, LONG_AGO)

    assert (done.runs, done.kept) == (1, {"held": 1})
    after = contents(call)
    assert [row for row in after["runs"] if UUID(row["id"]) == held] == before["runs"]
    assert seqs(call, held) == [1, 2, 3]


@PURGES
def test_a_purge_is_of_one_tenant(committed_call: Caller, purge: Any) -> None:
    call = committed_call
    ours = make_old_run(call)
    theirs = make_old_run(call, tenant_id="acme")

    assert call(purge, LONG_AGO, tenant_id="other").runs == 0
    assert call(purge, LONG_AGO, tenant_id="acme").runs == 1
    assert seqs(call, ours) == [1, 2, 3]
    assert seqs(call, theirs) == []

    call.execute("SELECT set_config('runstore.tenant_id', 'acme', false)")
    assert call(purge, LONG_AGO).runs == 0


@PURGES
def test_a_purge_cannot_run_in_a_transaction(call: Caller, purge: Any) -> None:
    with pytest.raises(psycopg.ProgrammingError, match=r"purge_run\w+ commits batch by batch"):
        call(purge, LONG_AGO)


@PURGES
def test_a_purge_needs_a_time_with_a_zone_and_a_page_of_some_size(
    committed_call: Caller, purge: Any
) -> None:
    with pytest.raises(InvalidPayload, match="finished_before: should have timezone info"):
        committed_call(purge, datetime(2026, 1, 1))  # noqa: DTZ001
    for page_size in (0, 10_001):
        with pytest.raises(InvalidPayload, match="page_size"):
            committed_call(purge, LONG_AGO, page_size=page_size)


def test_what_was_used_stays_in_the_log(committed_call: Caller) -> None:
    call = committed_call
    make_quota(call)
    run_id = make_old_run(call)
    [entry] = record(call, 7, run_id=run_id)

    call(purge_runs, LONG_AGO)

    assert run_ids(contents(call)) == set()
    [row] = contents(call)["usage_logs"]
    assert (row["amount"], row["run_id"]) == (7, str(run_id))
    assert entry.amount == 7
    assert disagreements(call) == []


@pytest.mark.usefixtures("_short_batches")
def test_a_long_log_goes_in_pieces_before_its_run(committed_call: Caller) -> None:
    call = committed_call
    long, short = make_old_run(call, events=20), make_old_run(call, days=80)
    seen: list[RunPurge] = []

    purge = call(purge_runs, LONG_AGO, on_batch=seen.append)

    assert purge.rows == {"run_events": 24, "run_heads": 2, "runs": 2}
    assert run_ids(contents(call)).isdisjoint({long, short})


# purge_run_events


def test_the_events_go_and_the_record_stays(committed_call: Caller) -> None:
    call = committed_call
    run_id = make_old_run(call, events=4)
    add_children(call, run_id)
    young = make_old_run(call, days=30)
    tree = call(get_run_tree, run_id)

    purge = call(purge_run_events, LONG_AGO)

    assert (purge.runs, purge.rows, purge.kept) == (1, {"run_events": 5}, {})
    assert call(get_run_tree, run_id) == tree
    assert (seqs(call, run_id), seqs(call, young)) == ([], [1, 2, 3])
    head = call(get_run_head, run_id)
    assert (head.last_seq, head.purged_seq) == (5, 5)
    again = call(purge_run_events, LONG_AGO)
    assert (again.runs, again.rows, again.reached) == (0, {}, None)


def test_who_reads_a_purged_log_is_told(committed_call: Caller) -> None:
    call = committed_call
    run_id = make_old_run(call)
    call(purge_run_events, LONG_AGO)

    with pytest.raises(EventsPurged) as raised:
        call(read_run_events, run_id)
    assert (raised.value.run_id, raised.value.purged_seq) == (run_id, 3)
    # Who has read all of it before has missed nothing.
    page = call(read_run_events, run_id, after=3)
    assert (page.events, page.status, page.last_seq) == ([], "completed", 3)


def test_a_purged_log_cannot_be_forked_and_a_repeated_fork_is_answered(
    committed_call: Caller,
) -> None:
    call = committed_call
    run_id = make_old_run(call)
    data = NewRunFork()
    fork = call(fork_run, run_id, 1, data)
    call(purge_run_events, LONG_AGO)

    with pytest.raises(EventsPurged):
        call(fork_run, run_id, 1, NewRunFork())
    assert call(fork_run, run_id, 1, data) == fork


def test_the_events_that_a_fork_reads_stay_for_it(committed_call: Caller) -> None:
    call = committed_call
    origin = make_old_run(call, events=5)
    fork = call(fork_run, origin, 2, NewRunFork())
    call(append_run_events, fork.id, [NewRunEvent(type="own")])

    purge = call(purge_run_events, LONG_AGO)

    assert (purge.runs, purge.rows, purge.kept) == (1, {"run_events": 4}, {"forked": 1})
    assert [event.seq for event in call(read_run_events, fork.id).events] == [1, 2, 3]
    with pytest.raises(EventsPurged):
        call(read_run_events, origin)

    # A fork that is purged itself reads none of them any more.
    end(call, fork.id)
    assert call(purge_run_events, LONG_AGO).rows == {"run_events": 4, "run_segments": 1}
    with pytest.raises(EventsPurged):
        call(read_run_events, fork.id)
    assert call(purge_runs, LONG_AGO).runs == 2


@pytest.mark.parametrize("page_size", [1, 100])
def test_what_a_fork_no_longer_reads_goes_in_the_same_purge(
    committed_call: Caller, page_size: int
) -> None:
    call = committed_call
    origin = make_old_run(call, days=100)
    fork = call(fork_run, origin, 2, NewRunFork())
    end(call, fork.id, days=90)

    told = call(purge_run_events, LONG_AGO, dry_run=True)
    purge = call(purge_run_events, LONG_AGO, page_size=page_size)

    assert (told.runs, told.kept) == (2, {"forked": 1})
    assert (purge.runs, purge.kept) == (2, {})
    assert purge.rows == {"run_events": 4, "run_segments": 1}
    assert seqs(call, origin) == seqs(call, fork.id) == []
    assert call(purge_run_events, LONG_AGO).runs == 0


@pytest.mark.usefixtures("_short_batches")
def test_what_a_fork_no_longer_reads_goes_in_a_later_purge(committed_call: Caller) -> None:
    call = committed_call
    origin = make_old_run(call, events=10)
    fork = call(fork_run, origin, 6, NewRunFork())
    first = call(purge_run_events, LONG_AGO)
    assert (first.runs, first.rows, first.kept) == (1, {"run_events": 5}, {"forked": 1})

    again = call(purge_run_events, LONG_AGO)
    assert (again.runs, again.rows, again.kept) == (0, {}, {"forked": 1})
    assert seqs(call, origin) == [1, 2, 3, 4, 5, 6]

    end(call, fork.id, days=1)
    call(delete_run, fork.id)
    told = call(purge_run_events, LONG_AGO, dry_run=True)
    last = call(purge_run_events, LONG_AGO)
    assert last == told.model_copy(update={"dry_run": False})
    assert (last.runs, last.rows, last.kept) == (0, {"run_events": 6}, {})
    assert seqs(call, origin) == []


@pytest.mark.usefixtures("_short_batches")
def test_what_a_fork_no_longer_reads_goes_after_a_purge_that_was_stopped(
    committed_call: Caller,
) -> None:
    call = committed_call
    origin = make_old_run(call, events=12)
    fork = call(fork_run, origin, 3, NewRunFork())
    call.execute("DELETE FROM runstore.run_events WHERE run_id = %s AND seq IN (4, 5, 6)", [origin])
    call.execute("UPDATE runstore.runs SET purged_seq = 6 WHERE id = %s", [origin])
    end(call, fork.id, days=1)
    call(delete_run, fork.id)

    purge = call(purge_run_events, LONG_AGO)

    assert (purge.runs, purge.rows) == (1, {"run_events": 10})
    assert seqs(call, origin) == []


def test_a_restored_fork_owns_what_it_shared(committed_call: Caller) -> None:
    call = committed_call
    fork = call(fork_run, make_run(call, events=5).id, 3, NewRunFork()).id
    call(append_run_events, fork, [NewRunEvent(type="own")])
    end(call, fork)
    restore_in_place(call, fork)
    assert broken(call) == {}
    reader = call(fork_run, fork, 2, NewRunFork()).id

    told = call(purge_run_events, LONG_AGO, dry_run=True)
    purge = call(purge_run_events, LONG_AGO)

    assert purge == told.model_copy(update={"dry_run": False})
    assert (purge.runs, purge.rows, purge.kept) == (1, {"run_events": 3}, {"forked": 1})
    assert seqs(call, fork) == [1, 2]
    end(call, reader)
    assert call(purge_run_events, LONG_AGO).rows == {"run_events": 3, "run_segments": 1}
    assert seqs(call, fork) == []
    assert broken(call) == {}


@pytest.mark.usefixtures("_short_batches")
def test_a_log_that_was_purged_in_part_says_from_where_on_it_is_there(
    committed_call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = committed_call
    run_id = make_old_run(call, events=9)
    purge_one_batch(call, monkeypatch)

    with pytest.raises(EventsPurged, match="up to 4 have been purged"):
        call(read_run_events, run_id, after=3)
    assert [event.seq for event in call(read_run_events, run_id, after=4).events] == [
        5,
        6,
        7,
        8,
        9,
        10,
    ]
    purge = call(purge_run_events, LONG_AGO)
    assert (purge.runs, purge.rows) == (1, {"run_events": 6})


@pytest.mark.usefixtures("_short_batches")
def test_a_fork_that_was_purged_in_part_moves_as_it_is(
    committed_call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = committed_call
    fork = call(fork_run, make_run(call, events=5).id, 3, NewRunFork()).id
    call(append_run_events, fork, [NewRunEvent(type="own")] * 9)
    end(call, fork)
    purge_one_batch(call, monkeypatch)

    restore_in_place(call, fork)

    assert seqs(call, fork) == [*range(8, 14)]
    assert broken(call) == {}
    with pytest.raises(EventsPurged, match="up to 7 have been purged"):
        call(read_run_events, fork)
    assert len(call(read_run_events, fork, after=7).events) == 6
    assert call(purge_run_events, LONG_AGO).rows == {"run_events": 6}
    assert seqs(call, fork) == []


def test_a_dry_run_of_events_says_what_would_go(committed_call: Caller) -> None:
    call = committed_call
    make_old_run(call, events=3)
    call(fork_run, make_old_run(call, events=3), 2, NewRunFork())
    before = contents(call)

    told = call(purge_run_events, LONG_AGO, dry_run=True)
    assert contents(call) == before
    done = call(purge_run_events, LONG_AGO)

    assert done == told.model_copy(update={"dry_run": False})
    assert done.reached is not None
    assert done.reached < LONG_AGO + timedelta(seconds=1)
