"""Branch merges: all or nothing, also against whoever else writes at that moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from connections import BlockingCaller, Caller, Connect, wait_until_blocked
from contents import changes, contents
from creates import DOCUMENT, TEXT
from report_factories import (
    BRANCH_WRITES,
    branch_texts,
    clock,
    conflicts,
    create_branch,
    create_draft,
    draft,
    put,
    put_branch,
    texts,
)
from runstore import (
    InvalidTransition,
    MergeConflict,
    StaleWrite,
    discard_branch_report,
    get_branch_report,
    get_report,
    merge_branch_report,
    order_report_sections,
    publish_report,
    put_branch_section,
    put_report_section,
    remove_branch_section,
    remove_report_section,
    revert_branch_section,
    revise_report,
)

# What of BRANCH_WRITES a branch has seen already when it was closed so.
REPEATED: dict[Any, list[Any]] = {
    merge_branch_report: [BRANCH_WRITES[3]],
    discard_branch_report: [BRANCH_WRITES[4]],
}

# merge_branch_report


def test_a_merge_writes_what_the_branch_shows(call: Caller) -> None:
    report_id = create_draft(call, "a", "b", "c", "gone")
    call(remove_report_section, report_id, "gone")
    branch_id = create_branch(call, report_id)
    full: dict[str, Any] = {
        "heading": "B",
        "citations": [DOCUMENT],
        "position": 9,
        "metadata": DOCUMENT,
    }
    call(put_branch_section, branch_id, draft("b", TEXT, **full))
    call(remove_branch_section, branch_id, "a")
    for slug in ("z", "y", "gone"):
        put_branch(call, branch_id, slug, "new")
    put(call, report_id, "later", "report")
    shown = call(get_branch_report, branch_id)
    before, start = contents(call), clock(call)

    state = call(merge_branch_report, branch_id)
    document = call(get_report, report_id)
    common = ("slug", "position", "heading", "content", "citations", "metadata")
    assert [tuple(getattr(s, name) for name in common) for s in document.sections] == [
        tuple(getattr(s, name) for name in common) for s in shown.sections
    ]
    assert [section.slug for section in document.sections] == [
        "c",
        "later",
        "z",
        "y",
        "gone",
        "b",
    ]
    versions = {section.slug: section.version for section in document.sections}
    assert versions == {"b": 2, "c": 1, "later": 1, "z": 1, "y": 1, "gone": 3}
    assert dict(state).items() <= dict(document.report).items()
    assert document.report.revision == shown.report.revision + 1
    assert changes(before, contents(call)).keys() == {
        "reports",
        "report_sections",
        "branch_reports",
    }
    branch = call(get_branch_report, branch_id).branch
    assert branch.status == "merged"
    assert branch.merged_at is not None
    assert start < branch.merged_at < clock(call)
    # What comes after it in the report has a place of its own.
    assert put(call, report_id, "last", "text").position == 10


def test_a_merge_of_a_branch_that_changed_nothing_writes_nothing(call: Caller) -> None:
    report_id = create_draft(call, "a")
    branch_id = create_branch(call, report_id)
    put_branch(call, branch_id, "a", "branch")
    call(revert_branch_section, branch_id, "a")
    put_branch(call, branch_id, "new", "branch")
    call(remove_branch_section, branch_id, "new")
    before = call(get_report, report_id)

    assert call(merge_branch_report, branch_id).revision == before.report.revision
    after = call(get_report, report_id)
    assert after.sections == before.sections
    assert call(get_branch_report, branch_id).branch.status == "merged"


def test_a_merge_that_meets_a_change_of_the_same_section_writes_nothing(call: Caller) -> None:
    report_id = create_draft(call, "a", "b", "c", "d")
    branch_id = create_branch(call, report_id)
    for slug in ("d", "a", "b", "new"):
        put_branch(call, branch_id, slug, "branch")
    put(call, report_id, "d", "report")
    put(call, report_id, "b", "report")
    put(call, report_id, "c", "report")
    before = contents(call)

    with pytest.raises(StaleWrite) as raised:
        call(merge_branch_report, branch_id)
    assert isinstance(raised.value, MergeConflict)
    assert raised.value.slugs == ("b", "d")
    assert (raised.value.expected, raised.value.found) == (1, 2)
    assert str(raised.value) == "both sides changed: b, d"
    assert contents(call) == before


def test_what_the_report_removed_is_a_conflict(call: Caller) -> None:
    report_id = create_draft(call, "a", "b", "c")
    branch_id = create_branch(call, report_id)
    put_branch(call, branch_id, "a", "branch")
    call(remove_branch_section, branch_id, "b")
    for slug in ("a", "b"):
        call(remove_report_section, report_id, slug)
    before = contents(call)

    with pytest.raises(MergeConflict) as raised:
        call(merge_branch_report, branch_id)
    assert raised.value.slugs == ("a", "b")
    assert (raised.value.expected, raised.value.found) == (1, 0)
    assert contents(call) == before


def test_a_section_that_was_made_anew_in_the_report_is_a_conflict(call: Caller) -> None:
    report_id = create_draft(call, "a")
    branch_id = create_branch(call, report_id)
    put_branch(call, branch_id, "a", "branch")
    call(remove_report_section, report_id, "a")
    put(call, report_id, "a", "a")

    with pytest.raises(MergeConflict) as raised:
        call(merge_branch_report, branch_id)
    assert (raised.value.slugs, raised.value.found) == (("a",), 3)


def test_a_move_in_the_report_is_no_conflict(call: Caller) -> None:
    report_id = create_draft(call, "a", "b")
    branch_id = create_branch(call, report_id)
    put_branch(call, branch_id, "a", "branch")
    call(order_report_sections, report_id, ["b"])

    call(merge_branch_report, branch_id)
    assert texts(call, report_id) == ["b: b", "a: branch"]


def test_a_conflict_is_resolved_from_the_reports_side(call: Caller) -> None:
    report_id = create_draft(call, "a", "b")
    branch_id = create_branch(call, report_id)
    for slug in ("a", "b"):
        put_branch(call, branch_id, slug, "branch")
        put(call, report_id, slug, "report")

    call(revert_branch_section, branch_id, "a")
    call(revert_branch_section, branch_id, "b")
    [shown, _] = call(get_branch_report, branch_id).sections
    assert (shown.content, shown.version, shown.base_version) == ("report", 2, None)
    put_branch(call, branch_id, "a", "both", shown.version)
    assert conflicts(call, branch_id) == []

    call(merge_branch_report, branch_id)
    assert texts(call, report_id) == ["a: both", "b: report"]


def test_a_branch_merges_into_a_later_version_of_its_report(call: Caller) -> None:
    report_id = create_draft(call, "a", "b")
    branch_id = create_branch(call, report_id)
    put_branch(call, branch_id, "a", "branch")
    call(publish_report, report_id)
    before = contents(call)

    with pytest.raises(InvalidTransition) as raised:
        call(merge_branch_report, branch_id)
    assert (raised.value.entity, raised.value.status) == ("report", "published")
    assert contents(call) == before
    call(revise_report, report_id)
    put(call, report_id, "b", "second version")
    call(merge_branch_report, branch_id)
    assert texts(call, report_id) == ["a: branch", "b: second version"]


@pytest.mark.parametrize(
    "write", BRANCH_WRITES, ids=["put", "remove", "revert", "merge", "discard"]
)
@pytest.mark.parametrize("close", [merge_branch_report, discard_branch_report])
def test_a_closed_branch_never_changes(
    call: Caller, write: Callable[[Caller, UUID], object], close: Any
) -> None:
    branch_id = create_branch(call, create_draft(call, "a"))
    put_branch(call, branch_id, "a", "branch")
    ended = call(close, branch_id)
    before = contents(call)

    if write in REPEATED[close]:
        assert write(call, branch_id) == ended
        assert contents(call) == before
        return
    with pytest.raises(InvalidTransition) as raised:
        write(call, branch_id)
    assert (raised.value.entity, raised.value.id, raised.value.status) == (
        "branch report",
        branch_id,
        "merged" if close is merge_branch_report else "discarded",
    )
    assert contents(call) == before


def test_a_merged_branch_has_no_conflicts_with_its_own_merge(call: Caller) -> None:
    branch_id = create_branch(call, create_draft(call, "a"))
    put_branch(call, branch_id, "a", "branch")
    call(merge_branch_report, branch_id)

    assert conflicts(call, branch_id) == []
    assert branch_texts(call, branch_id) == ["a: branch"]


def test_a_branch_of_a_branched_run_merges_on_its_own(call: Caller) -> None:
    """Two forks work on one report; the second to merge sees what the first wrote."""
    report_id = create_draft(call, "a", "b")
    first, second = create_branch(call, report_id), create_branch(call, report_id)
    put_branch(call, first, "a", "first")
    put_branch(call, second, "b", "second")
    call(merge_branch_report, first)
    assert branch_texts(call, second) == ["a: first", "b: second"]
    call(merge_branch_report, second)
    assert texts(call, report_id) == ["a: first", "b: second"]


# Races


def test_a_merge_that_waits_for_a_writer_of_the_report_sees_its_text(
    committed_call: Caller, connect: Connect
) -> None:
    report_id = create_draft(committed_call, "a", "b")
    branch_id = create_branch(committed_call, report_id)
    put_branch(committed_call, branch_id, "a", "branch")
    put_branch(committed_call, branch_id, "new", "branch")
    writer, merger, observer = connect(), connect(), connect()

    with ThreadPoolExecutor() as pool:
        with writer.transaction():
            put_report_section(writer, report_id, draft("new", "report"))
            put_report_section(writer, report_id, draft("a", "report"))
            merged = pool.submit(merge_branch_report, merger, branch_id)
            wait_until_blocked(observer)
        with pytest.raises(MergeConflict) as raised:
            merged.result()
    assert raised.value.slugs == ("a", "new")
    assert texts(committed_call, report_id) == ["a: report", "b: b", "new: report"]
    assert committed_call(get_branch_report, branch_id).branch.status == "open"


def test_a_writer_of_the_report_that_waits_for_a_merge_is_stale(
    committed_call: Caller, connect: Connect
) -> None:
    report_id = create_draft(committed_call, "a", "b")
    branch_id = create_branch(committed_call, report_id)
    put_branch(committed_call, branch_id, "a", "branch")
    put_branch(committed_call, branch_id, "new", "branch")
    merger, observer = connect(), connect()

    def write(slug: str, expected: int | None) -> Any:
        data = draft(slug, "report")
        return pool.submit(
            put_report_section, connect(), report_id, data, expected_version=expected
        )

    with ThreadPoolExecutor() as pool:
        with merger.transaction():
            merge_branch_report(merger, branch_id)
            stale = [write("a", 1), write("new", 0)]
            unaware = write("last", None)
            wait_until_blocked(observer, 3)
        for late in stale:
            with pytest.raises(StaleWrite):
                late.result()
        assert unaware.result().position == 4
    assert texts(committed_call, report_id) == ["a: branch", "b: b", "new: branch", "last: report"]


@pytest.mark.parametrize("slug", ["a", "b"])
def test_two_branches_that_merge_at_once_go_one_after_the_other(
    committed_call: Caller, connect: Connect, slug: str
) -> None:
    report_id = create_draft(committed_call, "a", "b")
    first, second = (create_branch(committed_call, report_id) for _ in range(2))
    put_branch(committed_call, first, "a", "first")
    put_branch(committed_call, first, "x", "first")
    put_branch(committed_call, second, slug, "second")
    put_branch(committed_call, second, "y", "second")
    one, other, observer = connect(), connect(), connect()

    with ThreadPoolExecutor() as pool:
        with one.transaction():
            merge_branch_report(one, first)
            late = pool.submit(merge_branch_report, other, second)
            wait_until_blocked(observer)
        if slug == "a":
            with pytest.raises(MergeConflict) as raised:
                late.result()
            assert raised.value.slugs == ("a",)
            expected = ["a: first", "b: b", "x: first"]
        else:
            late.result()
            expected = ["a: first", "b: second", "x: first", "y: second"]
    assert texts(committed_call, report_id) == expected
    positions = [s.position for s in committed_call(get_report, report_id).sections]
    assert len(set(positions)) == len(positions)


def test_a_merge_that_waits_for_a_writer_of_the_branch_merges_its_text(
    committed_call: Caller, connect: Connect
) -> None:
    report_id = create_draft(committed_call, "a")
    branch_id = create_branch(committed_call, report_id)
    writer, merger, observer = connect(), connect(), connect()

    with ThreadPoolExecutor() as pool:
        with writer.transaction():
            put_branch_section(writer, branch_id, draft("a", "late"))
            merged = pool.submit(merge_branch_report, merger, branch_id)
            wait_until_blocked(observer)
        merged.result()
    assert texts(committed_call, report_id) == ["a: late"]


@pytest.mark.parametrize(
    "write", BRANCH_WRITES, ids=["put", "remove", "revert", "merge", "discard"]
)
@pytest.mark.parametrize("close", [merge_branch_report, discard_branch_report])
def test_a_writer_of_the_branch_that_waits_for_its_end_is_refused(
    committed_call: Caller,
    connect: Connect,
    write: Callable[[Caller, UUID], object],
    close: Any,
) -> None:
    report_id = create_draft(committed_call, "a")
    branch_id = create_branch(committed_call, report_id)
    put_branch(committed_call, branch_id, "a", "branch")
    closer, observer = connect(), connect()
    writer = BlockingCaller(connect(), in_transaction=False)

    with ThreadPoolExecutor() as pool:
        with closer.transaction():
            ended = close(closer, branch_id)
            late = pool.submit(write, writer, branch_id)
            wait_until_blocked(observer)
        if write in REPEATED[close]:
            assert late.result() == ended
        else:
            with pytest.raises(InvalidTransition):
                late.result()
    assert branch_texts(committed_call, branch_id) == ["a: branch"]


def test_a_merge_that_waits_for_a_publisher_is_refused(
    committed_call: Caller, connect: Connect
) -> None:
    report_id = create_draft(committed_call, "a")
    branch_id = create_branch(committed_call, report_id)
    put_branch(committed_call, branch_id, "a", "branch")
    publisher, merger, observer = connect(), connect(), connect()

    with ThreadPoolExecutor() as pool:
        with publisher.transaction():
            publish_report(publisher, report_id)
            late = pool.submit(merge_branch_report, merger, branch_id)
            wait_until_blocked(observer)
        with pytest.raises(InvalidTransition) as raised:
            late.result()
    assert (raised.value.entity, raised.value.status) == ("report", "published")
    assert committed_call(get_branch_report, branch_id).branch.status == "open"
