"""Branch sections: the sections that a branch changed, copied when it first wrote to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from . import _sql
from ._models import Amount, Key, Row
from ._query import Statement, Steps, query
from ._statements import maker, one
from .branch_reports import BranchSection, get_branch_report
from .errors import InvalidTransition, NotFound
from .ids import run_of
from .report_sections import SectionDraft, stale

_SQL: Final = _sql.load("branch_sections")
_BRANCH: Final = "branch report"


class BranchSectionState(Row):
    """What a write to a section of a branch left; `base_version` is where the branch started."""

    run_id: UUID
    branch_id: UUID
    slug: str
    version: int
    base_version: int
    updated_at: datetime


@query
def put_branch_section(
    branch_id: UUID, data: SectionDraft, *, expected_version: Amount | None = None
) -> Statement[BranchSectionState]:
    """Create or replace a section in an open branch, by its slug; the report stays as it is.

    The first put of a slug notes the version of the report's section, which a merge compares.
    `expected_version` is the version that `get_branch_report` shows, the branch's own or the
    report's, and works as it does in `put_report_section`. Without a position the section stays
    where the report has it.

    Locks the branch. Raises `NotFound`, or `InvalidTransition` when the branch is not open.
    """
    parameters = {
        **data.parameters(),
        **_key(branch_id),
        "expected_version": expected_version,
    }
    return one(
        BranchSectionState,
        _SQL["put_branch_section"],
        parameters,
        absent=lambda: _not_put(branch_id, data, expected_version),
        prepare=False,
    )


def _not_put(
    branch_id: UUID, data: SectionDraft, expected: int | None
) -> Steps[BranchSectionState]:
    section = yield from _writable(branch_id, data.slug)
    if section is None:
        raise stale(data.slug, expected, 0)
    if section.base_version is not None and not data.differences(section):
        written = yield from find_written_branch_section.bind(
            branch_id, data.slug, expected, shown=True
        )
        if written is not None and written.version == section.version:
            return written
    raise stale(data.slug, expected, section.version)


@query
def remove_branch_section(
    branch_id: UUID, slug: Key, *, expected_version: Amount | None = None
) -> Statement[BranchSectionState]:
    """Leave a section out of an open branch; a merge takes it out of the report.

    A section that only the branch has is forgotten. `expected_version` is the version that
    `get_branch_report` shows; `StaleWrite` says that it is another one, and with it the call may
    be repeated when its answer was lost. Locks the branch. Raises `NotFound` when the branch or
    the section does not exist, `InvalidTransition` when the branch is not open.
    """

    def not_removed() -> Steps[BranchSectionState]:
        section = yield from _writable(branch_id, slug)
        if section is None:
            removed = yield from find_written_branch_section.bind(
                branch_id, slug, expected_version, shown=False
            )
            if removed is not None:
                return removed
            raise NotFound("report section", slug)
        raise stale(slug, expected_version, section.version)

    return one(
        BranchSectionState,
        _SQL["remove_branch_section"],
        {**_key(branch_id), "slug": slug, "expected_version": expected_version},
        absent=not_removed,
        prepare=False,
    )


@query
def revert_branch_section(branch_id: UUID, slug: Key) -> Statement[BranchSectionState]:
    """Forget what an open branch changed of a section: it shows the report's again.

    What is put after that starts from the report's version of then, which is how a conflict is
    resolved. Idempotent. Locks the branch. Raises `NotFound` when the branch does not exist or
    changed no such section, `InvalidTransition` when the branch is not open.
    """

    def not_reverted() -> Steps[BranchSectionState]:
        yield from _writable(branch_id, slug)
        reverted = yield from find_removed_branch_section.bind(branch_id, slug)
        if reverted is None:
            raise NotFound("branch section", slug)
        return reverted

    return one(
        BranchSectionState,
        _SQL["revert_branch_section"],
        {**_key(branch_id), "slug": slug},
        absent=not_reverted,
        prepare=False,
    )


@query
def find_removed_branch_section(branch_id: UUID, slug: str) -> Statement[BranchSectionState | None]:
    """Return what was left of a branch's section that was removed or reverted, or None."""
    make = maker(BranchSectionState)
    return Statement(
        _SQL["find_removed_branch_section"],
        {**_key(branch_id), "slug": slug},
        lambda rows: make(rows[0]) if rows else None,
        prepare=False,
    )


@query
def find_written_branch_section(
    branch_id: UUID, slug: str, expected_version: int | None, *, shown: bool
) -> Statement[BranchSectionState | None]:
    """Return what the last write of a branch's section left when it found this version, or None.

    `shown` is whether it was a put, and not a removal.
    """
    make = maker(BranchSectionState)
    return Statement(
        _SQL["find_written_branch_section"],
        {
            **_key(branch_id),
            "slug": slug,
            "expected_version": expected_version,
            "shown": shown,
        },
        lambda rows: make(rows[0]) if rows else None,
        prepare=False,
    )


def _writable(branch_id: UUID, slug: str) -> Steps[BranchSection | None]:
    """Answer a section that was not written to, unless its branch is why."""
    document = yield from get_branch_report.bind(branch_id)
    if document.branch.status != "open":
        raise InvalidTransition(_BRANCH, branch_id, document.branch.status)
    return next((section for section in document.sections if section.slug == slug), None)


def _key(branch_id: UUID) -> dict[str, Any]:
    return {"run_id": run_of(branch_id), "branch_id": branch_id}
