"""Reports: the working text of what a run writes for people to read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, Final, Literal
from uuid import UUID

from pydantic import Field, JsonValue

from . import _sql
from ._models import (
    Amount,
    ChildId,
    Created,
    Input,
    JsonObject,
    Key,
    Page,
    Row,
    RunId,
    Text,
    child_of_run,
)
from ._pages import page
from ._query import Rows, Statement, Steps, operation, query
from ._statements import change, get, maker, not_found, one, refuse_differences, says
from .errors import Conflict, InvalidTransition, NotFound, StaleWrite
from .ids import run_of

_SQL: Final = _sql.load("reports")
_REPORT: Final = "report"

ReportStatus = Literal["draft", "published", "archived"]


class Report(Row):
    """A report's working text, but for its sections.

    `version` is the version that the text is or will be, `published_version` the newest one
    that was published. `revision` counts the writes to title, format, summary and sections.
    """

    run_id: UUID
    id: UUID
    tenant_id: str
    title: str
    format: str
    summary: str | None
    status: ReportStatus
    version: int
    revision: int
    published_version: int | None
    metadata: dict[str, JsonValue]
    created_at: datetime
    updated_at: datetime
    published_at: datetime | None
    archived_at: datetime | None


class ReportSection(Row):
    """A section of a report's working text; `version` counts the writes to it."""

    run_id: UUID
    id: UUID
    tenant_id: str
    report_id: UUID
    slug: str
    position: int
    heading: str | None
    content: str
    citations: list[JsonValue]
    version: int
    metadata: dict[str, JsonValue]
    created_at: datetime
    updated_at: datetime


class ReportDocument(Row):
    """A report's working text with its sections in their order."""

    report: Report
    sections: list[ReportSection]


class ReportState(Row):
    """What a write to a report left."""

    run_id: UUID
    id: UUID
    status: ReportStatus
    version: int
    revision: int
    updated_at: datetime


class NewReport(Input):
    """A report to create. `format` says how its texts are marked up."""

    entity: ClassVar[str] = _REPORT

    run_id: RunId
    """The run that it belongs to."""
    id: ChildId = Field(default_factory=child_of_run)
    """Made here, before the first attempt: repeating a write with it is safe."""
    title: Key
    """What it is called."""
    format: Key = "markdown"
    """How its texts are marked up; the application chooses the words."""
    summary: Text | None = None
    """What it says, in short."""
    metadata: JsonObject = Field(default_factory=dict)
    """A JSON object for what the application adds."""

    def differences(self, row: Row) -> list[str]:
        """Name the fields in which a stored report differs; what was written since is left out."""
        written = ("title", "format", "summary") if row.__dict__["revision"] > 1 else ()
        return [name for name in super().differences(row) if name not in written]


@query
def create_report(data: NewReport) -> Statement[Created]:
    """Create a draft without sections.

    Idempotent by the id of `data`. Raises `NotFound` when the run does not exist, `Conflict`
    when the id holds another content.
    """
    return one(Created, _SQL["create_report"], data.parameters(), absent=lambda: _same(data))


def _same(data: NewReport) -> Steps[Created]:
    try:
        document = yield from get_report.bind(data.id)
    except NotFound:
        raise NotFound("run", data.run_id) from None
    refuse_differences(data, document.report)
    return Created(run_id=data.run_id, id=data.id, created_at=document.report.created_at)


@query
def get_report(report_id: UUID) -> Statement[ReportDocument]:
    """Return a report's working text with its sections, in one round trip. Raises `NotFound`.

    What was published is read with `get_published_report`.
    """

    def read(rows: Rows) -> ReportDocument:
        report, sections = rows[0]
        return ReportDocument.model_construct(
            report=maker(Report)(report), sections=[*map(maker(ReportSection), sections)]
        )

    return Statement(
        _SQL["get_report"],
        {"run_id": run_of(report_id), "report_id": report_id},
        read,
        lambda: not_found(_REPORT, report_id),
        prepare=False,
    )


@query
def list_reports(
    *,
    run_id: RunId | None = None,
    thread_id: Key | None = None,
    tenant_id: Key | None = None,
    status: ReportStatus | None = None,
    cursor: str | None = None,
    page_size: int = 100,
) -> Statement[Page[Report]]:
    """Return a page of the reports of a run, of a thread's runs, or of a tenant, newest first.

    A filter that is None does not filter. A tenant that is None is the transaction's own, and
    any when a run is named.
    """
    return page(
        Report,
        _SQL["list_reports"],
        {"run_id": run_id, "thread_id": thread_id, "tenant_id": tenant_id, "status": status},
        key={"before_created_at": "created_at", "before_id": "id"},
        cursor=cursor,
        page_size=page_size,
    )


