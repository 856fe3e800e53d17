"""Report versions: published, kept as they were, revised."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest

from connections import BlockingCaller, Caller, Connect, wait_until_blocked
from contents import contents
from creates import DOCUMENT, TEXT
from report_factories import (
    REPORT_WRITES,
    clock,
    create_draft,
    draft,
    put,
    texts,
)
from runstore import (
    InvalidPayload,
    InvalidTransition,
    NotFound,
    Report,
    StaleWrite,
    archive_report,
    get_published_report,
    get_report,
    list_report_versions,
    order_report_sections,
    publish_report,
    put_report_section,
    remove_report_section,
    revise_report,
    update_report,
)


def report_of(call: Caller, report_id: UUID) -> Report:
    return call(get_report, report_id).report


# publish_report, revise_report, archive_report


def test_a_published_version_is_kept_as_it_was(call: Caller) -> None:
    report_id = create_draft(call, title="First", summary="s", metadata=DOCUMENT)
    call(
        put_report_section,
        report_id,
        draft("a", TEXT, heading="A", citations=[DOCUMENT], metadata=DOCUMENT),
    )
    put(call, report_id, "gone", "text")
    call(remove_report_section, report_id, "gone")
    start = clock(call)

    state = call(publish_report, report_id)
    published = call(get_published_report, report_id)
    report = report_of(call, report_id)

    assert (state.status, state.version) == ("published", 1)
    assert start < state.updated_at < clock(call)
    assert (report.published_version, report.published_at) == (1, published.report.published_at)
    assert (published.report.version, published.report.title) == (1, "First")
    assert (published.report.summary, published.report.metadata) == ("s", DOCUMENT)
    [section] = published.sections
    assert (section.slug, section.heading, section.content) == ("a", "A", TEXT)
    assert (section.citations, section.metadata) == ([DOCUMENT], DOCUMENT)
    assert (section.position, section.section_version) == (1, 1)
    type(published).model_validate(published.model_dump(), strict=True)

    call(revise_report, report_id)
    call(update_report, report_id, title="Second", summary="t", format="html")
    put(call, report_id, "a", "new")
    put(call, report_id, "b", "new")
    call(order_report_sections, report_id, ["b"])
    assert call(get_published_report, report_id) == published
    call(publish_report, report_id)
    assert call(get_published_report, report_id, version=1) == published

    second = call(get_published_report, report_id)
    assert second == call(get_published_report, report_id, version=2)
    assert (second.report.version, second.report.title) == (2, "Second")
    assert [(section.slug, section.section_version) for section in second.sections] == [
        ("b", 1),
        ("a", 2),
    ]
    call(archive_report, report_id)
    assert call(get_published_report, report_id, version=1) == published
    assert call(get_published_report, report_id) == second


@pytest.mark.parametrize("write", REPORT_WRITES, ids=["put", "remove", "order", "update"])
@pytest.mark.parametrize("status", ["published", "archived"])
def test_a_report_that_is_no_draft_is_not_written_to(
    call: Caller, write: Callable[[Caller, UUID], object], status: str
) -> None:
    report_id = create_draft(call, "a")
    call(publish_report if status == "published" else archive_report, report_id)
    before = contents(call)

    with pytest.raises(InvalidTransition) as raised:
        write(call, report_id)
    assert (raised.value.entity, raised.value.id, raised.value.status) == (
        "report",
        report_id,
        status,
    )
    assert contents(call) == before


@pytest.mark.parametrize("write", REPORT_WRITES, ids=["put", "remove", "order", "update"])
def test_a_revised_report_is_written_to_again(
    call: Caller, write: Callable[[Caller, UUID], object]
) -> None:
    report_id = create_draft(call, "a")
    call(publish_report, report_id)
    revision = report_of(call, report_id).revision

    state = call(revise_report, report_id)
    assert (state.status, state.version, state.revision) == ("draft", 2, revision)
    assert texts(call, report_id) == ["a: a"]
    write(call, report_id)
    assert report_of(call, report_id).revision == revision + 1


@pytest.mark.parametrize(
    ("steps", "refused"),
    [
        ([], revise_report),
        ([archive_report], publish_report),
        ([archive_report], revise_report),
        ([publish_report, archive_report], revise_report),
    ],
)
def test_a_status_that_does_not_allow_the_change_is_named(
    call: Caller, steps: list[Any], refused: Any
) -> None:
    report_id = create_draft(call)
    status = "draft"
    for step in steps:
        status = call(step, report_id).status
    before = contents(call)

    with pytest.raises(InvalidTransition) as raised:
        call(refused, report_id)
    assert raised.value.status == status
    assert contents(call) == before


@pytest.mark.parametrize(
    ("steps", "repeated"),
    [
        ([], publish_report),
        ([], archive_report),
        ([publish_report], revise_report),
        ([publish_report], archive_report),
    ],
)
def test_a_repeated_change_of_status_answers_as_it_did(
    call: Caller, steps: list[Any], repeated: Any
) -> None:
    report_id = create_draft(call, "a")
    for step in steps:
        call(step, report_id)
    state = call(repeated, report_id)
    before = contents(call)

    assert call(repeated, report_id) == state
    assert contents(call) == before


def test_what_is_published_is_what_was_reviewed(call: Caller) -> None:
    report_id = create_draft(call, "a")
    reviewed = report_of(call, report_id).revision
    put(call, report_id, "a", "written since")

    with pytest.raises(StaleWrite) as raised:
        call(publish_report, report_id, expected_revision=reviewed)
    assert (raised.value.expected, raised.value.found) == (reviewed, reviewed + 1)
    state = call(publish_report, report_id, expected_revision=reviewed + 1)
    assert state.status == "published"
    assert call(publish_report, report_id, expected_revision=reviewed + 1) == state
    with pytest.raises(InvalidTransition):
        call(publish_report, report_id, expected_revision=reviewed)


def test_an_archived_draft_was_never_published(call: Caller) -> None:
    report_id = create_draft(call, "a")
    state = call(archive_report, report_id)
    report = report_of(call, report_id)

    assert report.archived_at is not None
    assert (state.status, report.published_version) == ("archived", None)
    with pytest.raises(NotFound, match="published report"):
        call(get_published_report, report_id)


def test_versions_are_listed_newest_first(call: Caller) -> None:
    report_id = create_draft(call, "a")
    assert call(list_report_versions, report_id).items == []
    for version in (1, 2, 3):
        call(update_report, report_id, title=f"edition {version}")
        call(publish_report, report_id)
        call(revise_report, report_id)

    page = call(list_report_versions, report_id, page_size=2)
    rest = call(list_report_versions, report_id, page_size=2, cursor=page.next_cursor)
    assert [(row.version, row.title) for row in [*page.items, *rest.items]] == [
        (3, "edition 3"),
        (2, "edition 2"),
        (1, "edition 1"),
    ]
    assert page.items[0] == call(get_published_report, report_id, version=3).report
    assert rest.next_cursor is None
    with pytest.raises(NotFound, match="version 4 of report"):
        call(get_published_report, report_id, version=4)


# Races


def test_publishing_waits_for_a_writer_and_takes_its_text(
    committed_call: Caller, connect: Connect
) -> None:
    """The section is committed after the publisher's first statement had begun."""
    report_id = create_draft(committed_call, "a")
    writer, publisher, observer = connect(), connect(), connect()

    with ThreadPoolExecutor() as pool:
        with writer.transaction():
            put_report_section(writer, report_id, draft("a", "late"))
            put_report_section(writer, report_id, draft("b", "late"))
            published = pool.submit(publish_report, publisher, report_id)
            wait_until_blocked(observer)
        assert published.result().status == "published"

    sections = committed_call(get_published_report, report_id).sections
    assert {section.slug: section.content for section in sections} == {"a": "late", "b": "late"}


