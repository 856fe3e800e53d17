"""Run purges: removing old runs, or their events alone, beside everything else that goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from . import _sql
from ._batches import Batches, in_batches
from ._models import Key, Moment, Row
from ._pages import MAX_PAGE_SIZE
from ._query import Statement, Steps, query
from ._statements import many
from .errors import InvalidPayload
from .run_removals import (
    KeptReason,
    Remover,
    RunLog,
    RunTies,
    begin_batch,
    count_run_rows,
    sweep_run_events,
    with_ties,
)

_SQL: Final = _sql.load("run_purges")


class RunPurge(Row):
    """What a purge did, or of a dry run what it would do.

    `runs` were removed, or lost their events; `rows` counts what was deleted, by table. `kept`
    counts the runs that were kept, or of which the events were that a fork reads, by the reason.
    The purge has looked at all that finished up to `reached`; None: there was nothing.
    """

    runs: int
    rows: dict[str, int]
    kept: dict[KeptReason, int]
    reached: datetime | None
    dry_run: bool


class FinishedRun(RunLog):
    """A run that has ended, with its log and the time, and how far its events were purged."""

    finished_at: datetime
    purged_seq: int | None
    events_purged_at: datetime | None

    @property
    def was_purged(self) -> bool:
        """Say whether none of its events is there, but those that a fork reads, or did."""
        return self.purged_seq == self.last_seq


OnBatch = Callable[[RunPurge], object]
_Page = list[tuple[FinishedRun, RunTies]]


@query
def list_finished_runs(
    finished_before: datetime, after: FinishedRun | None, page_size: int, *, with_events: bool
) -> Statement[list[FinishedRun]]:
    """Return the oldest runs that finished before a time, those after another one."""
    parameters = {
        "finished_before": finished_before,
        "with_events": with_events,
        "after_finished_at": after and after.finished_at,
        "after_id": after and after.run_id,
        "row_limit": page_size,
    }
    return many(FinishedRun, _SQL["list_finished_runs"], parameters, prepare=False)


@in_batches
def purge_runs(
    finished_before: Moment,
    *,
    page_size: int = 100,
    dry_run: bool = False,
    tenant_id: Key | None = None,
    on_batch: OnBatch | None = None,
) -> Batches[RunPurge]:
    """Delete a tenant's runs that finished before a time, with all that hangs off them.

    The oldest first, in batches of at most `page_size` runs and 5,000 events that take about
    50 ms, each of them a transaction of its own; a longer log goes piece by piece before its run
    does. It may be stopped at any point and called again: what is left is whole, or says that
    events of it are purged (`EventsPurged`). `on_batch` is given what was done so far after each
    page of runs; what it raises ends the purge there. Two purges at once do no harm.

    Runs are kept that have a hold, whose events a fork reads, or on a report of which a fork has
    an open branch; the answer counts them. What was used stays in the usage log. A `dry_run`
    answers what would be done, and writes nothing; a run whose fork would be purged before it
    counts as kept there.

    It waits for no lock for longer than 50 ms and passes over what is locked, as `in_use`. A
    tenant that is None is the session's own. In an open transaction: `psycopg.ProgrammingError`.
    """
    purge = _Purge(finished_before, page_size, dry_run, tenant_id, on_batch)
    remover = Remover(tenant_id, reason_to_keep)
    while True:
        runs = purge.runs
        purge.kept.clear()
        page: _Page = yield purge.look(None)
        while page:
            reasons: dict[UUID, KeptReason | None] = {
                run.run_id: reason_to_keep(ties) for run, ties in page
            }
            free = [run for run, _ in page if reasons[run.run_id] is None]
            if dry_run:
                purge.rows.update((yield _count(tenant_id, free)))
            else:
                removal = yield from remover.remove_runs(free)
                purge.rows.update(removal.rows)
                reasons |= removal.kept
            purge.kept.update(filter(None, reasons.values()))
            purge.runs = purge.rows["runs"]
            page = yield from purge.next_page(page)
        tied = purge.kept["forked"] + purge.kept["branched"]
        if dry_run or not tied or purge.runs == runs:
            return purge.report()
        # Forks are gone, and what they were forked from may be free.


@in_batches
def purge_run_events(
    finished_before: Moment,
    *,
    page_size: int = 100,
    dry_run: bool = False,
    tenant_id: Key | None = None,
    on_batch: OnBatch | None = None,
) -> Batches[RunPurge]:
    """Delete the events of a tenant's runs that finished before a time, and keep the runs.

    The record stays, with its invocations, reports and all else, and so does the number of the
    last event. Whoever reads or forks such a log is told: `EventsPurged`. The events that a fork
    reads stay for it; its run is then counted among the kept ones too, as `forked`. A fork that
    is purged needs its origin's events no more.

    Batches, order, holds, locks and parameters are those of `purge_runs`.
    """
    purge = _Purge(finished_before, page_size, dry_run, tenant_id, on_batch, with_events=True)
    remover = Remover(tenant_id, _held)
    while True:
        segments = purge.rows["run_segments"]
        purge.kept.clear()
        page: _Page = yield purge.look(None)
        while page:
            free = [(run, ties.shared_seq) for run, ties in page if not ties.held]
            purge.kept["held"] += len(page) - len(free)
            kept: set[UUID] = set()
            if dry_run:
                counts: Counter[str] = yield _count(tenant_id, [run for run, _ in free])
                stay = sum(max(shared - run.gone_seq, 0) for run, shared in free)
                purge.rows["run_events"] += counts["run_events"] - stay
                purge.rows["run_segments"] += counts["run_segments"]
            else:
                removal = yield from remover.remove_events(free)
                purge.rows.update(removal.rows)
                purge.kept.update(removal.kept.values())
                kept |= removal.kept.keys()
            done = [(run, shared) for run, shared in free if run.run_id not in kept]
            purge.runs += sum(not run.was_purged for run, _ in done)
            purge.kept["forked"] += sum(shared > 0 for _, shared in done)
            page = yield from purge.next_page(page)
        if dry_run or not purge.kept["forked"] or purge.rows["run_segments"] == segments:
            return purge.report()
        # Forks are gone, and what they read of others may go.


def reason_to_keep(ties: RunTies) -> KeptReason | None:
    """Say why a run that is old enough is kept, or None."""
    if ties.held:
        return "held"
    if ties.shared_seq:
        return "forked"
    return "branched" if ties.branched else None


def _held(ties: RunTies) -> KeptReason | None:
    return "held" if ties.held else None


@dataclass(slots=True)
class _Purge:
    """What a purge was asked for, and what it has done so far."""

    finished_before: datetime
    page_size: int
    dry_run: bool
    tenant_id: str | None
    on_batch: OnBatch | None
    with_events: bool = False
    runs: int = 0
    rows: Counter[str] = field(default_factory=Counter[str])
    kept: Counter[KeptReason] = field(default_factory=Counter[KeptReason])
    reached: datetime | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.page_size <= MAX_PAGE_SIZE:
            raise InvalidPayload("page_size", f"must be from 1 to {MAX_PAGE_SIZE}")

    def look(self, after: FinishedRun | None) -> Steps[_Page]:
        """Answer the next runs that are old enough, each with its ties; none: there are no more."""
        yield from begin_batch.bind(self.tenant_id)
        page = yield from with_ties(
            lambda last: list_finished_runs.bind(
                self.finished_before, last, self.page_size, with_events=self.with_events
            ),
            after,
        )
        for place, (run, ties) in enumerate(page):
            if run.purged_seq is not None and run.events_purged_at is None:
                # Forks read some when the others went, and need not read them any more.
                first = yield from sweep_run_events.bind(run.run_id)
                gone_seq = run.last_seq if first is None else first - 1
                page[place] = run.model_copy(update={"gone_seq": gone_seq}), ties
        return page

    def next_page(self, page: _Page) -> Batches[_Page]:
        last, _ = page[-1]
        self.reached = last.finished_at
        if self.on_batch is not None:
            self.on_batch(self.report())
        answer: _Page = yield self.look(last)
        return answer

    def report(self) -> RunPurge:
        return RunPurge(
            runs=self.runs,
            rows=dict(+self.rows),
            kept=dict(+self.kept),
            reached=self.reached,
            dry_run=self.dry_run,
        )


def _count(tenant_id: str | None, logs: Sequence[RunLog]) -> Steps[Counter[str]]:
    yield from begin_batch.bind(tenant_id)
    return (yield from count_run_rows.bind([log.run_id for log in logs]))
