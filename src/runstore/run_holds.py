"""Run holds: reasons to keep a run, whatever its age."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from . import _sql
from ._models import Key, Moment, Page, Row, RunId
from ._pages import page
from ._query import Statement, query
from ._statements import get

_SQL: Final = _sql.load("run_holds")


class RunHold(Row):
    """A reason to keep a run. From `expires_at` on it keeps nothing; None: until it is released."""

    run_id: UUID
    reason: str
    tenant_id: str
    held_by: str | None
    expires_at: datetime | None
    created_at: datetime


@query
def hold_run(
    run_id: RunId,
    reason: Key,
    *,
    held_by: Key | None = None,
    expires_at: Moment | None = None,
) -> Statement[RunHold]:
    """Keep a run for a reason of 1 to 255 characters, and return the hold.

    While a run has a hold, `delete_run` refuses it and nothing of it is purged or erased. Each
    reason is a hold of its own; holding a run again for the same reason replaces `held_by` and
    `expires_at`. The run may be active. Raises `NotFound`.
    """
    parameters = {
        "run_id": run_id,
        "reason": reason,
        "held_by": held_by,
        "expires_at": expires_at,
    }
    return get(RunHold, _SQL["hold_run"], "run", run_id, parameters)


@query
def release_run_hold(run_id: RunId, reason: Key) -> Statement[RunHold]:
    """Keep a run no longer for this reason, and return the hold as it was. Raises `NotFound`."""
    parameters = {"run_id": run_id, "reason": reason}
    return get(RunHold, _SQL["release_run_hold"], "run hold", run_id, parameters)


@query
def list_run_holds(
    *,
    run_id: RunId | None = None,
    tenant_id: Key | None = None,
    cursor: str | None = None,
    page_size: int = 100,
) -> Statement[Page[RunHold]]:
    """Return a page of a tenant's holds, or of one run's, by run and reason.

    Those that have expired are among them. A tenant that is None is the transaction's own.
    """
    return page(
        RunHold,
        _SQL["list_run_holds"],
        {"run_id": run_id, "tenant_id": tenant_id},
        key={"after_run_id": "run_id", "after_reason": "reason"},
        cursor=cursor,
        page_size=page_size,
    )
