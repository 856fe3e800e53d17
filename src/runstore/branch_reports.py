"""Branch reports: what a forked run makes of a report of a run that it was forked from."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Final, Literal, cast
from uuid import UUID

from pydantic import Field, JsonValue

from . import _sql
from ._models import (
    ChildId,
    Created,
    Finished,
    Input,
    JsonObject,
    Key,
    Page,
    Row,
    RunId,
    child_of_run,
)
from ._pages import page
from ._query import Rows, Statement, Steps, operation, query, reads
from ._statements import get, maker, not_found, one, refuse_differences, transition
from .errors import InvalidPayload, InvalidTransition, MergeConflict, NotFound, key_taken
from .ids import run_of
from .reports import Report, ReportState, get_report, lock_report
from .runs import get_run

_SQL: Final = _sql.load("branch_reports")
_BRANCH: Final = "branch report"

BranchStatus = Literal["open", "merged", "discarded"]


class BranchReport(Row):
    """A branch of a report. `run_id` is the forked run, `report_id` another run's report."""

    run_id: UUID
    id: UUID
    tenant_id: str
    report_id: UUID
    name: str
    base_version: int
    status: BranchStatus
    metadata: dict[str, JsonValue]
    created_at: datetime
    updated_at: datetime
    merged_at: datetime | None
    discarded_at: datetime | None


class BranchState(Row):
    """A branch's status, and the report that it is of."""

    run_id: UUID
    id: UUID
    report_id: UUID
    status: BranchStatus
    updated_at: datetime
    discarded_at: datetime | None


class BranchSection(Row):
    """A section as a branch shows it.

    `base_version` is None where the section is the report's. Else it is the branch's, and
    `base_version` says which version of the report's section it started from; 0: of none.
    """

    slug: str
    position: int
    heading: str | None
    content: str
    citations: list[JsonValue]
    version: int
    base_version: int | None
    metadata: dict[str, JsonValue]
    updated_at: datetime


class SectionConflict(Row):
    """A section that both sides changed: the version that the branch started from, and today's.

    `found_version` is that of the report's section; 0: the report has none.
    """

    slug: str
    base_version: int
    found_version: int


class BranchDocument(Row):
    """A branch, and the report as it reads in the branch.

    `report` is the report's own row. `conflicts` are what a merge would refuse an open branch
    for.
    """

    branch: BranchReport
    report: Report
    sections: list[BranchSection]
    conflicts: list[SectionConflict]


class _Records(Row):
    """A branch document as the query gives it: its report may be gone."""

    branch: BranchReport
    report: Report | None
    sections: list[BranchSection]
    conflicts: list[SectionConflict]


class NewBranchReport(Input):
    """A branch to create: `run_id` is a run that was forked from the run of `report_id`."""

    entity: ClassVar[str] = _BRANCH

    run_id: RunId
    """The forked run that makes the branch."""
    id: ChildId = Field(default_factory=child_of_run)
    """Made here, before the first attempt: repeating a write with it is safe."""
    report_id: UUID
    """The report that it is a branch of."""
    name: Key
    """What the branch is called; unique within its run and report."""
    metadata: JsonObject = Field(default_factory=dict)
    """A JSON object for what the application adds."""


@query
def create_branch_report(data: NewBranchReport) -> Statement[Created]:
    """Create an open branch, which changes nothing of its report yet.

    The report belongs to the run that `run_id` was forked from, or to one whose events it reads.

    Idempotent by the id of `data`. Raises `NotFound` when the run or the report does not exist,
    `InvalidTransition` when the report is archived, `InvalidPayload` when the run is no fork of
    the report's, `Conflict` when the id holds another content or the run has a branch of the
    report with the same name.
    """
    parameters = data.parameters()
    parameters["report_run_id"] = run_of(data.report_id)
    return one(
        Created,
        _SQL["create_branch_report"],
        parameters,
        absent=lambda: _same(data),
        prepare=False,
    )


def _same(data: NewBranchReport) -> Steps[Created]:
    try:
        branch = (yield from get_branch_report.bind(data.id)).branch
    except NotFound as error:
        if error.entity != _BRANCH:
            raise
    else:
        refuse_differences(data, branch)
        return Created(run_id=branch.run_id, id=branch.id, created_at=branch.created_at)
    yield from get_run.bind(data.run_id)
    report = (yield from get_report.bind(data.report_id)).report
    if report.status == "archived":
        raise InvalidTransition("report", report.id, report.status)
    if (yield from find_named_branch_report.bind(data.run_id, data.report_id, data.name)):
        raise key_taken("branch_reports_run_id_report_id_name_key")
    raise InvalidPayload("report_id", "is of a run that this one was not forked from")


