"""What the database itself refuses of reports and branches, whoever writes."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest

from connections import Caller
from contents import contents
from report_factories import (
    create_branch,
    create_draft,
    put,
    put_branch,
)
from runstore import (
    Conflict,
    get_report,
    publish_report,
    revise_report,
    run_of,
)

NO_RUN = "'01890000-0000-7000-8000-000000000000'"
NO_CHILD = "'01890000-0000-7000-8000-000000000001'"
CHILD = f"run_id = {NO_RUN}, id = {NO_CHILD}"
LONG = "repeat('x', 256)"

# For each constraint, what an UPDATE of a row would have to set to break it, and it alone.
REFUSED = {
    "reports": {
        "reports_run_id_fkey": f"{CHILD} WHERE title = 'bare'",
        "reports_metadata_check": "metadata = '[]'",
        "reports_id_check": f"id = {NO_CHILD}",
        "reports_title_check": "title = ''",
        "reports_format_check": f"format = {LONG}",
        "reports_status_check": "status = 'other', published_version = NULL, published_at = NULL",
        "reports_version_check": "version = 0",
        "reports_revision_check": "revision = 0",
        "reports_last_position_check": "last_position = -1",
        "reports_published_version_check": "version = 3",
        "reports_published_at_check": "published_at = NULL",
        "reports_archived_at_check": "archived_at = now()",
    },
    "report_sections": {
        "report_sections_run_id_report_id_fkey": f"report_id = {NO_CHILD}",
        "report_sections_metadata_check": "metadata = '[]'",
        "report_sections_id_check": f"id = {NO_CHILD}",
        "report_sections_slug_check": "slug = ''",
        "report_sections_position_check": "position = -1",
        "report_sections_heading_check": "heading = ''",
        "report_sections_citations_check": "citations = '{}'",
        "report_sections_status_check": "status = 'other'",
        "report_sections_version_check": "version = 0",
    },
    "report_versions": {
        "report_versions_run_id_report_id_fkey": f"report_id = {NO_CHILD} WHERE title = 'empty'",
        "report_versions_metadata_check": "metadata = '[]'",
        "report_versions_version_check": "version = 0",
    },
    "report_version_sections": {
        "report_version_sections_run_id_report_id_version_fkey": "version = 9",
        "report_version_sections_metadata_check": "metadata = '[]'",
        "report_version_sections_citations_check": "citations = '{}'",
    },
    "branch_reports": {
        "branch_reports_run_id_fkey": f"{CHILD} WHERE name = 'bare'",
        "branch_reports_metadata_check": "metadata = '[]'",
        "branch_reports_id_check": f"id = {NO_CHILD}",
        "branch_reports_report_id_check": "report_id = id",
        "branch_reports_name_check": "name = ''",
        "branch_reports_base_version_check": "base_version = 0",
        "branch_reports_status_check": "status = 'other'",
        "branch_reports_merged_at_check": "status = 'merged'",
        "branch_reports_discarded_at_check": "status = 'discarded'",
    },
    "branch_sections": {
        "branch_sections_run_id_branch_id_fkey": f"branch_id = {NO_CHILD}",
        "branch_sections_metadata_check": "metadata = '[]'",
        "branch_sections_slug_check": "slug = ''",
        "branch_sections_base_version_check": "section_id = NULL",
        "branch_sections_position_check": "position = -1",
        "branch_sections_heading_check": "heading = ''",
        "branch_sections_citations_check": "citations = '{}'",
        "branch_sections_status_check": "status = 'other'",
        "branch_sections_version_check": "version = base_version",
    },
}

# Some of these break a second rule as well; either may be the one that is named.
TWICE = {
    "reports_version_check": "reports_published_version_check",
    "reports_status_check": "reports_published_version_check",
}


def fill(call: Caller) -> None:
    """Write a row into every table, and rows without others that refer to them."""
    call(publish_report, create_draft(call, title="empty"))
    create_branch(call, create_draft(call, title="bare"), name="bare")
    report_id = create_draft(call, "a")
    call(publish_report, report_id)
    call(revise_report, report_id)
    put_branch(call, create_branch(call, report_id), "a", "branch")


@pytest.mark.owner
@pytest.mark.parametrize("table", REFUSED)
def test_a_row_that_breaks_a_rule_is_refused(call: Caller, table: str) -> None:
    fill(call)
    before = contents(call)
    for constraint, assignments in REFUSED[table].items():
        update: Any = f"UPDATE runstore.{table} SET {assignments}"
        with pytest.raises(psycopg.errors.IntegrityError) as raised:
            call.execute(update)
        assert raised.value.diag.constraint_name in {constraint, TWICE.get(constraint)}
    assert contents(call) == before


@pytest.mark.parametrize("table", REFUSED)
def test_every_rule_of_a_table_has_its_proof(call: Caller, table: str) -> None:
    rules = call.execute(
        "SELECT conname::text FROM pg_constraint"
        " WHERE conrelid = ('runstore.' || %s)::regclass AND contype IN ('c', 'f')",
        (table,),
    )
    assert {name for (name,) in rules} == REFUSED[table].keys()


@pytest.mark.parametrize(
    ("status", "version", "published", "allowed"),
    [
        ("draft", 1, None, True),
        ("draft", 1, 1, False),
        ("draft", 2, 1, True),
        ("draft", 2, None, False),
        ("published", 1, None, False),
        ("published", 1, 1, True),
        ("published", 2, 1, False),
        ("archived", 1, None, True),
        ("archived", 1, 1, True),
        ("archived", 2, 1, True),
        ("archived", 2, None, False),
        ("archived", 2, 3, False),
    ],
)
def test_a_status_fits_what_was_published(
    call: Caller, status: str, version: int, published: int | None, allowed: bool
) -> None:
    report_id = create_draft(call)

    def set_it() -> None:
        call.execute(
            "UPDATE runstore.reports SET status = %(status)s, version = %(version)s,"
            " published_version = %(published)s,"
            " published_at = CASE WHEN %(published)s::integer IS NOT NULL THEN now() END,"
            " archived_at = CASE WHEN %(status)s::text = 'archived' THEN now() END"
            " WHERE run_id = %(run_id)s",
            {
                "status": status,
                "version": version,
                "published": published,
                "run_id": run_of(report_id),
            },
        )

    if allowed:
        set_it()
    else:
        with pytest.raises(psycopg.errors.CheckViolation, match="reports_published_version_check"):
            set_it()


def test_a_section_whose_id_is_taken_is_a_conflict(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes made the same 48 random bits: the second is refused, and never merged."""
    report_id = create_draft(call, "a")
    taken = call(get_report, report_id).sections[0].id

    def clash(_: UUID) -> UUID:
        return taken

    monkeypatch.setattr("runstore.report_sections.new_child_id", clash)
    with pytest.raises(Conflict) as raised:
        put(call, report_id, "b", "text")
    assert raised.value.constraint == "report_sections_pkey"


@pytest.mark.owner
def test_a_tree_of_one_run_takes_no_row_of_another(call: Caller) -> None:
    first, second = create_draft(call, "a"), create_draft(call, "a")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        call.execute(
            "UPDATE runstore.report_sections SET report_id = %s WHERE report_id = %s",
            (first, second),
        )
