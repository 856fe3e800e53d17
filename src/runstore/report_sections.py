"""Report sections: the working text of a report, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Final
from uuid import UUID

from pydantic import AfterValidator, Field, JsonValue

from . import _sql
from ._models import Amount, Input, JsonArray, JsonObject, Key, Page, Row, Text
from ._pages import page
from ._query import Statement, Steps, operation, query
from ._statements import maker, many, one
from .errors import Conflict, InvalidTransition, NotFound, StaleWrite
from .ids import new_child_id, run_of
from .reports import ReportSection, get_report, lock_report

_SQL: Final = _sql.load("report_sections")
_SECTION: Final = "report section"


def _each_once(slugs: Sequence[str]) -> Sequence[str]:
    if len(set(slugs)) < len(slugs):
        raise ValueError("holds a slug twice")
    return slugs


Slugs = Annotated[Sequence[Key], AfterValidator(_each_once)]
"""The slugs of several sections."""


class SectionState(Row):
    """What a write to a section left."""

    run_id: UUID
    id: UUID
    slug: str
    position: int
    version: int
    updated_at: datetime


class SectionDraft(Input):
    """All that a section is to say. Sections stand by position, those of one position by slug.

    Without a `position` a section keeps its place, and a new one comes last.
    """

    entity: ClassVar[str] = _SECTION
    optional_fields: ClassVar[frozenset[str]] = frozenset({"position"})

    slug: Key
    """The section's name in its report; unique there."""
    heading: Key | None = None
    """What stands above its text."""
    content: Text
    """Its text, in the report's format."""
    citations: JsonArray = Field(default_factory=list[JsonValue])
    """What the text refers to, as a JSON array."""
    position: Annotated[int, Field(strict=True, ge=0, lt=1 << 30)] | None = None
    """Its place in the report; None: where it stands, or last."""
    metadata: JsonObject = Field(default_factory=dict)
    """A JSON object for what the application adds."""


@query
def put_report_section(
    report_id: UUID, data: SectionDraft, *, expected_version: Amount | None = None
) -> Statement[SectionState]:
    """Create or replace a section of a draft, by its slug.

    With `expected_version` it is a compare-and-set: `StaleWrite` says that the section's version
    is another one; 0 is that of no section. Such a put may be repeated when its answer was lost:
    the repetition changes nothing. Without it the last writer wins.

    Locks the report. Raises `NotFound`, or `InvalidTransition` when the report is no draft.
    """
    parameters = {
        **data.parameters(),
        "run_id": run_of(report_id),
        "report_id": report_id,
        "id": new_child_id(report_id),
        "expected_version": expected_version,
    }
    return one(
        SectionState,
        _SQL["put_report_section"],
        parameters,
        absent=lambda: _not_put(report_id, data, expected_version),
        prepare=False,
    )


def _not_put(report_id: UUID, data: SectionDraft, expected: int | None) -> Steps[SectionState]:
    section = yield from _writable(report_id, data.slug, expected)
    found = 0 if section is None else section.version
    if section is not None and not data.differences(section):
        written = yield from find_written_section.bind(report_id, data.slug, expected, shown=True)
        if written is not None and written.version == found:
            return written
    raise stale(data.slug, expected, found)


@query
def list_report_sections(
    report_id: UUID, *, cursor: str | None = None, page_size: int = 100
) -> Statement[Page[ReportSection]]:
    """Return a page of the sections of a report's working text, in their order."""
    return page(
        ReportSection,
        _SQL["list_report_sections"],
        {"run_id": run_of(report_id), "report_id": report_id},
        key={"after_position": "position", "after_slug": "slug"},
        cursor=cursor,
        page_size=page_size,
    )


@operation
def order_report_sections(report_id: UUID, slugs: Slugs) -> Steps[list[SectionState]]:
    """Set the order of a draft's sections: the named ones first, then the others as they stood.

    They are numbered from 1 and returned in their new order. Their versions stay: a move is no
    change of a section. Locks the report. Raises `NotFound` when the report or a section does not
    exist, `InvalidTransition` when the report is no draft.
    """
    # A statement of its own: only one that starts under the lock sees the sections that others
    # committed while it waited.
    report = yield from lock_report.bind(report_id)
    if report.status != "draft":
        raise InvalidTransition("report", report_id, report.status)
    sections = yield from _order_report_sections.bind(report_id, list(slugs))
    missing = set(slugs).difference(section.slug for section in sections)
    if missing:
        raise NotFound(_SECTION, min(missing))
    return sections


@query
def _order_report_sections(report_id: UUID, slugs: list[Key]) -> Statement[list[SectionState]]:
    parameters = {"run_id": run_of(report_id), "report_id": report_id, "slugs": slugs}
    return many(SectionState, _SQL["order_report_sections"], parameters, prepare=False)


@query
def remove_report_section(
    report_id: UUID, slug: Key, *, expected_version: Amount | None = None
) -> Statement[SectionState]:
    """Take a section out of a draft; its text is gone.

    With `expected_version`, `StaleWrite` says that the section's version is another one, and the
    call may be repeated when its answer was lost. Locks the report. Raises `NotFound` when the
    report or the section does not exist, `InvalidTransition` when the report is no draft.
    """

    def not_removed() -> Steps[SectionState]:
        section = yield from _writable(report_id, slug, expected_version)
        if section is None:
            removed = yield from find_written_section.bind(
                report_id, slug, expected_version, shown=False
            )
            if removed is not None:
                return removed
            raise NotFound(_SECTION, slug)
        raise stale(slug, expected_version, section.version)

    return one(
        SectionState,
        _SQL["remove_report_section"],
        {
            "run_id": run_of(report_id),
            "report_id": report_id,
            "slug": slug,
            "expected_version": expected_version,
        },
        absent=not_removed,
        prepare=False,
    )


@query
def find_written_section(
    report_id: UUID, slug: str, expected_version: int | None, *, shown: bool
) -> Statement[SectionState | None]:
    """Return what the last write of a section left when it found this version, or None.

    `shown` is whether it was a put, and not a removal.
    """
    make = maker(SectionState)
    return Statement(
        _SQL["find_written_section"],
        {
            "run_id": run_of(report_id),
            "report_id": report_id,
            "slug": slug,
            "expected_version": expected_version,
            "shown": shown,
        },
        lambda rows: make(rows[0]) if rows else None,
        prepare=False,
    )


def _writable(report_id: UUID, slug: str, expected: int | None) -> Steps[ReportSection | None]:
    """Answer a section that was not written to, unless its report is why."""
    document = yield from get_report.bind(report_id)
    if document.report.status != "draft":
        raise InvalidTransition("report", report_id, document.report.status)
    return next((section for section in document.sections if section.slug == slug), None)


def stale(slug: str, expected: int | None, found: int) -> StaleWrite | Conflict:
    """Make the error of a write to a section that could be written to and was not."""
    if expected in (None, found):
        # The reason, such as a report that was no draft, is gone between the two statements.
        return Conflict(f"section {slug} was written to at the same time; repeat the write")
    return StaleWrite(f"version of section {slug}", expected, found)