@query
@reads(_Records)
def get_branch_report(branch_id: UUID) -> Statement[BranchDocument]:
    """Return a branch and the report as it reads there, in one round trip and of one snapshot.

    The branch's sections stand in the place of the report's as they are now: what is shown is
    what a merge writes. Raises `NotFound` when the branch does not exist, or its report is gone.
    """

    def read(rows: Rows) -> BranchDocument:
        row, report, sections, conflicts = rows[0]
        branch = maker(BranchReport)(row)
        if report is None:
            raise NotFound("report", branch.report_id)
        return BranchDocument.model_construct(
            branch=branch,
            report=maker(Report)(report),
            sections=[*map(maker(BranchSection), sections)],
            conflicts=[*map(maker(SectionConflict), conflicts)],
        )

    return Statement(
        _SQL["get_branch_report"],
        _key(branch_id),
        read,
        lambda: not_found(_BRANCH, branch_id),
        prepare=False,
    )


@query
def list_branch_reports(
    *,
    report_id: UUID | None = None,
    run_id: RunId | None = None,
    status: BranchStatus | None = None,
    cursor: str | None = None,
    page_size: int = 100,
) -> Statement[Page[BranchReport]]:
    """Return a page of the branches of a report, or of a forked run, oldest first.

    One of the two must be given; a `status` that is None does not filter.
    """
    if report_id is None and run_id is None:
        raise InvalidPayload("report_id", "is needed where no run_id is")
    return page(
        BranchReport,
        _SQL["list_branch_reports"],
        {"report_id": report_id, "run_id": run_id, "status": status},
        key={"after_created_at": "created_at", "after_id": "id"},
        cursor=cursor,
        page_size=page_size,
    )


@query
@reads(UUID)
def find_named_branch_report(run_id: UUID, report_id: UUID, name: str) -> Statement[UUID | None]:
    """Return the id of the branch of this name that a run has of a report, or None."""
    return Statement(
        _SQL["find_named_branch_report"],
        {"run_id": run_id, "report_id": report_id, "name": name},
        lambda rows: rows[0][0] if rows else None,
        prepare=False,
    )


@query
def lock_branch_report(branch_id: UUID) -> Statement[BranchState]:
    """Lock a branch until the end of the transaction, and return its state. Raises `NotFound`.

    Whoever writes to the branch or to its sections waits for that end.
    """
    return get(BranchState, _SQL["lock_branch_report"], _BRANCH, branch_id, _key(branch_id))


@operation
def merge_branch_report(branch_id: UUID) -> Steps[ReportState]:
    """Write all that a branch changed into its report, close the branch, and return the report.

    All or nothing: `MergeConflict`, a `StaleWrite`, names the sections that were changed in the
    report too since the branch first changed them. `revert_branch_section` gives up the
    branch's side of one; what is put after that starts from the report's side.

    Idempotent: of a branch that is merged, it answers the report as it is. Locks the branch, then
    the report. Raises `NotFound`, or `InvalidTransition` when the branch is discarded or the report
    is no draft.
    """
    branch = yield from lock_branch_report.bind(branch_id)
    if branch.status == "merged":
        return (yield from lock_report.bind(branch.report_id))
    if branch.status != "open":
        raise InvalidTransition(_BRANCH, branch_id, branch.status)
    report = yield from lock_report.bind(branch.report_id)
    if report.status != "draft":
        raise InvalidTransition("report", report.id, report.status)

    # A statement of its own: only one that starts under the locks sees the sections that others
    # committed while it waited.
    return (yield from _merge_branch_report.bind(branch_id, report.id))


@query
def _merge_branch_report(branch_id: UUID, report_id: UUID) -> Statement[ReportState]:
    def refuse() -> Steps[ReportState]:
        conflicts = (yield from get_branch_report.bind(branch_id)).conflicts
        slugs = [conflict.slug for conflict in conflicts]
        raise MergeConflict(slugs, conflicts[0].base_version, conflicts[0].found_version)

    parameters = _key(branch_id) | {"report_run_id": run_of(report_id), "report_id": report_id}
    return one(ReportState, _SQL["merge_branch_report"], parameters, absent=refuse, prepare=False)


@query
def discard_branch_report(branch_id: UUID) -> Statement[Finished]:
    """Give an open branch up; it stays readable.

    Idempotent. Raises `NotFound`, or `InvalidTransition` when the branch is merged.
    """
    return transition(
        Finished,
        _SQL["discard_branch_report"],
        _key(branch_id),
        _BRANCH,
        lambda: lock_branch_report.bind(branch_id),
        leaves={"status": "discarded"},
        answer=_discarded,
    )


def _discarded(branch: BranchState) -> Steps[Finished]:
    yield from ()
    # A branch that is discarded has this time.
    finished_at = cast("datetime", branch.discarded_at)
    return Finished(run_id=branch.run_id, id=branch.id, finished_at=finished_at)


def _key(branch_id: UUID) -> dict[str, Any]:
    return {"run_id": run_of(branch_id), "branch_id": branch_id}
