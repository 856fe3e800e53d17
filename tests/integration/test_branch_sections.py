"""Branch sections: copied on the first write, removed, reverted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from connections import Caller, Connect, wait_until_blocked
from contents import changes, contents
from creates import DOCUMENT, TEXT
from report_factories import (
    branch_texts,
    create_branch,
    create_draft,
    draft,
    put,
    put_branch,
    texts,
)
from runstore import (
    BranchSection,
    InvalidPayload,
    NotFound,
    StaleWrite,
    get_branch_report,
    get_report,
    new_child_id,
    new_run_id,
    put_branch_section,
    put_report_section,
    remove_branch_section,
    remove_report_section,
    revert_branch_section,
)


def section_of(call: Caller, branch_id: UUID, slug: str) -> BranchSection:
    sections = call(get_branch_report, branch_id).sections
    return next(section for section in sections if section.slug == slug)


# put_branch_section


def test_a_section_of_a_branch_reads_back_as_it_was_put(call: Caller) -> None:
    report_id = create_draft(call, "a")
    put(call, report_id, "a", "second")
    branch_id = create_branch(call, report_id)
    data = draft(
        "a", TEXT * 10_000, heading=TEXT, citations=[DOCUMENT], position=4, metadata=DOCUMENT
    )
    before = contents(call)
    state = call(put_branch_section, branch_id, data)

    section = section_of(call, branch_id, "a")
    assert dict(data).items() <= dict(section).items()
    assert (state.version, state.base_version, state.branch_id) == (3, 2, branch_id)
    assert (section.version, section.base_version) == (3, 2)
    assert section.updated_at == state.updated_at
    written = changes(before, contents(call))
    assert written.keys() == {"branch_sections", "branch_reports"}
    [row] = written["branch_sections"]
    assert row["section_id"] == str(call(get_report, report_id).sections[0].id)


def test_a_branch_keeps_the_version_that_it_started_from(call: Caller) -> None:
    report_id = create_draft(call, "a")
    branch_id = create_branch(call, report_id)
    put_branch(call, branch_id, "a", "first")
    put(call, report_id, "a", "report")

    state = put_branch(call, branch_id, "a", "second")
    assert (state.version, state.base_version) == (3, 1)


def test_a_section_of_a_branch_keeps_its_place(call: Caller) -> None:
    report_id = create_draft(call, "a", "b")
    branch_id = create_branch(call, report_id)
    call(put_branch_section, branch_id, draft("a", position=9))
    put_branch(call, branch_id, "a", "new")
    put_branch(call, branch_id, "z", "new")
    put_branch(call, branch_id, "y", "new")
    put_branch(call, branch_id, "z", "newer")

    assert branch_texts(call, branch_id) == ["b: b", "z: newer", "y: new", "a: new"]
    assert section_of(call, branch_id, "a").position == 9
    call(revert_branch_section, branch_id, "a")
    put_branch(call, branch_id, "a", "again")
    assert section_of(call, branch_id, "a").position == 1


def test_a_first_put_expects_the_reports_version(call: Caller) -> None:
    report_id = create_draft(call, "a")
    put(call, report_id, "a", "second")
    branch_id = create_branch(call, report_id)
    before = contents(call)

    for slug, expected, found in [("a", 1, 2), ("a", 0, 2), ("a", 3, 2), ("z", 1, 0)]:
        with pytest.raises(StaleWrite) as raised:
            put_branch(call, branch_id, slug, "branch", expected)
        assert (raised.value.expected, raised.value.found) == (expected, found)
    assert contents(call) == before
    assert put_branch(call, branch_id, "a", "branch", 2).version == 3
    assert put_branch(call, branch_id, "z", "branch", 0).version == 1


def test_a_further_put_expects_the_branchs_version(call: Caller) -> None:
    report_id = create_draft(call, "a")
    branch_id = create_branch(call, report_id)
    put_branch(call, branch_id, "a", "first")
    put_branch(call, branch_id, "new", "first")

    for slug, expected, found in [("a", 1, 2), ("a", 0, 2), ("new", 0, 1), ("new", 2, 1)]:
        with pytest.raises(StaleWrite) as raised:
            put_branch(call, branch_id, slug, "second", expected)
        assert (raised.value.expected, raised.value.found) == (expected, found)
    assert put_branch(call, branch_id, "a", "second", 2).version == 3
    assert put_branch(call, branch_id, "new", "second", 1).version == 2


def test_a_removed_section_of_a_branch_has_version_0(call: Caller) -> None:
    branch_id = create_branch(call, create_draft(call, "a"))
    call(remove_branch_section, branch_id, "a")

    with pytest.raises(StaleWrite) as raised:
        put_branch(call, branch_id, "a", "again", 2)
    assert raised.value.found == 0
    state = put_branch(call, branch_id, "a", "again", 0)
    assert (state.version, state.base_version) == (3, 1)


def test_a_put_that_expects_a_version_may_be_repeated(call: Caller) -> None:
    report_id = create_draft(call, "a")
    branch_id = create_branch(call, report_id)
    first = put_branch(call, branch_id, "a", "branch", 1)
    before = contents(call)
    assert put_branch(call, branch_id, "a", "branch", 1) == first
    assert contents(call) == before

    # The same text in the report is no put of the branch.
    call(revert_branch_section, branch_id, "a")
    put(call, report_id, "a", "branch")
    with pytest.raises(StaleWrite):
        put_branch(call, branch_id, "a", "branch", 1)


def test_a_put_over_a_removed_section_may_be_repeated(call: Caller) -> None:
    branch_id = create_branch(call, create_draft(call, "a"))
    call(remove_branch_section, branch_id, "a")
    answer = put_branch(call, branch_id, "a", "again", 0)
    before = contents(call)

    assert put_branch(call, branch_id, "a", "again", 0) == answer
    for version in (1, 2):
        with pytest.raises(StaleWrite):
            put_branch(call, branch_id, "a", "again", version)
    assert contents(call) == before


@pytest.mark.parametrize("puts", [1, 2])
def test_a_write_after_a_revert_may_be_repeated(call: Caller, puts: int) -> None:
    branch_id = create_branch(call, create_draft(call, "a"))
    for _ in range(puts):
        put_branch(call, branch_id, "a", "given up")
    call(revert_branch_section, branch_id, "a")

    answer = put_branch(call, branch_id, "a", "again", 1)
    assert put_branch(call, branch_id, "a", "again", 1) == answer
    assert answer.version == puts + 2

    call(revert_branch_section, branch_id, "a")
    removed = call(remove_branch_section, branch_id, "a", expected_version=1)
    before = contents(call)
    assert call(remove_branch_section, branch_id, "a", expected_version=1) == removed
    with pytest.raises(NotFound):
        call(remove_branch_section, branch_id, "a", expected_version=answer.version)
    assert contents(call) == before


def test_a_version_of_a_branch_is_never_given_out_twice(call: Caller) -> None:
    branch_id = create_branch(call, create_draft(call, "a"))
    first = put_branch(call, branch_id, "a", "first")
    call(revert_branch_section, branch_id, "a")
    second = put_branch(call, branch_id, "a", "second")
    assert (first.version, second.version) == (2, 3)

    assert put_branch(call, branch_id, "new", "first").version == 1
    call(remove_branch_section, branch_id, "new")
    assert put_branch(call, branch_id, "new", "second", 0).version == 3
    call(revert_branch_section, branch_id, "a")
    assert call(remove_branch_section, branch_id, "a").version == 4


def test_a_section_that_was_forgotten_comes_last_when_it_is_put_again(call: Caller) -> None:
    branch_id = create_branch(call, create_draft(call, "a"))
    for slug in ("x", "y", "z"):
        put_branch(call, branch_id, slug, "new")
    call(remove_branch_section, branch_id, "x")
    call(revert_branch_section, branch_id, "y")
    put_branch(call, branch_id, "y", "again")
    put_branch(call, branch_id, "x", "again")

    assert branch_texts(call, branch_id) == ["a: a", "z: new", "y: again", "x: again"]


def test_a_reverted_section_starts_from_the_report_again(call: Caller) -> None:
    report_id = create_draft(call, "a", "b")
    branch_id = create_branch(call, report_id)
    for slug in ("a", "b", "new"):
        put_branch(call, branch_id, slug, "branch")
    for _ in range(4):
        put(call, report_id, "a", "report")
    put(call, report_id, "new", "report")
    call(remove_report_section, report_id, "b")
    for slug in ("a", "b", "new"):
        call(revert_branch_section, branch_id, slug)
    assert branch_texts(call, branch_id) == ["a: report", "new: report"]

    states = [put_branch(call, branch_id, slug, "branch") for slug in ("a", "b", "new")]
    assert [(state.version, state.base_version) for state in states] == [(6, 5), (3, 0), (2, 1)]
    assert call(get_branch_report, branch_id).conflicts == []


# remove_branch_section


def test_a_branch_leaves_a_section_out_and_the_report_keeps_it(call: Caller) -> None:
    report_id = create_draft(call, "a", "b")
    branch_id = create_branch(call, report_id)
    state = call(remove_branch_section, branch_id, "a", expected_version=1)

    assert (state.version, state.base_version) == (2, 1)
    assert branch_texts(call, branch_id) == ["b: b"]
    assert texts(call, report_id) == ["a: a", "b: b"]
    with pytest.raises(NotFound, match="report section a"):
        call(remove_branch_section, branch_id, "a")


def test_a_removed_text_of_a_branch_is_gone(call: Caller) -> None:
    branch_id = create_branch(call, create_draft(call, "a", "b"))
    for slug in ("a", "b", "new"):
        secret = draft(slug, "secret", heading="secret", citations=["secret"])
        call(put_branch_section, branch_id, secret)
    call(remove_branch_section, branch_id, "a")
    call(remove_branch_section, branch_id, "new")
    call(revert_branch_section, branch_id, "b")

    assert "secret" not in str(contents(call))
    assert branch_texts(call, branch_id) == ["b: b"]


def test_a_section_that_only_the_branch_had_is_forgotten(call: Caller) -> None:
    report_id = create_draft(call)
    branch_id = create_branch(call, report_id)
    put_branch(call, branch_id, "new", "branch")
    call(remove_branch_section, branch_id, "new")
    with pytest.raises(NotFound, match="report section new"):
        call(remove_branch_section, branch_id, "new")

    put(call, report_id, "new", "report")
    assert branch_texts(call, branch_id) == ["new: report"]
    assert call(get_branch_report, branch_id).conflicts == []
    call(remove_branch_section, branch_id, "new", expected_version=1)
    assert branch_texts(call, branch_id) == []


def test_what_the_report_removed_is_not_there_to_be_removed(call: Caller) -> None:
    report_id = create_draft(call, "a", "b")
    branch_id = create_branch(call, report_id)
    put_branch(call, branch_id, "b", "branch")
    call(revert_branch_section, branch_id, "b")
    for slug in ("a", "b"):
        call(remove_report_section, report_id, slug)
    before = contents(call)

    for slug in ("a", "b"):
        with pytest.raises(NotFound, match=f"report section {slug}"):
            call(remove_branch_section, branch_id, slug)
    assert contents(call) == before
    assert put_branch(call, branch_id, "a", "new", 0).base_version == 0


def test_a_removal_of_another_version_is_stale(call: Caller) -> None:
    report_id = create_draft(call, "a", "b", "c")
    branch_id = create_branch(call, report_id)
    put_branch(call, branch_id, "b", "branch")
    put_branch(call, branch_id, "c", "branch")
    call(revert_branch_section, branch_id, "c")
    before = contents(call)

    for slug, expected, found in [("a", 2, 1), ("a", 0, 1), ("b", 1, 2), ("b", 0, 2), ("c", 2, 1)]:
        with pytest.raises(StaleWrite) as raised:
            call(remove_branch_section, branch_id, slug, expected_version=expected)
        assert (raised.value.expected, raised.value.found) == (expected, found)
    assert contents(call) == before
    for slug, expected in [("a", 1), ("b", 2), ("c", 1)]:
        call(remove_branch_section, branch_id, slug, expected_version=expected)
    assert branch_texts(call, branch_id) == []


# revert_branch_section


def test_a_reverted_section_shows_the_reports_again(call: Caller) -> None:
    branch_id = create_branch(call, create_draft(call, "a", "b", "c"))
    put_branch(call, branch_id, "a", "branch")
    call(remove_branch_section, branch_id, "b")
    put_branch(call, branch_id, "new", "branch")

    for slug in ("a", "b", "new"):
        state = call(revert_branch_section, branch_id, slug)
        assert state.slug == slug
        assert call(revert_branch_section, branch_id, slug) == state
    with pytest.raises(NotFound, match="branch section c"):
        call(revert_branch_section, branch_id, "c")
    assert branch_texts(call, branch_id) == ["a: a", "b: b", "c: c"]
    assert section_of(call, branch_id, "a").base_version is None


def test_a_slug_that_cannot_be_stored_is_refused(call: Caller) -> None:
    unknown = new_child_id(new_run_id())
    for function in (remove_branch_section, revert_branch_section):
        with pytest.raises(InvalidPayload, match="slug"):
            call(function, unknown, "\0")


# Races


@pytest.mark.parametrize("version", [0, 1, 2])
def test_one_of_two_writers_of_one_version_writes(
    committed_call: Caller, connect: Connect, version: int
) -> None:
    """Version 0 is that of no section, 1 the report's, 2 the branch's own."""
    report_id = create_draft(committed_call, *["a"] * min(version, 1))
    branch_id = create_branch(committed_call, report_id)
    if version > 1:
        put_branch(committed_call, branch_id, "a", "branch")
    first, second, observer = connect(), connect(), connect()

    def put(conn: Connection[TupleRow], text: str) -> None:
        put_branch_section(conn, branch_id, draft("a", text), expected_version=version)

    with ThreadPoolExecutor() as pool:
        with first.transaction():
            put(first, "first")
            late = pool.submit(put, second, "second")
            wait_until_blocked(observer)
        with pytest.raises(StaleWrite) as raised:
            late.result()
    assert (raised.value.expected, raised.value.found) == (version, version + 1)
    assert branch_texts(committed_call, branch_id) == ["a: first"]


def test_a_writer_of_the_branch_does_not_wait_for_the_report(
    committed_call: Caller, connect: Connect
) -> None:
    """What it copies is the report of before, which a merge then finds changed."""
    report_id = create_draft(committed_call, "a")
    branch_id = create_branch(committed_call, report_id)

    with (holder := connect()).transaction():
        put_report_section(holder, report_id, draft("a", "report"))
        state = put_branch(committed_call, branch_id, "a", "branch")
    assert state.base_version == 1
    [conflict] = committed_call(get_branch_report, branch_id).conflicts
    assert (conflict.base_version, conflict.found_version) == (1, 2)