@pytest.mark.parametrize("write", REPORT_WRITES, ids=["put", "remove", "order", "update"])
def test_a_writer_that_waits_for_a_publisher_is_refused(
    committed_call: Caller, connect: Connect, write: Callable[[Caller, UUID], object]
) -> None:
    report_id = create_draft(committed_call, "a")
    publisher, observer = connect(), connect()
    writer = BlockingCaller(connect(), in_transaction=False)

    with ThreadPoolExecutor() as pool:
        with publisher.transaction():
            publish_report(publisher, report_id)
            written = pool.submit(write, writer, report_id)
            wait_until_blocked(observer)
        with pytest.raises(InvalidTransition) as raised:
            written.result()
    assert raised.value.status == "published"
    assert texts(committed_call, report_id) == ["a: a"]


def test_one_of_two_publishers_publishes(committed_call: Caller, connect: Connect) -> None:
    report_id = create_draft(committed_call, "a")
    first, second, observer = connect(), connect(), connect()

    with ThreadPoolExecutor() as pool:
        with first.transaction():
            publish_report(first, report_id)
            again = pool.submit(publish_report, second, report_id)
            wait_until_blocked(observer)
        assert again.result().status == "published"
    assert len(committed_call(list_report_versions, report_id).items) == 1


def test_a_caller_with_one_snapshot_publishes_no_other_text(
    committed_call: Caller, connect: Connect
) -> None:
    """Where a statement cannot see what was written since, it fails."""
    report_id = create_draft(committed_call, "a")
    publisher = connect()
    publisher.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ

    with publisher.transaction():
        get_report(publisher, report_id)
        put(committed_call, report_id, "a", "late")
        with pytest.raises(psycopg.errors.SerializationFailure), publisher.transaction():
            publish_report(publisher, report_id)
    assert committed_call(get_report, report_id).report.status == "draft"


@pytest.mark.owner
def test_a_failed_publication_leaves_nothing(committed_call: Caller) -> None:
    report_id = create_draft(committed_call, "a")
    committed_call.execute("ALTER TABLE runstore.report_version_sections ADD CHECK (slug <> 'a')")
    before = contents(committed_call)

    with pytest.raises(InvalidPayload):
        committed_call(publish_report, report_id)
    assert contents(committed_call) == before
