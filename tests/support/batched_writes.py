"""The public functions that write batch by batch, each of them a transaction of its own.

Cut off, they leave some of their batches done. So each is given a room with something for all of
its sorts of batches, and its course is noted: what an undisturbed call leaves after each round
trip. What holds for all of them is in reliability/test_batched_faults.py and test_cancellation.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from psycopg.pq import TransactionStatus

from connections import Caller, Kind
from contents import Contents, contents
from factories import create_cta
from fault_connections import Fault, open_faulty
from invariants import broken
from laboratory import arrange, perform, put_back, stored
from old_runs import LONG_AGO, add_children, end, make_old_run, make_run
from runstore import (
    NewRunFork,
    RunPurge,
    SubjectErasure,
    UsagePurge,
    complete_cta_event,
    fork_run,
    hold_run,
    release_usage,
    run_removals,
    settle_usage,
)
from sessions import Session
from usage_factories import make_quota, pass_time, record, reserve
from writes import Arguments, Write, given

ZOE = "zoe"


@dataclass(frozen=True, kw_only=True)
class BatchedWrite(Write):
    counted: Callable[[Any], Counter[str]]
    """How many rows of each table an answer says are gone, or `changed`."""
    kept: Callable[[Any], object]
    """What an answer says of what stays, in every call anew."""


def fork_of(call: Caller, run_id: UUID, **values: Any) -> UUID:
    return call(fork_run, run_id, 2, NewRunFork(**values)).id


def old_runs(call: Caller) -> Arguments:
    """Make a long log, two small runs, one with a fork, one that is held, and one that goes on."""
    add_children(call, make_old_run(call, 99, events=5))
    add_children(call, make_old_run(call, 98, events=0))
    make_old_run(call, 97, events=0)
    origin = make_old_run(call, 95, events=3)
    # Who begins in the middle has other pages, and a fork goes before its origin in all of them.
    end(call, fork_of(call, origin), 96)
    call(hold_run, make_old_run(call, 94, events=1), "audit")
    make_run(call)
    return given(LONG_AGO, page_size=3)


def everything_of_a_subject(call: Caller) -> Arguments:
    """Make runs that go, one that is blanked, answers, quotas and usage, and a run that is held."""
    parent = make_old_run(call, subject_id=ZOE, events=0)
    add_children(call, parent)
    make_old_run(call, parent_run_id=parent, events=0)
    call(hold_run, make_old_run(call, subject_id=ZOE, events=0), "audit")
    origin = make_old_run(call, subject_id=ZOE, events=2)
    create_cta(call, origin)
    others = fork_of(call, origin, subject_id="another")
    call(complete_cta_event, create_cta(call, others).id, "yes", resolved_by=ZOE)
    make_quota(call, subject_id=ZOE)
    record(call, subject_id=ZOE)
    call(settle_usage, reserve(call, subject_id=ZOE).id, {"tokens": 3})
    reserve(call, subject_id=ZOE)
    return given(ZOE)


def old_usage(call: Caller) -> Arguments:
    """Make old usage of two subjects, some of which counts in totals, and usage that goes on."""
    for subject_id in (ZOE, "ann"):
        make_quota(call, subject_id=subject_id, limit_amount=1000)
        make_quota(call, subject_id=subject_id, limit_amount=1000, period="day")
        for _ in range(3):
            record(call, subject_id=subject_id)
        call(settle_usage, reserve(call, subject_id=subject_id).id, {"tokens": 3})
        call(release_usage, reserve(call, subject_id=subject_id).id)
    reserve(call, subject_id=ZOE)
    pass_time(call)
    call(settle_usage, reserve(call, subject_id=ZOE).id, {"tokens": 3})
    return given(LONG_AGO + timedelta(days=10), page_size=2)


def purged(purge: RunPurge) -> Counter[str]:
    assert purge.rows.get("runs", 0) == purge.runs
    return Counter(purge.rows)


def purged_of_events(purge: RunPurge) -> Counter[str]:
    return Counter({**purge.rows, "runs changed": purge.runs})


def purged_of_usage(purge: UsagePurge) -> Counter[str]:
    return Counter(purge.rows)


def erased(erasure: SubjectErasure) -> Counter[str]:
    outcomes = {"removed": "{}", "blanked": "{} changed"}
    return Counter(
        {
            outcomes[each.outcome].format(each.table): each.row_count
            for each in erasure.rows
            if each.outcome in outcomes
        }
    )


BATCHED_WRITES = [
    BatchedWrite(
        "purge_runs",
        old_runs,
        moving=frozenset({"events_purged_at"}),
        counted=purged,
        kept=lambda purge: purge.kept,
    ),
    BatchedWrite(
        "purge_run_events",
        old_runs,
        moving=frozenset({"events_purged_at"}),
        counted=purged_of_events,
        # A run that a fork reads is counted by the call that deletes its other events, and no more.
        kept=lambda purge: purge.kept["held"],
    ),
    BatchedWrite(
        "purge_usage",
        old_usage,
        # That counters agree with the log is asked wherever it is cut off.
        moving=frozenset({"carried"}),
        counted=purged_of_usage,
        kept=lambda purge: purge.dry_run,
    ),
    BatchedWrite(
        "erase_subject",
        everything_of_a_subject,
        moving=frozenset({"events_purged_at"}),
        counted=erased,
        kept=lambda erasure: (
            erasure.kept_runs,
            [each for each in erasure.rows if each.outcome == "kept"],
        ),
    ),
]


def make_batches_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a batch be four events or two small runs, however fast the machine is."""
    monkeypatch.setattr(run_removals, "EVENTS_PER_BATCH", 4)
    monkeypatch.setattr(run_removals, "_RUN_WEIGHT", 1)
    monkeypatch.setattr(run_removals, "_LOG_WEIGHT", 1)
    monkeypatch.setattr(run_removals, "time", SimpleNamespace(monotonic=lambda: 0.0))


