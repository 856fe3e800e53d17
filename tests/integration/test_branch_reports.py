"""Branch reports: made, shown over their report, merged, discarded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from connections import Caller
from contents import contents
from creates import DOCUMENT, TEXT
from factories import create_run
from report_factories import (
    BRANCH_WRITES,
    branch_texts,
    conflicts,
    create_branch,
    create_draft,
    create_fork,
    draft,
    new_branch,
    put,
    put_branch,
    texts,
)
from runstore import (
    BranchDocument,
    Conflict,
    InvalidPayload,
    InvalidTransition,
    NewRunFork,
    NotFound,
    archive_report,
    complete_run,
    create_branch_report,
    delete_run,
    discard_branch_report,
    fork_run,
    get_branch_report,
    get_report,
    list_branch_reports,
    merge_branch_report,
    new_child_id,
    new_run_id,
    order_report_sections,
    publish_report,
    put_report_section,
    remove_branch_section,
    remove_report_section,
    revise_report,
    run_of,
    update_report,
)

# create_branch_report


def test_a_branch_reads_back_as_it_was_given(call: Caller) -> None:
    report_id = create_draft(call, "a")
    call(publish_report, report_id)
    call(revise_report, report_id)
    data = new_branch(create_fork(call, report_id), report_id, name=TEXT, metadata=DOCUMENT)
    created = call(create_branch_report, data)

    branch = call(get_branch_report, data.id).branch
    assert dict(data).items() <= dict(branch).items()
    assert dict(created).items() <= dict(branch).items()
    assert (branch.status, branch.base_version) == ("open", 2)


def test_a_branch_is_of_the_tenant_of_its_run(call: Caller) -> None:
    report_id = create_draft(call, "a", run_id=create_run(call, tenant_id="acme").id)
    branch_id = create_branch(call, report_id)
    put_branch(call, branch_id, "b", "text")
    put_branch(call, branch_id, "a", "text")
    call(merge_branch_report, branch_id)

    assert call(get_branch_report, branch_id).branch.tenant_id == "acme"
    tables = ["branch_reports", "branch_sections", "report_sections"]
    rows = contents(call)
    assert {row["tenant_id"] for table in tables for row in rows[table]} == {"acme"}


def test_a_repeated_create_changes_nothing(call: Caller) -> None:
    report_id = create_draft(call, "a")
    data = new_branch(create_fork(call, report_id), report_id)
    created = call(create_branch_report, data)
    put_branch(call, data.id, "a", "new")
    call(merge_branch_report, data.id)
    call(archive_report, report_id)
    before = contents(call)

    assert call(create_branch_report, data) == created
    assert contents(call) == before


def test_another_content_is_a_conflict(call: Caller) -> None:
    report_id = create_draft(call)
    other_id = create_draft(call, run_id=run_of(report_id))
    data = new_branch(create_fork(call, report_id), report_id)
    call(create_branch_report, data)

    for field, value in [("report_id", other_id), ("name", "another"), ("metadata", {"a": 1})]:
        with pytest.raises(Conflict, match=f"exists with another {field}$"):
            call(create_branch_report, data.model_copy(update={field: value}))


def test_a_run_has_one_branch_of_a_name_for_each_report(call: Caller) -> None:
    report_id = create_draft(call)
    other_id = create_draft(call, run_id=run_of(report_id))
    fork = create_fork(call, report_id)
    call(create_branch_report, new_branch(fork, report_id))
    call(create_branch_report, new_branch(fork, report_id, name="another"))
    call(create_branch_report, new_branch(fork, other_id))

    with pytest.raises(Conflict) as raised:
        call(create_branch_report, new_branch(fork, report_id))
    assert raised.value.constraint == "branch_reports_run_id_report_id_name_key"


def test_a_branch_belongs_to_a_fork_of_the_reports_run(call: Caller) -> None:
    report_id = create_draft(call)
    origin = run_of(report_id)
    stranger = create_run(call).id
    sibling = create_draft(call, run_id=create_fork(call, report_id))

    for run_id, branched in [(origin, report_id), (stranger, report_id), (origin, sibling)]:
        before = contents(call)
        with pytest.raises(InvalidPayload, match="report_id: is of a run that this one was not"):
            call(create_branch_report, new_branch(run_id, branched))
        assert contents(call) == before


def test_a_fork_may_branch_a_report_of_any_run_whose_events_it_reads(call: Caller) -> None:
    report_id = create_draft(call, "a")
    child = create_fork(call, report_id)
    grandchild = call(fork_run, child, 1, NewRunFork()).id
    before_all = create_fork(call, report_id, at_seq=0)

    for run_id in (child, grandchild, before_all):
        call(create_branch_report, new_branch(run_id, report_id))
    # It reads nothing of the report's run, and it is not that run's own fork.
    removed = call(fork_run, before_all, 0, NewRunFork()).id
    with pytest.raises(InvalidPayload):
        call(create_branch_report, new_branch(removed, report_id))


def test_what_a_branch_needs_must_exist(call: Caller) -> None:
    report_id = create_draft(call)
    with pytest.raises(NotFound) as raised:
        call(create_branch_report, new_branch(new_run_id(), report_id))
    assert raised.value.entity == "run"

    fork = create_fork(call, report_id)
    with pytest.raises(NotFound) as raised:
        call(create_branch_report, new_branch(fork, new_child_id(report_id)))
    assert raised.value.entity == "report"

    call(archive_report, report_id)
    with pytest.raises(InvalidTransition) as refused:
        call(create_branch_report, new_branch(fork, report_id))
    assert (refused.value.entity, refused.value.status) == ("report", "archived")


# get_branch_report


def test_a_new_branch_shows_its_report(call: Caller) -> None:
    report_id = create_draft(call, "b", "a")
    call(put_report_section, report_id, draft("c", TEXT, heading="C", citations=[DOCUMENT]))
    branch_id = create_branch(call, report_id)

    shown, document = call(get_branch_report, branch_id), call(get_report, report_id)
    BranchDocument.model_validate(shown.model_dump(), strict=True)
    assert shown.report == document.report
    assert [section.base_version for section in shown.sections] == [None, None, None]
    for section, original in zip(shown.sections, document.sections, strict=True):
        common = dict(section)
        common.pop("base_version")
        assert common.items() <= dict(original).items()


def test_a_branch_shows_its_own_sections_in_the_place_of_the_reports(call: Caller) -> None:
    report_id = create_draft(call, "a", "b", "c")
    put(call, report_id, "b", "second")
    branch_id = create_branch(call, report_id)
    put_branch(call, branch_id, "b", "branch")
    put_branch(call, branch_id, "z", "new")
    call(remove_branch_section, branch_id, "a")

    sections = call(get_branch_report, branch_id).sections
    assert [(s.slug, s.content, s.position, s.version, s.base_version) for s in sections] == [
        ("b", "branch", 2, 3, 2),
        ("c", "c", 3, 1, None),
        ("z", "new", 4, 1, 0),
    ]
    assert texts(call, report_id) == ["a: a", "b: second", "c: c"]


def test_a_branch_follows_its_report_where_it_changed_nothing(call: Caller) -> None:
    report_id = create_draft(call, "a", "b")
    branch_id = create_branch(call, report_id)
    put_branch(call, branch_id, "b", "branch")
    put_branch(call, branch_id, "new", "branch")

    put(call, report_id, "a", "later")
    put(call, report_id, "c", "later")
    call(order_report_sections, report_id, ["c", "b"])
    call(update_report, report_id, title="Later")

    assert branch_texts(call, branch_id) == ["c: later", "b: branch", "a: later", "new: branch"]
    assert call(get_branch_report, branch_id).report.title == "Later"
    assert conflicts(call, branch_id) == []


def test_what_both_changed_is_shown_as_a_conflict(call: Caller) -> None:
    report_id = create_draft(call, "a", "b", "c", "d", "e")
    branch_id = create_branch(call, report_id)
    for slug in ("a", "b", "new"):
        put_branch(call, branch_id, slug, "branch")
    for slug in ("c", "d"):
        call(remove_branch_section, branch_id, slug)
    assert conflicts(call, branch_id) == []

    for slug in ("a", "c", "e", "new"):
        put(call, report_id, slug, "report")
    for slug in ("b", "d"):
        call(remove_report_section, report_id, slug)
    assert conflicts(call, branch_id) == [
        ("a", 1, 2),
        ("b", 1, 0),
        ("c", 1, 2),
        ("d", 1, 0),
        ("new", 0, 1),
    ]


def test_an_unknown_branch_is_not_found(call: Caller) -> None:
    unknown = new_child_id(create_run(call).id)
    reads: list[Callable[[Caller, UUID], object]] = [
        lambda call, id: call(get_branch_report, id),
        *BRANCH_WRITES,
    ]
    for send in reads:
        with pytest.raises(NotFound) as raised:
            send(call, unknown)
        assert (raised.value.entity, raised.value.id) == ("branch report", unknown)


@pytest.mark.owner
def test_a_branch_keeps_its_report_from_being_deleted(call: Caller) -> None:
    report_id = create_draft(call, "a")
    create_branch(call, report_id)
    call(complete_run, run_of(report_id))

    with pytest.raises(Conflict, match="a fork reads events of this run"):
        call(delete_run, run_of(report_id))


@pytest.mark.owner
def test_a_branch_whose_report_is_gone_says_so_and_can_be_discarded(call: Caller) -> None:
    """A fork that reads no event of its origin does not keep it."""
    report_id = create_draft(call, "a")
    branch_id = new_child_id(create_fork(call, report_id, at_seq=0))
    call(create_branch_report, new_branch(run_of(branch_id), report_id, id=branch_id))
    put_branch(call, branch_id, "a", "branch")
    call(complete_run, run_of(report_id))
    call(delete_run, run_of(report_id))

    reads: list[Callable[[Caller, UUID], object]] = [
        lambda call, id: call(get_branch_report, id),
        BRANCH_WRITES[0],
        BRANCH_WRITES[1],
        lambda call, id: call(merge_branch_report, id),
    ]
    for send in reads:
        with pytest.raises(NotFound) as raised:
            send(call, branch_id)
        assert (raised.value.entity, raised.value.id) == ("report", report_id)
    call(discard_branch_report, branch_id)
    [listed] = call(list_branch_reports, report_id=report_id).items
    assert listed.status == "discarded"


# list_branch_reports


@pytest.mark.parametrize("page_size", [1, 2, 5])
def test_branches_are_listed_by_report_and_by_run_oldest_first(
    call: Caller, page_size: int
) -> None:
    report_id, other_id = create_draft(call), create_draft(call)
    fork = create_fork(call, report_id)
    names = ["c", "a", "b"]
    branches = [
        call(create_branch_report, new_branch(fork, report_id, name=name)).id for name in names
    ]
    elsewhere = create_branch(call, report_id)
    create_branch(call, other_id)
    call(discard_branch_report, branches[1])

    def ids(**filters: Any) -> list[UUID]:
        seen: list[UUID] = []
        cursor = None
        while True:
            page = call(list_branch_reports, cursor=cursor, page_size=page_size, **filters)
            seen += [branch.id for branch in page.items]
            if (cursor := page.next_cursor) is None:
                return seen

    assert ids(report_id=report_id) == [*branches, elsewhere]
    assert ids(run_id=fork) == branches
    assert ids(report_id=report_id, run_id=run_of(elsewhere)) == [elsewhere]
    assert ids(run_id=fork, status="open") == [branches[0], branches[2]]
    assert ids(report_id=report_id, status="merged") == []
    with pytest.raises(InvalidPayload, match="is needed where no run_id is"):
        ids()


# discard_branch_report


def test_a_discarded_branch_stays_readable_and_leaves_its_report(call: Caller) -> None:
    report_id = create_draft(call, "a")
    branch_id = create_branch(call, report_id)
    put_branch(call, branch_id, "a", "branch")
    before = call(get_report, report_id)

    finished = call(discard_branch_report, branch_id)
    branch = call(get_branch_report, branch_id).branch
    assert (finished.id, finished.finished_at) == (branch_id, branch.discarded_at)
    assert branch_texts(call, branch_id) == ["a: branch"]
    assert call(get_report, report_id) == before
