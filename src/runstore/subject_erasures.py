"""Subject erasures: removing a person from the record, and blanking what has to stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeVar
from uuid import UUID, uuid4

from psycopg.errors import LockNotAvailable

from . import _sql
from ._batches import Batches, in_batches
from ._models import Key, Row
from ._pages import MAX_PAGE_SIZE
from ._query import Rows, Statement, Steps, query, reads
from ._statements import get, many
from .errors import InvalidPayload
from .run_removals import (
    KeptReason,
    Removal,
    Remover,
    RunLog,
    RunTies,
    begin_batch,
    delete_run_children,
    with_ties,
)
from .usage_erasures import (
    BlankedLogs,
    BlankedReservations,
    DeletedQuotas,
    blank_usage_logs,
    blank_usage_reservations,
    delete_subject_quota,
)

R = TypeVar("R")

_SQL: Final = _sql.load("subject_erasures")

_ROWS_PER_BATCH: Final = 1_000

Outcome = Literal["removed", "blanked", "kept"]

ErasureReason = Literal["accounted", "answered", KeptReason]
"""Why rows were not removed: bills and reports are made of them; they are answers in runs of
others; or what keeps a run."""


class ErasedRows(Row):
    """What became of rows of a table: removed, blanked or kept; and why where they are there."""

    table: str
    outcome: Outcome
    reason: ErasureReason | None
    row_count: int


class SubjectErasure(Row):
    """What an erasure did, table by table.

    `kept_runs` are the runs that still have the subject, each with the reason. Usage that was
    kept for the accounts has the subject `pseudonym`, which nothing leads back from.
    """

    rows: list[ErasedRows]
    kept_runs: dict[UUID, KeptReason]
    pseudonym: str

    @property
    def is_complete(self) -> bool:
        """Say whether nothing has the subject's name any more."""
        return all(each.outcome != "kept" for each in self.rows)


class SubjectRun(RunLog):
    """A run of a subject with its log; `closed` says that it has ended."""

    closed: bool


class BlankedRun(Row):
    """The id of a run that is blank."""

    id: UUID


@query
@reads(int)
def adopt_runs(subject_id: str, row_limit: int) -> Statement[int]:
    """Give a subject the runs without one that follow from its runs, and return their number."""
    return _count("adopt_runs", {"subject_id": subject_id, "row_limit": row_limit})


@query
def list_subject_runs(
    subject_id: str, before_id: UUID | None, row_limit: int
) -> Statement[list[SubjectRun]]:
    """Return a subject's runs, newest first, those before another one."""
    parameters = {"subject_id": subject_id, "before_id": before_id, "row_limit": row_limit}
    return many(SubjectRun, _SQL["list_subject_runs"], parameters, prepare=False)


@query
@reads(int)
def blank_run_events(run_id: UUID, after_seq: int, to_seq: int) -> Statement[int]:
    """Blank the payloads of some of a run's own events, and return their number."""
    parameters = {"run_id": run_id, "after_seq": after_seq, "to_seq": to_seq}
    return _count("blank_run_events", parameters)


@query
def blank_run(run_id: UUID) -> Statement[BlankedRun]:
    """Blank what a run says of its subject. Raises `NotFound`."""
    return get(BlankedRun, _SQL["blank_run"], "run", run_id, {"run_id": run_id})


@query
@reads(int)
def blank_answers(subject_id: str, row_limit: int) -> Statement[int]:
    """Blank the name of who answered calls to action, and return their number."""
    return _count("blank_answers", {"subject_id": subject_id, "row_limit": row_limit})


@query
@reads(str, bool, int)
def count_subject_rows(
    subject_id: str, reservation_ids: Sequence[UUID], ended_since: datetime | None
) -> Statement[Counter[tuple[str, KeptReason]]]:
    """Count what has a subject's name, but for its runs, by table and by what keeps it.

    Reservations have no index by subject: of those that ended, these ones and later ones count, or
    all of them, for which those of the tenant are read.
    """
    parameters = {
        "subject_id": subject_id,
        "reservation_ids": list(reservation_ids),
        "ended_since": ended_since,
    }

    def read(rows: Rows) -> Counter[tuple[str, KeptReason]]:
        return Counter(
            {(table, "held" if held else "in_use"): count for table, held, count in rows}
        )

    return Statement(_SQL["count_subject_rows"], parameters, read, prepare=False)


def _count(name: str, parameters: Mapping[str, object]) -> Statement[int]:
    return Statement(_SQL[name], parameters, lambda rows: rows[0][0], prepare=False)


