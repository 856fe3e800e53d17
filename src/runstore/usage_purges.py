"""Usage purges: removing what was reserved, counted and logged long ago."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

from psycopg.errors import LockNotAvailable

from . import _sql
from ._batches import Batches, in_batches
from ._models import Key, Moment, Page, Row
from ._pages import MAX_PAGE_SIZE
from ._query import Statement, Steps, query, reads
from ._statements import maker, many
from .errors import InvalidPayload
from .quotas import Quota, list_quotas
from .run_removals import begin_batch

R = TypeVar("R")

_SQL: Final = _sql.load("usage_purges")


class UsagePurge(Row):
    """What a purge of usage deleted, in rows by table, or of a dry run what it would delete."""

    rows: dict[str, int]
    dry_run: bool


class LoggedSubject(Row):
    """A subject of the usage log, and the time of its oldest entry."""

    subject_id: str
    logged_since: datetime


class DeletedEntries(Row):
    """How many rows of old entries a batch found, and how many it deleted.

    It deletes more when it ends in the middle of an entry, and fewer when somebody has a row of one
    locked, or has a counter locked of one of `busy_subject_ids`.
    """

    found_count: int
    row_count: int
    busy_subject_ids: list[str]


OnBatch = Callable[[UsagePurge], object]


@query
@reads(str, int)
def count_old_usage(before: datetime) -> Statement[Counter[str]]:
    """Count by table what purging a tenant's usage would delete."""
    return Statement(
        _SQL["count_old_usage"],
        {"before": before},
        lambda rows: Counter(dict(rows)),
        prepare=False,
    )


@query
@reads(int)
def delete_ended_reservations(before: datetime, row_limit: int) -> Statement[int]:
    """Delete some of the reservations that ended before a time, and return their number."""
    parameters = {"before": before, "row_limit": row_limit}
    return Statement(
        _SQL["delete_ended_reservations"], parameters, lambda rows: rows[0][0], prepare=False
    )


@query
@reads(int)
def delete_past_counters(
    quotas: Sequence[Quota], before: datetime, row_limit: int
) -> Statement[int]:
    """Delete some of the counters of quotas whose windows ended, and return their number."""
    parameters = {
        "subject_ids": [quota.subject_id for quota in quotas],
        "quota_ids": [quota.id for quota in quotas],
        "before": before,
        "row_limit": row_limit,
    }
    return Statement(
        _SQL["delete_past_counters"], parameters, lambda rows: rows[0][0], prepare=False
    )


@query
def list_logged_subjects(
    after_subject_id: str | None, row_limit: int
) -> Statement[list[LoggedSubject]]:
    """Return the subjects of a tenant's log, those after another one."""
    parameters = {"after_subject_id": after_subject_id, "row_limit": row_limit}
    return many(LoggedSubject, _SQL["list_logged_subjects"], parameters, prepare=False)


@query
def delete_old_usage_logs(
    subject_ids: Sequence[str], before: datetime, row_limit: int, *, wait: bool
) -> Statement[DeletedEntries]:
    """Delete some of the entries of subjects, each of them whole, and carry them over.

    Waits for their counters, or leaves the subjects of which somebody has one locked.
    """
    parameters = {
        "subject_ids": list(subject_ids),
        "before": before,
        "row_limit": row_limit,
        "wait": wait,
    }
    make = maker(DeletedEntries)
    return Statement(
        _SQL["delete_old_usage_logs"], parameters, lambda rows: make(rows[0]), prepare=False
    )