@query
def update_report(
    report_id: UUID,
    *,
    title: Key | None = None,
    format: Key | None = None,
    summary: Text | None = None,
    expected_revision: Amount | None = None,
) -> Statement[ReportState]:
    """Change the title, the format or the summary of a draft; what is None stays as it is.

    With `expected_revision` it is a compare-and-set: `StaleWrite` says that the report or a
    section of it was written since. Such an update may be repeated when its answer was lost: the
    repetition changes nothing. Raises `NotFound`, or `InvalidTransition` when the report is no
    draft.
    """
    given = {"title": title, "format": format, "summary": summary}

    def refuse() -> Steps[ReportState]:
        report = yield from _get_report(report_id)
        written = {name: value for name, value in given.items() if value is not None}
        repeated = says(report, {"status": "draft", **written})
        if repeated and report.revision - 1 == expected_revision:
            return _state_of(report)
        _refuse_unless_draft(report, expected_revision)
        # The reason is gone between the two statements.
        raise Conflict(f"report {report_id} was written to at the same time; repeat the write")

    return one(
        ReportState,
        _SQL["update_report"],
        _key(report_id) | given | {"expected_revision": expected_revision},
        absent=refuse,
    )


@query
def lock_report(report_id: UUID) -> Statement[ReportState]:
    """Lock a report until the end of the transaction, and return its state. Raises `NotFound`.

    Whoever writes to the report or to its sections waits for that end.
    """
    return get(ReportState, _SQL["lock_report"], _REPORT, report_id, _key(report_id))


@operation
def publish_report(
    report_id: UUID, *, expected_revision: Amount | None = None
) -> Steps[ReportState]:
    """Publish a draft: its version is kept as it is now, and may be read for ever.

    With `expected_revision`, that of the report that was reviewed, `StaleWrite` says that it
    was written to since. Nothing can be written to a published report before it is revised.
    Idempotent: of a report that is published, it answers as it did. Locks the report. Raises
    `NotFound`, or `InvalidTransition` when the report is no draft.
    """
    report = yield from lock_report.bind(report_id)
    if report.status == "published" and expected_revision in (None, report.revision):
        return report
    _refuse_unless_draft(report, expected_revision)
    # A statement of its own: only one that starts under the lock sees the sections that others
    # committed while it waited.
    return (yield from _publish_report.bind(report_id))


@query
def _publish_report(report_id: UUID) -> Statement[ReportState]:
    return one(
        ReportState,
        _SQL["publish_report"],
        _key(report_id),
        absent=lambda: not_found(_REPORT, report_id),
        prepare=False,
    )


@query
def revise_report(report_id: UUID) -> Statement[ReportState]:
    """Make a published report the draft of its next version; its sections stay as they are.

    The published version stays readable. Idempotent: of a draft of a later version it answers
    the report as it is. Raises `NotFound`, or `InvalidTransition` when the report is archived or
    was never published.
    """
    return _change(
        "revise_report",
        report_id,
        lambda report: report.status == "draft" and report.published_version is not None,
        allowed_in="published",
    )


@query
def archive_report(report_id: UUID) -> Statement[ReportState]:
    """Archive a draft or a published report, which never changes again.

    What was published stays readable. Idempotent. Raises `NotFound`.
    """
    return _change("archive_report", report_id, lambda report: report.status == "archived")


def _change(
    name: str,
    report_id: UUID,
    is_repeated: Callable[[Report], bool],
    *,
    allowed_in: ReportStatus | None = None,
) -> Statement[ReportState]:
    make = maker(ReportState)

    def found() -> Steps[ReportState | None]:
        report = yield from _get_report(report_id)
        if is_repeated(report):
            return _state_of(report)
        if report.status == allowed_in:
            return None
        raise InvalidTransition(_REPORT, report_id, report.status)

    return change(_SQL[name], _key(report_id), lambda rows: make(rows[0]), _REPORT, found)


def _get_report(report_id: UUID) -> Steps[Report]:
    return (yield from get_report.bind(report_id)).report


def _state_of(report: Report) -> ReportState:
    return ReportState(**{name: report.__dict__[name] for name in ReportState.model_fields})


def _key(report_id: UUID) -> dict[str, Any]:
    return {"run_id": run_of(report_id), "report_id": report_id}


def _refuse_unless_draft(report: Report | ReportState, expected_revision: int | None) -> None:
    if report.status != "draft":
        raise InvalidTransition(_REPORT, report.id, report.status)
    if expected_revision not in (None, report.revision):
        raise StaleWrite("revision of the report", expected_revision, report.revision)