@in_batches
def erase_subject(
    subject_id: Key, *, page_size: int = 100, tenant_id: Key | None = None
) -> Batches[SubjectErasure]:
    """Remove all about a subject, blank what has to stay, and return what became of what.

    - Its runs that have ended are deleted with all that hangs off them. Runs without a subject
      that they started, or that were forked from them, are the subject's too.
    - A run whose events the fork of another subject reads is blanked: its texts, its children
      and the payloads of the shared events are gone.
    - Usage stays for the accounts, under a pseudonym and without metadata. Quotas and their
      counters are deleted first: while one of them is in use, usage keeps its name too.
    - Where the subject answered calls to action in runs of others, the name is blanked.
    - Kept, and told in the answer: runs that are active (cancel them and call again), runs that
      a hold keeps, and what somebody else had locked.

    Idempotent, and resumable: it may be stopped at any point and called again. Each batch of at
    most `page_size` runs, 5,000 events or 1,000 rows of usage is a transaction of its own; locks
    are those of `purge_runs`. A tenant that is None is the session's own. In an open
    transaction: `psycopg.ProgrammingError`.
    """
    if not 1 <= page_size <= MAX_PAGE_SIZE:
        raise InvalidPayload("page_size", f"must be from 1 to {MAX_PAGE_SIZE}")
    erasure = _Erasure(subject_id, tenant_id, page_size)
    yield from erasure.remove_runs()
    yield from erasure.blank_runs()
    yield from erasure.blank_answers()
    if (yield from erasure.remove_quotas()):
        yield from erasure.blank_usage()
    return (yield from erasure.report())


def _removable(ties: RunTies) -> KeptReason | None:
    if ties.held:
        return "held"
    if ties.shared_seq:
        return "forked"
    # Whatever follows from it could not be found any more.
    return "in_use" if ties.followed else None


def _blankable(ties: RunTies) -> KeptReason | None:
    if ties.held or ties.held_by_fork:
        return "held"
    return "in_use" if ties.followed else None