@in_batches
def purge_usage(
    before: Moment,
    *,
    page_size: int = 1000,
    dry_run: bool = False,
    tenant_id: Key | None = None,
    on_batch: OnBatch | None = None,
) -> Batches[UsagePurge]:
    """Delete what a tenant's subjects reserved, used up and logged before a time.

    - Reservations that were settled, released or expired before it. One that is open stays.
    - Counters of windows that ended before it, and an hour ago, and hold nothing.
    - The log's entries from before it. What they have in a counter that stays, as of a total or
      of the present month, is carried over with them: no quota forgets what was used, and
      `verify_usage` agrees at any moment. The entries of a reservation stay as long as it does.

    Reports and prices have nothing older to go by then, a quota that is made later starts with
    what the log still has, and an id that is gone protects from no repetition: let `before` be
    older than what is billed and retried.

    In batches of at most `page_size` rows, and the other meters of the last entry, each of them a
    transaction of its own. It may be stopped at any point and called again: an entry goes whole.
    `on_batch` is given what was done so far; what it raises ends the purge there. A `dry_run`
    answers what would be done, and writes nothing.

    What somebody else has locked is passed over, but for counters: each of them is waited for, up
    to 50 ms, and meanwhile only those of the same subject are locked. The next purge takes what is
    left. Two purges at once do no harm. A tenant that is None is the session's own. In an open
    transaction: `psycopg.ProgrammingError`.
    """
    if not 1 <= page_size <= MAX_PAGE_SIZE:
        raise InvalidPayload("page_size", f"must be from 1 to {MAX_PAGE_SIZE}")
    purge = _Purge(before, page_size, dry_run, tenant_id, on_batch)
    if dry_run:
        purge.rows.update((yield purge.bounded(count_old_usage.bind(before))))
    else:
        yield from purge.remove_reservations()
        yield from purge.remove_counters()
        yield from purge.remove_logs()
    return purge.report()


@dataclass(slots=True)
class _Purge:
    """What a purge was asked for, and what it has done so far."""

    before: datetime
    page_size: int
    dry_run: bool
    tenant_id: str | None
    on_batch: OnBatch | None
    rows: Counter[str] = field(default_factory=Counter[str])

    def remove_reservations(self) -> Batches[None]:
        yield from self._remove(
            "usage_reservations",
            partial(delete_ended_reservations.bind, self.before, self.page_size),
        )

    def remove_counters(self) -> Batches[None]:
        """Delete counters first, so that less is carried over."""
        cursor: str | None = None
        while True:
            page: Page[Quota] = yield self.bounded(
                list_quotas.bind(cursor=cursor, page_size=self.page_size)
            )
            yield from self._remove(
                "usage_counters",
                partial(delete_past_counters.bind, page.items, self.before, self.page_size),
            )
            cursor = page.next_cursor
            if cursor is None:
                return

    def remove_logs(self) -> Batches[None]:
        """Delete entries of many subjects at once without waiting, then of one of the others each.

        While a batch waits for a counter, nobody has to wait for those of another subject.
        """
        subjects: list[LoggedSubject] = yield self._look(None)
        while subjects:
            old = [each.subject_id for each in subjects if each.logged_since < self.before]
            for subject_id in (yield from self._remove_logs_of(old, wait=False)):
                yield from self._remove_logs_of([subject_id], wait=True)
            subjects = yield self._look(subjects[-1].subject_id)

    def _look(self, after_subject_id: str | None) -> Steps[list[LoggedSubject]]:
        return self.bounded(list_logged_subjects.bind(after_subject_id, self.page_size))

    def _remove_logs_of(self, subject_ids: list[str], *, wait: bool) -> Batches[list[str]]:
        """Delete batch by batch, and return the subjects of which somebody has a counter locked."""
        busy: list[str] = []
        more = True
        while more and subject_ids:
            try:
                deleted: DeletedEntries = yield self.bounded(
                    delete_old_usage_logs.bind(subject_ids, self.before, self.page_size, wait=wait)
                )
            except LockNotAvailable:
                return [*busy, *subject_ids]
            self._add("usage_logs", deleted.row_count)
            busy += deleted.busy_subject_ids
            subject_ids = [each for each in subject_ids if each not in deleted.busy_subject_ids]
            more = deleted.found_count >= self.page_size and (
                deleted.row_count > 0 or deleted.busy_subject_ids != []
            )
        return busy

    def _remove(self, table: str, batch: Callable[[], Statement[int]]) -> Batches[None]:
        """Delete batch by batch until one is not full, or a lock was waited for in vain."""
        count = self.page_size
        while count == self.page_size:
            try:
                count = yield self.bounded(batch())
            except LockNotAvailable:
                return
            self._add(table, count)

    def _add(self, table: str, count: int) -> None:
        self.rows[table] += count
        if count and self.on_batch is not None:
            self.on_batch(self.report())

    def bounded(self, statement: Statement[R]) -> Steps[R]:
        yield from begin_batch.bind(self.tenant_id)
        return (yield from statement)

    def report(self) -> UsagePurge:
        return UsagePurge(rows=dict(+self.rows), dry_run=self.dry_run)
