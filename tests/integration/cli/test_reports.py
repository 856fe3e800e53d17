from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection

from command import runstore
from runstore import (
    NewFeatureRun,
    NewReport,
    SectionDraft,
    create_feature_run,
    create_report,
    get_report,
    publish_report,
    put_report_section,
    revise_report,
)


@pytest.fixture
def report_id(conn: Connection[Any]) -> UUID:
    """A report that was published once and is written on."""
    run = create_feature_run(conn, NewFeatureRun(name="x"))
    report = NewReport(run_id=run.id, title="Dark mode", summary="It is merged.")
    create_report(conn, report)
    sections = [
        SectionDraft(slug="a", heading="Result", content="- contrast **4.9**\n- 48 lines"),
        SectionDraft(slug="b", content="No heading."),
    ]
    for section in sections:
        put_report_section(conn, report.id, section)
    publish_report(conn, report.id)
    revise_report(conn, report.id)
    put_report_section(conn, report.id, SectionDraft(slug="b", content="Another text."))
    return report.id


def test_a_report_is_rendered(report_id: UUID, database: str) -> None:
    out = runstore("report", report_id, "--dsn", database).out

    assert out.startswith("Dark mode  ○ draft  version 2 · ")
    assert "\nIt is merged.\n" in out
    assert " • contrast 4.9" in out
    assert "Another text." in out
    assert "No heading." not in out


def test_what_was_published_is_read(report_id: UUID, database: str) -> None:
    newest = runstore("report", report_id, "--published", "--dsn", database).out

    assert newest == runstore("report", report_id, "--version", 1, "--dsn", database).out
    assert newest.startswith("Dark mode  ✓ published  version 1 · ")
    assert "No heading." in newest
    assert "Another text." not in newest


def test_the_text_itself_is_printed_where_it_is_asked_for(report_id: UUID, database: str) -> None:
    said = runstore("report", report_id, "--raw", "--dsn", database)

    assert said.out == "## Result\n\n- contrast **4.9**\n- 48 lines\n\nAnother text.\n"


def test_machines_get_one_document(conn: Connection[Any], report_id: UUID, database: str) -> None:
    document = runstore("report", report_id, "--json", "--dsn", database).json

    assert document == get_report(conn, report_id).model_dump(mode="json")


def test_a_text_without_markup_stays_as_it_is(conn: Connection[Any], database: str) -> None:
    run = create_feature_run(conn, NewFeatureRun(name="x"))
    report = NewReport(run_id=run.id, title="Log", format="text")
    create_report(conn, report)
    put_report_section(conn, report.id, SectionDraft(slug="a", content="**[bold]** *x*"))

    assert "\n**[bold]** *x*\n" in runstore("report", report.id, "--dsn", database).out
