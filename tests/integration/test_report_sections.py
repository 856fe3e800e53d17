"""Report sections: put by slug, ordered, removed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from connections import Caller, Connect, wait_until_blocked
from contents import contents
from creates import DOCUMENT, TEXT
from report_factories import create_branch, create_draft, draft, put, put_branch, texts
from runstore import (
    Conflict,
    InvalidPayload,
    NotFound,
    ReportSection,
    SectionDraft,
    StaleWrite,
    get_report,
    list_report_sections,
    merge_branch_report,
    new_child_id,
    new_run_id,
    order_report_sections,
    put_report_section,
    remove_branch_section,
    remove_report_section,
    run_of,
)


def section_of(call: Caller, report_id: UUID, slug: str) -> ReportSection:
    sections = call(get_report, report_id).sections
    return next(section for section in sections if section.slug == slug)


# put_report_section


def test_a_section_reads_back_as_it_was_put(call: Caller) -> None:
    report_id = create_draft(call)
    data = SectionDraft(
        slug=TEXT,
        heading=TEXT,
        content=TEXT * 10_000,
        citations=[DOCUMENT, "a", None],
        position=0,
        metadata={"document": DOCUMENT},
    )
    state = call(put_report_section, report_id, data)
    section = section_of(call, report_id, TEXT)

    assert dict(data).items() <= dict(section).items()
    assert dict(state).items() <= dict(section).items()
    assert section.version == 1
    assert run_of(section.id) == section.run_id == run_of(report_id)
    assert section.report_id == report_id


def test_a_put_replaces_all_that_a_section_says(call: Caller) -> None:
    report_id = create_draft(call)
    full = draft("a", heading="A", citations=[1], position=5, metadata={"m": 1})
    first = call(put_report_section, report_id, full)
    created_at = section_of(call, report_id, "a").created_at
    second = put(call, report_id, "a", "new")

    section = section_of(call, report_id, "a")
    assert (section.heading, section.content, section.citations) == (None, "new", [])
    assert (section.metadata, section.position, section.version) == ({}, 5, 2)
    assert (second.id, second.version) == (first.id, 2)
    assert section.created_at == created_at
    assert first.updated_at < second.updated_at == section.updated_at


def test_a_new_section_comes_last_and_a_known_one_stays(call: Caller) -> None:
    report_id = create_draft(call, "a", "b", "c")
    put(call, report_id, "a", "new")
    assert texts(call, report_id) == ["a: new", "b: b", "c: c"]

    call(put_report_section, report_id, draft("b", position=9))
    put(call, report_id, "d", "d")
    assert texts(call, report_id) == ["a: new", "c: c", "b: text", "d: d"]
    assert section_of(call, report_id, "d").position == 10


def test_reports_have_sections_of_one_slug(call: Caller) -> None:
    first = create_draft(call, "a")
    second = create_draft(call, "a", run_id=run_of(first))
    put(call, first, "a", "of the first")

    assert texts(call, first) == ["a: of the first"]
    assert texts(call, second) == ["a: a"]


@pytest.mark.parametrize(("expected", "found"), [(0, 2), (1, 2), (3, 2)])
def test_a_put_of_another_version_is_stale(call: Caller, expected: int, found: int) -> None:
    report_id = create_draft(call, "a")
    put(call, report_id, "a", "second", 1)
    before = contents(call)

    with pytest.raises(StaleWrite) as raised:
        put(call, report_id, "a", "third", expected)
    assert (raised.value.expected, raised.value.found) == (expected, found)
    assert str(raised.value) == f"version of section a is 2, not {expected} as expected"
    assert contents(call) == before
    assert put(call, report_id, "a", "third", 2).version == 3


def test_a_section_that_is_not_there_has_version_0(call: Caller) -> None:
    report_id = create_draft(call)
    before = contents(call)

    with pytest.raises(StaleWrite) as raised:
        put(call, report_id, "a", "text", 1)
    assert (raised.value.expected, raised.value.found) == (1, 0)
    assert contents(call) == before
    assert put(call, report_id, "a", "text", 0).version == 1


def test_a_put_that_expects_a_version_may_be_repeated(call: Caller) -> None:
    report_id = create_draft(call, "a", "b")
    data = draft("a", "new", heading="A", citations=[{"url": "x"}], metadata={"m": [1]})
    new = draft("c", position=0)
    states = [
        call(put_report_section, report_id, data, expected_version=1),
        call(put_report_section, report_id, new, expected_version=0),
    ]
    before = contents(call)

    assert states == [
        call(put_report_section, report_id, data, expected_version=1),
        call(put_report_section, report_id, new, expected_version=0),
    ]
    assert contents(call) == before


@pytest.mark.parametrize(
    "other",
    [
        {"content": "another"},
        {"heading": None},
        {"citations": []},
        {"metadata": {}},
        {"position": 7},
    ],
)
def test_another_text_is_no_repetition(call: Caller, other: dict[str, Any]) -> None:
    report_id = create_draft(call)
    said: dict[str, Any] = {
        "slug": "a",
        "heading": "A",
        "content": "text",
        "citations": [1],
        "position": 3,
        "metadata": {"m": 1},
    }
    call(put_report_section, report_id, SectionDraft(**said), expected_version=0)

    with pytest.raises(StaleWrite):
        call(
            put_report_section,
            report_id,
            SectionDraft(**{**said, **other}),
            expected_version=0,
        )


def test_a_version_is_never_given_out_twice(call: Caller) -> None:
    """Who holds version 1 must not overwrite a section that was removed and made again."""
    report_id = create_draft(call, "a")
    assert call(remove_report_section, report_id, "a").version == 2
    assert put(call, report_id, "a", "again", 0).version == 3

    with pytest.raises(StaleWrite):
        put(call, report_id, "a", "of long ago", 1)


def test_a_put_over_a_removed_section_may_be_repeated(call: Caller) -> None:
    report_id = create_draft(call, "a")
    call(remove_report_section, report_id, "a")
    answer = put(call, report_id, "a", "again", 0)
    before = contents(call)

    assert put(call, report_id, "a", "again", 0) == answer
    for version in (1, 2):
        with pytest.raises(StaleWrite):
            put(call, report_id, "a", "again", version)
    assert contents(call) == before

    call(remove_report_section, report_id, "a", expected_version=answer.version)
    with pytest.raises(NotFound):
        call(remove_report_section, report_id, "a", expected_version=0)
    assert put(call, report_id, "a", "again", 0).version == 5


def test_a_put_over_a_section_that_a_merge_changed_may_be_repeated(call: Caller) -> None:
    report_id = create_draft(call, "a", "b")
    branch_id = create_branch(call, report_id)
    put_branch(call, branch_id, "a", "merged")
    call(remove_branch_section, branch_id, "b")
    call(merge_branch_report, branch_id)
    before = contents(call)
    # What the merge wrote is as good as what a put or a removal would have.
    assert put(call, report_id, "a", "merged", 1).version == 2
    assert call(remove_report_section, report_id, "b", expected_version=1).version == 2
    assert contents(call) == before

    answer = put(call, report_id, "b", "again", 0)
    assert put(call, report_id, "b", "again", 0) == answer


def test_a_section_that_was_removed_comes_last_when_it_is_put_again(call: Caller) -> None:
    report_id = create_draft(call, "a", "b")
    call(remove_report_section, report_id, "a")
    put(call, report_id, "a", "again")

    assert texts(call, report_id) == ["b: b", "a: again"]


def test_what_a_section_cannot_hold_is_refused_with_its_field(call: Caller) -> None:
    values: list[tuple[str, Any]] = [
        ("slug", ""),
        ("slug", "s" * 256),
        ("heading", ""),
        ("content", "\0"),
        ("content", None),
        ("citations", {}),
        ("citations", [float("nan")]),
        ("position", -1),
        ("position", 1 << 30),
        ("metadata", []),
    ]
    for field, value in values:
        given: dict[str, Any] = {"slug": "a", "content": "text", field: value}
        with pytest.raises(InvalidPayload) as raised:
            SectionDraft(**given)
        assert raised.value.path.partition("[")[0] == field
    stranger: Any = {"slug": "a"}
    with pytest.raises(InvalidPayload, match="must be a SectionDraft"):
        call(put_report_section, new_child_id(new_run_id()), stranger)
    with pytest.raises(InvalidPayload, match="slug"):
        call(remove_report_section, new_child_id(new_run_id()), "\0")
    with pytest.raises(InvalidPayload, match=r"slugs\[1\]"):
        call(order_report_sections, new_child_id(new_run_id()), ["a", "\0"])


def test_a_reason_that_is_gone_by_the_time_it_is_sought_is_a_conflict(call: Caller) -> None:
    """A put met a published report, which was revised before the put asked why."""
    report_id = create_draft(call, "a")
    statement = put_report_section.bind(report_id, draft("a"))
    assert statement.absent is not None
    why = statement.absent()

    next(why)
    with pytest.raises(Conflict, match="repeat the write"):
        why.send(call(get_report, report_id))


# list_report_sections


@pytest.mark.parametrize("page_size", [1, 2, 3, 5])
def test_pages_of_sections_visit_each_once_in_order(call: Caller, page_size: int) -> None:
    report_id = create_draft(call)
    for slug, position in [("d", 0), ("c", 4), ("b", 4), ("a", 4), ("e", 2)]:
        call(put_report_section, report_id, draft(slug, position=position))
    put(call, report_id, "gone", "text")
    call(remove_report_section, report_id, "gone")

    seen: list[ReportSection] = []
    cursor = None
    while True:
        page = call(list_report_sections, report_id, cursor=cursor, page_size=page_size)
        seen += page.items
        if (cursor := page.next_cursor) is None:
            break
    assert [section.slug for section in seen] == ["d", "e", "a", "b", "c"]
    assert seen == call(get_report, report_id).sections


# order_report_sections


@pytest.mark.parametrize(
    ("slugs", "order"),
    [
        (["c", "a", "b"], ["c", "a", "b"]),
        (["c"], ["c", "a", "b"]),
        (["b", "a"], ["b", "a", "c"]),
        ([], ["a", "b", "c"]),
    ],
)
def test_named_sections_come_first_and_the_others_stay_in_their_order(
    call: Caller, slugs: list[str], order: list[str]
) -> None:
    report_id = create_draft(call, "a", "b", "c", "gone")
    call(remove_report_section, report_id, "gone")
    call(put_report_section, report_id, draft("c", position=90))
    versions = {s.slug: s.version for s in call(get_report, report_id).sections}

    states = call(order_report_sections, report_id, slugs)
    assert [(state.slug, state.position) for state in states] == [
        (slug, position) for position, slug in enumerate(order, 1)
    ]
    sections = call(get_report, report_id).sections
    assert [section.slug for section in sections] == order
    assert {section.slug: section.version for section in sections} == versions
    assert put(call, report_id, "d", "d").position == 4


def test_an_order_names_sections_that_are_there_and_each_once(call: Caller) -> None:
    report_id = create_draft(call, "a", "b")
    call(remove_report_section, report_id, "b")
    before = contents(call)

    with pytest.raises(NotFound, match="report section b"):
        call(order_report_sections, report_id, ["b", "a"])
    with pytest.raises(InvalidPayload, match="slugs: holds a slug twice"):
        call(order_report_sections, report_id, ["a", "a"])
    assert contents(call) == before


def test_a_report_without_sections_has_no_order(call: Caller) -> None:
    report_id = create_draft(call)

    assert call(order_report_sections, report_id, []) == []
    with pytest.raises(NotFound, match="report section a"):
        call(order_report_sections, report_id, ["a"])


# remove_report_section


def test_a_removed_section_is_gone_with_its_text(call: Caller) -> None:
    report_id = create_draft(call, "b")
    secret = draft("a", "secret", heading="secret", citations=["secret"], metadata={"secret": 1})
    call(put_report_section, report_id, secret)
    call(remove_report_section, report_id, "a", expected_version=1)

    assert texts(call, report_id) == ["b: b"]
    assert "secret" not in str(contents(call))
    with pytest.raises(NotFound, match="report section a"):
        call(remove_report_section, report_id, "a")
    with pytest.raises(NotFound, match="report section z"):
        call(remove_report_section, report_id, "z", expected_version=1)


def test_a_removal_of_another_version_is_stale(call: Caller) -> None:
    report_id = create_draft(call, "a")
    put(call, report_id, "a", "new")

    with pytest.raises(StaleWrite) as raised:
        call(remove_report_section, report_id, "a", expected_version=1)
    assert (raised.value.expected, raised.value.found) == (1, 2)
    assert texts(call, report_id) == ["a: new"]


# Races


@pytest.mark.parametrize("version", [0, 1])
def test_one_of_two_writers_of_one_version_writes(
    committed_call: Caller, connect: Connect, version: int
) -> None:
    report_id = create_draft(committed_call, *["a"] * version)
    first, second, observer = connect(), connect(), connect()

    with ThreadPoolExecutor() as pool:
        with first.transaction():
            put_report_section(first, report_id, draft("a", "first"), expected_version=version)
            late = pool.submit(
                put_report_section,
                second,
                report_id,
                draft("a", "second"),
                expected_version=version,
            )
            wait_until_blocked(observer)
        with pytest.raises(StaleWrite) as raised:
            late.result()
    assert (raised.value.expected, raised.value.found) == (version, version + 1)
    assert texts(committed_call, report_id) == ["a: first"]


def test_a_writer_whose_rival_gives_up_writes(committed_call: Caller, connect: Connect) -> None:
    report_id = create_draft(committed_call, "a")
    first, second, observer = connect(), connect(), connect()

    with ThreadPoolExecutor() as pool:
        with first.transaction(force_rollback=True):
            put_report_section(first, report_id, draft("a", "first"), expected_version=1)
            late = pool.submit(
                put_report_section, second, report_id, draft("a", "second"), expected_version=1
            )
            wait_until_blocked(observer)
        assert late.result().version == 2
    assert texts(committed_call, report_id) == ["a: second"]


def test_a_put_that_waits_for_a_removal_is_stale(committed_call: Caller, connect: Connect) -> None:
    report_id = create_draft(committed_call, "a")
    first, second, observer = connect(), connect(), connect()

    with ThreadPoolExecutor() as pool:
        with first.transaction():
            remove_report_section(first, report_id, "a")
            late = pool.submit(
                put_report_section, second, report_id, draft("a", "second"), expected_version=1
            )
            wait_until_blocked(observer)
        with pytest.raises(StaleWrite) as raised:
            late.result()
    assert raised.value.found == 0
    assert texts(committed_call, report_id) == []


def test_sections_that_are_made_at_once_get_places_of_their_own(
    committed_call: Caller, connect: Connect
) -> None:
    report_id = create_draft(committed_call)
    observer = connect()
    slugs = "abcdef"

    with ThreadPoolExecutor(len(slugs)) as pool:
        with (holder := connect()).transaction():
            put_report_section(holder, report_id, draft("first"))
            late = [
                pool.submit(put_report_section, connect(), report_id, draft(slug)) for slug in slugs
            ]
            wait_until_blocked(observer, len(slugs))
        positions = sorted(future.result().position for future in late)
    assert positions == [2, 3, 4, 5, 6, 7]
    assert committed_call(get_report, report_id).report.revision == 8


def test_an_order_that_waits_for_a_writer_counts_its_section(
    committed_call: Caller, connect: Connect
) -> None:
    report_id = create_draft(committed_call, "a", "b")
    writer, mover, observer = connect(), connect(), connect()

    with ThreadPoolExecutor() as pool:
        with writer.transaction():
            put_report_section(writer, report_id, draft("c"))
            moved = pool.submit(order_report_sections, mover, report_id, ["c", "b"])
            wait_until_blocked(observer)
        assert [state.slug for state in moved.result()] == ["c", "b", "a"]