@dataclass(slots=True)
class _Erasure:
    """What an erasure was asked for, and what it has done so far."""

    subject_id: str
    tenant_id: str | None
    page_size: int
    pseudonym: str = field(default_factory=lambda: f"erased-{uuid4()}")
    removed: Counter[str] = field(default_factory=Counter[str])
    remover: Remover = field(init=False)
    blanker: Remover = field(init=False)
    blanked: Counter[tuple[str, ErasureReason]] = field(
        default_factory=Counter[tuple[str, ErasureReason]]
    )

    busy_reservations: list[UUID] = field(default_factory=list[UUID])
    reservations_since: datetime | None = None

    def __post_init__(self) -> None:
        self.remover = Remover(self.tenant_id, _removable)
        self.blanker = Remover(self.tenant_id, _blankable)

    def remove_runs(self) -> Batches[None]:
        """Delete runs until no more can be: a run is free once its forks are gone."""
        more = True
        while more:
            while (yield self._bounded(adopt_runs.bind(self.subject_id, self.page_size))):
                pass
            more = False
            page: list[tuple[SubjectRun, RunTies]] = yield self._look(None)
            while page:
                free = [run for run, ties in page if run.closed and not _removable(ties)]
                removal = yield from self.remover.remove_runs(free)
                self.removed.update(removal.rows)
                more = more or removal.rows["runs"] > 0
                page = yield self._look(page[-1][0])

    def blank_runs(self) -> Batches[None]:
        """Blank the runs whose events others read."""
        page: list[tuple[SubjectRun, RunTies]] = yield self._look(None)
        while page:
            for run, ties in page:
                if run.closed and ties.shared_seq and not _blankable(ties):
                    yield from self._blank_run(run, ties.shared_seq)
            page = yield self._look(page[-1][0])

    def _blank_run(self, run: SubjectRun, shared_seq: int) -> Batches[None]:
        # A purge may have left some that forks read then, and read no more.
        log = run.model_copy(update={"gone_seq": 0})
        removal = yield from self.blanker.remove_events([(log, shared_seq)])
        self.removed.update(removal.rows)
        try:
            after = 0
            while after < shared_seq:
                if removal.kept:
                    return
                to = min(after + self.blanker.room(), shared_seq)
                blank = blank_run_events.bind(run.run_id, after, to)
                count = yield from self.blanker.timed(self._on_run(run, removal, blank))
                self.blanked["run_events", "forked"] += count or 0
                after = to
            rows: Counter[str] | None = yield self._on_run(run, removal, _blank(run.run_id))
        except LockNotAvailable:
            return
        if rows is not None:
            self.removed.update(rows)
            self.blanked["runs", "forked"] += 1

    def _on_run(
        self, run: SubjectRun, removal: Removal, steps: Statement[R] | Steps[R]
    ) -> Steps[R | None]:
        """Take steps on a run once it is locked; None: something keeps it."""
        free = yield from self.blanker.seize([run.run_id], removal)
        return (yield from steps) if free else None

    def blank_answers(self) -> Batches[None]:
        """Blank the subject's name where it answered."""
        while count := (yield self._bounded(blank_answers.bind(self.subject_id, _ROWS_PER_BATCH))):
            self.blanked["cta_events", "answered"] += count

    def remove_quotas(self) -> Batches[bool]:
        """Delete quotas; False: some are in use, and what they count has to keep its name."""
        while True:
            try:
                deleted: DeletedQuotas = yield self._bounded(
                    delete_subject_quota.bind(self.subject_id)
                )
            except LockNotAvailable:
                # Whoever is at work on the counter has it longer than a moment.
                return False
            self.removed["quotas"] += deleted.quotas
            self.removed["usage_counters"] += deleted.usage_counters
            if not deleted.quotas:
                return deleted.quotas_left == 0

    def blank_usage(self) -> Batches[None]:
        """Give what was used and reserved another name."""
        since: datetime | None = None
        while True:
            logs: BlankedLogs = yield self._bounded(
                blank_usage_logs.bind(self.subject_id, self.pseudonym, since, _ROWS_PER_BATCH)
            )
            if not logs.row_count:
                break
            self.blanked["usage_logs", "accounted"] += logs.row_count
            since = logs.reached
        after: BlankedReservations | None = None
        while True:
            page: BlankedReservations = yield self._bounded(
                blank_usage_reservations.bind(
                    self.subject_id, self.pseudonym, after, _ROWS_PER_BATCH
                )
            )
            self.reservations_since = self.reservations_since or page.looked_at
            if page.after_id is None:
                break
            self.blanked["usage_reservations", "accounted"] += page.row_count
            self.busy_reservations += page.busy_ids
            after = page

    def report(self) -> Batches[SubjectErasure]:
        """Look at what is left, and say what became of everything."""
        kept_runs: dict[UUID, KeptReason] = {}
        page: list[tuple[SubjectRun, RunTies]] = yield self._look(None)
        while page:
            for run, ties in page:
                reason = _blankable(ties) or "in_use"
                kept_runs[run.run_id] = reason if run.closed or ties.held else "active"
            page = yield self._look(page[-1][0])
        left: Counter[tuple[str, KeptReason]] = yield self._bounded(
            count_subject_rows.bind(
                self.subject_id, self.busy_reservations, self.reservations_since
            )
        )
        rows = [
            *(_rows(table, "removed", None, count) for table, count in self.removed.items()),
            *(_rows(*key[:1], "blanked", key[1], count) for key, count in self.blanked.items()),
            *(
                _rows("runs", "kept", reason, count)
                for reason, count in Counter(kept_runs.values()).items()
            ),
            *(_rows(table, "kept", reason, count) for (table, reason), count in left.items()),
        ]
        return SubjectErasure(
            rows=sorted(
                (each for each in rows if each.row_count),
                key=lambda each: (
                    each.outcome != "removed",
                    each.outcome,
                    each.table,
                    each.reason or "",
                ),
            ),
            kept_runs=kept_runs,
            pseudonym=self.pseudonym,
        )

    def _look(self, after: SubjectRun | None) -> Steps[list[tuple[SubjectRun, RunTies]]]:
        """Answer a page of the subject's runs, each with its ties."""
        yield from begin_batch.bind(self.tenant_id)
        return (
            yield from with_ties(
                lambda last: list_subject_runs.bind(
                    self.subject_id, None if last is None else last.run_id, self.page_size
                ),
                after,
            )
        )

    def _bounded(self, statement: Statement[R]) -> Steps[R]:
        yield from begin_batch.bind(self.tenant_id)
        return (yield from statement)


def _blank(run_id: UUID) -> Steps[Counter[str]]:
    rows = yield from delete_run_children.bind([run_id])
    yield from blank_run.bind(run_id)
    return rows


def _rows(table: str, outcome: Outcome, reason: ErasureReason | None, count: int) -> ErasedRows:
    return ErasedRows(table=table, outcome=outcome, reason=reason, row_count=count)
