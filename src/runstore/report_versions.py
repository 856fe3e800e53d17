"""Report versions: what was published of a report, as it was."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic import JsonValue

from . import _sql
from ._models import Amount, Page, Row
from ._pages import page
from ._query import Rows, Statement, query
from ._statements import maker, not_found
from .ids import run_of

_SQL: Final = _sql.load("report_versions")


class ReportVersion(Row):
    """A published version of a report, but for its sections. It never changes."""

    run_id: UUID
    report_id: UUID
    version: int
    tenant_id: str
    title: str
    format: str
    summary: str | None
    metadata: dict[str, JsonValue]
    published_at: datetime


class PublishedSection(Row):
    """A section of a published version; `section_version` is the section's own version."""

    slug: str
    position: int
    heading: str | None
    content: str
    citations: list[JsonValue]
    section_version: int
    metadata: dict[str, JsonValue]


class PublishedReport(Row):
    """A published version of a report with its sections in their order. It never changes."""

    report: ReportVersion
    sections: list[PublishedSection]


@query
def get_published_report(
    report_id: UUID, *, version: Amount | None = None
) -> Statement[PublishedReport]:
    """Return a published version of a report, the newest when None, in one round trip.

    It can be read while the next version is written, and after the report was archived. Raises
    `NotFound` when the report does not exist or has no such version.
    """

    def read(rows: Rows) -> PublishedReport:
        report, sections = rows[0]
        return PublishedReport.model_construct(
            report=maker(ReportVersion)(report), sections=[*map(maker(PublishedSection), sections)]
        )

    entity = "published report" if version is None else f"version {version} of report"
    return Statement(
        _SQL["get_published_report"],
        {"run_id": run_of(report_id), "report_id": report_id, "version": version},
        read,
        lambda: not_found(entity, report_id),
        prepare=False,
    )


@query
def list_report_versions(
    report_id: UUID, *, cursor: str | None = None, page_size: int = 100
) -> Statement[Page[ReportVersion]]:
    """Return a page of what was published of a report, newest first, without the sections."""
    return page(
        ReportVersion,
        _SQL["list_report_versions"],
        {"run_id": run_of(report_id), "report_id": report_id},
        key={"before_version": "version"},
        cursor=cursor,
        page_size=page_size,
    )
