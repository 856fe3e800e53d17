"""Usage counters: what a subject has used and holds of each quota, and the proof of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

from . import _sql
from ._json import encode
from ._models import Key, Page, Row
from ._pages import only, page
from ._query import Rows, Statement, Steps, operation, query, reads
from ._statements import maker, many
from ._usage import NewUsageInput
from .errors import NO_ROOM, Conflict, NotFound, QuotaExceeded, RunstoreError
from .quotas import QUOTA, Period

R = TypeVar("R")

_SQL: Final = _sql.load("usage_counters")
_ATTEMPTS: Final = 10


class QuotaUsage(Row):
    """A quota with what has been used and is held in its present window.

    `remaining` is what a reservation may still ask for. `resets_at` is when the next window
    begins, None for a total.
    """

    quota_id: UUID
    meter: str
    period: Period
    timezone: str
    hard: bool
    limit_amount: int
    used: int
    held: int
    remaining: int
    resets_at: datetime | None


class ExceededQuota(Row):
    """A hard quota that would be passed, and the amount that would pass it."""

    quota_id: UUID
    meter: str
    period: Period
    limit_amount: int
    used: int
    held: int
    asked: int
    resets_at: datetime | None

    def error(self) -> QuotaExceeded:
        """Return what is raised for it."""
        return QuotaExceeded(
            self.quota_id,
            meter=self.meter,
            period=self.period,
            limit=self.limit_amount,
            used=self.used,
            held=self.held,
            asked=self.asked,
            resets_at=self.resets_at,
        )


class CounterAudit(Row):
    """A counter beside what it should be: `used` the same as `logged`, `held` as `reserved`.

    `window_start` is None for a total.
    """

    tenant_id: str
    subject_id: str
    quota_id: UUID
    window_start: datetime | None
    used: int
    logged: int
    held: int
    reserved: int

    @property
    def agrees(self) -> bool:
        """Say whether the counter is what it should be."""
        return self.used == self.logged and self.held == self.reserved


@query
def get_usage(subject_id: Key, *, tenant_id: Key | None = None) -> Statement[list[QuotaUsage]]:
    """Return every quota of a subject with its present window, by meter and period.

    Empty for a subject without quotas. A tenant that is None is the transaction's own.
    """
    parameters = {"subject_id": subject_id, "tenant_id": tenant_id}
    return many(QuotaUsage, _SQL["get_usage"], parameters)


@query
@reads(bool, bool, ExceededQuota | None)
def find_obstacle(
    id: UUID, tenant_id: Key | None, subject_id: Key, amounts: Mapping[str, int], *, force: bool
) -> Statement[tuple[bool, bool, ExceededQuota | None]]:
    """Return whether an id is a reservation's, whether it is in the log, and what is exceeded."""
    make = maker(ExceededQuota)

    def read(rows: Rows) -> tuple[bool, bool, ExceededQuota | None]:
        reserved, logged, *exceeded = rows[0]
        return reserved, logged, None if exceeded[0] is None else make(tuple(exceeded))

    parameters = {
        "id": id,
        "tenant_id": tenant_id,
        "subject_id": subject_id,
        "amounts": encode(dict(amounts), "amounts"),
        "force": force,
    }
    return Statement(_SQL["find_obstacle"], parameters, read)


def until_decided(
    data: NewUsageInput,
    amounts: Mapping[str, int],
    *,
    force: bool = False,
    attempt: Callable[[], Statement[R | None]],
    repeated: Callable[[], Steps[R]],
) -> Steps[R]:
    """Find out why an attempt wrote nothing, and make it again while nothing stands in its way.

    Its id may be taken, and `repeated` says what that means; a hard quota may be exceeded; or the
    room that somebody took is there again.
    """
    for _ in range(_ATTEMPTS):
        reserved, logged, exceeded = yield from find_obstacle.bind(
            data.id, data.tenant_id, data.subject_id, amounts, force=force
        )
        if reserved or logged:
            return (yield from repeated())
        if exceeded is not None:
            raise exceeded.error()
        answer = yield from attempt()
        if answer is not None:
            return answer
    raise Conflict("the subject's quotas changed at every attempt; repeat the call")


def passing_over(key: str) -> Callable[[RunstoreError], Steps[None]]:
    """Return what passes over an error that says what somebody did at the same time.

    They took the id, whose constraint is `key`, or the room that there was, or removed the quota.
    """

    def pass_over(error: RunstoreError) -> Steps[None]:
        yield from ()
        taken = isinstance(error, Conflict) and error.constraint in (key, NO_ROOM)
        removed = isinstance(error, NotFound) and error.entity == QUOTA
        if not taken and not removed:
            raise error

    return pass_over


@query
def verify_usage(
    *, cursor: str | None = None, page_size: int = 1000
) -> Statement[Page[CounterAudit]]:
    """Compare a batch of counters with the log and the open holds, and return those that disagree.

    An empty page that has no `next_cursor` says that all the counters agree; a page may be empty
    and have one. Each batch of `page_size` counters is one statement and one snapshot, in which
    they agree whatever is being written, and it locks nothing. It reads what the subjects of its
    counters logged since the oldest of their windows.
    """
    audits = page(
        CounterAudit,
        _SQL["verify_usage"],
        {},
        key={
            "after_tenant_id": "tenant_id",
            "after_subject_id": "subject_id",
            "after_quota_id": "quota_id",
            "after_window_start": "window_start",
        },
        cursor=cursor,
        page_size=page_size,
    )
    return only(audits, lambda audit: not audit.agrees)


@operation
def rebuild_usage_counters(
    subject_id: Key, *, tenant_id: Key | None = None
) -> Steps[list[CounterAudit]]:
    """Set a subject's counters to what the log and the open holds say.

    Returns those that disagreed, as they were. The counters are locked meanwhile: whoever wants to
    change one waits. A tenant that is None is the transaction's own.
    """
    yield from lock_usage_counters.bind(tenant_id, subject_id)
    # Another statement, and so a snapshot from after the locks were taken.
    return (yield from mend_usage_counters.bind(tenant_id, subject_id))


@query
def lock_usage_counters(tenant_id: Key | None, subject_id: Key) -> Statement[list[UUID]]:
    """Lock a subject's counters in the order of their key, and return their quotas."""
    parameters = {"tenant_id": tenant_id, "subject_id": subject_id}
    return Statement(_SQL["lock_usage_counters"], parameters, lambda rows: [row[0] for row in rows])


@query
def mend_usage_counters(tenant_id: Key | None, subject_id: Key) -> Statement[list[CounterAudit]]:
    """Set the counters of a subject, which are locked, and return those that disagreed."""
    parameters = {"tenant_id": tenant_id, "subject_id": subject_id}
    return many(CounterAudit, _SQL["mend_usage_counters"], parameters, prepare=False)
