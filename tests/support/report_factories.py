"""Reports, their sections and their branches, every value of which may be given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from connections import Caller
from factories import create_run
from runstore import (
    BranchSectionState,
    NewBranchReport,
    NewReport,
    NewRunFork,
    SectionDraft,
    SectionState,
    create_branch_report,
    create_report,
    discard_branch_report,
    fork_run,
    get_branch_report,
    get_report,
    merge_branch_report,
    order_report_sections,
    put_branch_section,
    put_report_section,
    remove_branch_section,
    remove_report_section,
    revert_branch_section,
    run_of,
    update_report,
)

REPORT_WRITES: list[Callable[[Caller, UUID], object]] = [
    lambda call, id: put(call, id, "a", "new"),
    lambda call, id: call(remove_report_section, id, "a"),
    lambda call, id: call(order_report_sections, id, ["a"]),
    lambda call, id: call(update_report, id, title="new"),
]
"""All that writes to a draft with a section a."""

BRANCH_WRITES: list[Callable[[Caller, UUID], object]] = [
    lambda call, id: put_branch(call, id, "b", "new"),
    lambda call, id: call(remove_branch_section, id, "a"),
    lambda call, id: call(revert_branch_section, id, "a"),
    lambda call, id: call(merge_branch_report, id),
    lambda call, id: call(discard_branch_report, id),
]
"""All that changes an open branch with a section a of its own."""


def new_report(run_id: UUID, **values: Any) -> NewReport:
    given: dict[str, Any] = {"run_id": run_id, "title": "What we found", **values}
    return NewReport(**given)


def new_branch(run_id: UUID, report_id: UUID, **values: Any) -> NewBranchReport:
    given: dict[str, Any] = {
        "run_id": run_id,
        "report_id": report_id,
        "name": "another ending",
        **values,
    }
    return NewBranchReport(**given)


def draft(slug: str, content: str = "text", **values: Any) -> SectionDraft:
    return SectionDraft(slug=slug, content=content, **values)


def create_draft(call: Caller, *slugs: str, run_id: UUID | None = None, **values: Any) -> UUID:
    """Create a report with these sections, each saying its slug, and return its id."""
    run_id = run_id or create_run(call).id
    report = call(create_report, new_report(run_id, **values))
    for slug in slugs:
        put(call, report.id, slug, slug)
    return report.id


def create_branch(call: Caller, report_id: UUID, **values: Any) -> UUID:
    """Fork the report's run, create a branch of the report there, and return the branch's id."""
    fork = create_fork(call, report_id)
    return call(create_branch_report, new_branch(fork, report_id, **values)).id


def create_fork(call: Caller, id: UUID, at_seq: int = 1) -> UUID:
    """Fork the run of an id, and return the fork's."""
    return call(fork_run, run_of(id), at_seq, NewRunFork()).id


def put(
    call: Caller, report_id: UUID, slug: str, content: str, expected: int | None = None
) -> SectionState:
    return call(put_report_section, report_id, draft(slug, content), expected_version=expected)


def put_branch(
    call: Caller, branch_id: UUID, slug: str, content: str, expected: int | None = None
) -> BranchSectionState:
    return call(put_branch_section, branch_id, draft(slug, content), expected_version=expected)


def texts(call: Caller, report_id: UUID) -> list[str]:
    """Return a report's sections in their order, each as `slug: text`."""
    sections = call(get_report, report_id).sections
    return [f"{section.slug}: {section.content}" for section in sections]


def branch_texts(call: Caller, branch_id: UUID) -> list[str]:
    """Return the sections that a branch shows in their order, each as `slug: text`."""
    sections = call(get_branch_report, branch_id).sections
    return [f"{section.slug}: {section.content}" for section in sections]


def conflicts(call: Caller, branch_id: UUID) -> list[tuple[str, int, int]]:
    """Return what a branch's merge would be refused for: slug, base version, found version."""
    found = call(get_branch_report, branch_id).conflicts
    return [(each.slug, each.base_version, each.found_version) for each in found]


def clock(call: Caller) -> datetime:
    """Return the database's time."""
    time: datetime = call.execute("SELECT clock_timestamp()")[0][0]
    return time