@dataclass(frozen=True)
class Course:
    """An undisturbed call, and what tells whether one that was cut off leaves as much."""

    write: BatchedWrite
    arguments: Arguments
    observer: Caller
    before: Contents
    """All that was there, to be put back."""
    states: list[Contents]
    """What was stored after each round trip; the first is from before them."""
    answer: Any
    finished: list[Contents] = field(default_factory=list[Contents])

    def begin_again(self) -> None:
        """Put back what was there."""
        put_back(self.observer, self.before)

    def left(self) -> Contents:
        """Return what is stored."""
        return _left(self.observer, self.write)

    def finish(self, state: Contents, healthy: Session) -> None:
        """Check what a call that was cut off has left, and that the same call does the rest."""
        if state in self.finished:
            # The same rows again, for which this was all seen.
            return
        assert self._halves(state) == []
        assert broken(self.observer) == {}
        answer = perform(healthy, self.write, self.arguments, in_block=False)
        assert self.left() == self.states[-1]
        counted = self.write.counted
        assert counted(answer) + self.done(state) == counted(self.answer)
        assert self.write.kept(answer) == self.write.kept(self.answer)
        self.finished.append(state)

    def done(self, state: Contents) -> Counter[str]:
        """Count what has been done of all that there is to do, like `BatchedWrite.counted`."""
        counts: Counter[str] = Counter()
        for table in state:
            was, will, now = (
                Counter(map(repr, each[table])) for each in (self.states[0], self.states[-1], state)
            )
            counts[table] = (was - now).total() - (now - was).total()
            counts[f"{table} changed"] = ((will & now) - was).total()
        return +counts

    def _halves(self, state: Contents) -> list[str]:
        """Return the runs that are neither as they were nor as they will be, but for their logs."""
        first, last, now = map(_run_by_run, (self.states[0], self.states[-1], state))
        return [id for id, run in now.items() if run not in (first[id], last.get(id))]


def _left(observer: Caller, write: Write) -> Contents:
    """Return what is stored, but for what each call makes anew: times, and pseudonyms."""
    rows = stored(observer, write)
    for row in rows["usage_logs"] + rows["usage_reservations"]:
        if row["subject_id"].startswith("erased-"):
            row["subject_id"] = "erased"
    return rows


def _run_by_run(state: Contents) -> dict[str, list[str]]:
    """Return each run with all that hangs off it.

    Its log goes piece by piece before it does, and whose run it is may be said before that too.
    """
    runs = {
        row["id"]: [repr({k: v for k, v in row.items() if k not in ("purged_seq", "subject_id")})]
        for row in state["runs"]
    }
    for table, rows in state.items():
        if table not in ("run_events", "run_segments"):
            for row in rows:
                if "run_id" in row and row["run_id"] in runs:
                    runs[row["run_id"]].append(repr(row))
    return runs


@dataclass
class _Watch(Fault):
    """Loses nothing, and notes what is stored after each round trip."""

    look: Callable[[], Contents] = dict
    states: list[Contents] = field(default_factory=list[Contents])

    def after(self, conn: Any, steps: Any) -> None:
        committed = conn.info.transaction_status is TransactionStatus.IDLE
        self.states.append(self.look() if committed else self.states[-1])


def course_of(write: BatchedWrite, observer: Caller, kind: Kind, dsn: str) -> Course:
    """Make what a write needs, and take its undisturbed course."""
    arguments = arrange(observer, write)
    before = contents(observer)
    watch = _Watch(look=partial(_left, observer, write), states=[_left(observer, write)])
    with open_faulty(kind, dsn, watch) as session:
        answer = perform(session, write, arguments, in_block=False)
        # Closing it is one more.
        states = watch.states.copy()
    return Course(write, arguments, observer, before, states, answer)
