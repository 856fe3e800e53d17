"""Reports: drafts, published versions, revisions."""

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
    REPORT_WRITES,
    clock,
    create_draft,
    draft,
    new_report,
    put,
)
from runstore import (
    Conflict,
    InvalidPayload,
    NewChatRun,
    NotFound,
    Report,
    ReportSection,
    ReportState,
    SectionState,
    StaleWrite,
    archive_report,
    complete_run,
    create_report,
    delete_run,
    get_published_report,
    get_report,
    list_reports,
    new_child_id,
    new_run_id,
    order_report_sections,
    publish_report,
    put_report_section,
    remove_report_section,
    revise_report,
    run_of,
    update_report,
)
from runstore import create_run as create_chat_run


def report_of(call: Caller, report_id: UUID) -> Report:
    return call(get_report, report_id).report


# create_report


def test_a_report_reads_back_as_it_was_given(call: Caller) -> None:
    data = new_report(
        create_run(call).id, title=TEXT, format="asciidoc", summary=TEXT, metadata=DOCUMENT
    )
    created = call(create_report, data)
    document = call(get_report, data.id)

    Report.model_validate(dict(document.report), strict=True)
    assert dict(data).items() <= dict(document.report).items()
    assert created.created_at == document.report.created_at
    assert document.sections == []
    assert (document.report.status, document.report.version) == ("draft", 1)
    assert (document.report.revision, document.report.published_version) == (1, None)


def test_a_report_is_of_the_tenant_of_its_run(call: Caller) -> None:
    report_id = create_draft(call, "a", run_id=create_run(call, tenant_id="acme").id)

    document = call(get_report, report_id)
    assert {document.report.tenant_id, document.sections[0].tenant_id} == {"acme"}


def test_a_repeated_create_changes_nothing(call: Caller) -> None:
    data = new_report(create_run(call).id, summary="s")
    created = call(create_report, data)
    before = contents(call)

    assert call(create_report, data) == created
    assert contents(call) == before


def test_a_create_may_be_repeated_after_the_report_was_written_to(call: Caller) -> None:
    data = new_report(create_run(call).id)
    created = call(create_report, data)
    call(update_report, data.id, title="another", format="html", summary="s")

    assert call(create_report, data) == created
    assert report_of(call, data.id).title == "another"


@pytest.mark.parametrize(
    ("field", "value"),
    [("title", "another"), ("format", "html"), ("summary", "s"), ("metadata", {"a": 1})],
)
def test_another_content_is_a_conflict(call: Caller, field: str, value: object) -> None:
    data = new_report(create_run(call).id)
    call(create_report, data)

    with pytest.raises(Conflict, match=f"exists with another {field}$"):
        call(create_report, data.model_copy(update={field: value}))


def test_a_report_of_an_unknown_run_is_not_found(call: Caller) -> None:
    with pytest.raises(NotFound) as raised:
        call(create_report, new_report(new_run_id()))
    assert raised.value.entity == "run"


def test_what_a_report_cannot_hold_is_refused_with_its_field() -> None:
    run_id = new_run_id()
    values: list[dict[str, Any]] = [
        {"title": ""},
        {"title": "t" * 256},
        {"format": ""},
        {"summary": "\0"},
        {"metadata": []},
        {"id": new_child_id(new_run_id())},
    ]
    for given in values:
        with pytest.raises(InvalidPayload) as raised:
            new_report(run_id, **given)
        assert raised.value.path == next(iter(given))
    with pytest.raises(InvalidPayload, match="run_id: is not a run id"):
        new_report(new_child_id(run_id))


# get_report


def test_a_report_is_read_with_its_sections_in_their_order(call: Caller) -> None:
    report_id = create_draft(call)
    for slug, position in [("d", 7), ("b", 3), ("c", 3), ("a", None)]:
        call(put_report_section, report_id, draft(slug, position=position))

    sections = call(get_report, report_id).sections
    for section in sections:
        ReportSection.model_validate(dict(section), strict=True)
    assert [(section.slug, section.position) for section in sections] == [
        ("b", 3),
        ("c", 3),
        ("d", 7),
        ("a", 8),
    ]


def test_an_unknown_report_is_not_found(call: Caller) -> None:
    unknown = new_child_id(create_run(call).id)
    calls: list[Callable[[], object]] = [
        lambda: call(get_report, unknown),
        lambda: call(get_published_report, unknown),
        lambda: call(update_report, unknown, title="t"),
        lambda: call(publish_report, unknown),
        lambda: call(revise_report, unknown),
        lambda: call(archive_report, unknown),
        lambda: put(call, unknown, "a", "text"),
        lambda: put(call, unknown, "a", "text", 1),
        lambda: call(order_report_sections, unknown, ["a"]),
        lambda: call(remove_report_section, unknown, "a"),
    ]
    for send in calls:
        with pytest.raises(NotFound) as raised:
            send()
        assert raised.value.id == unknown


@pytest.mark.owner
def test_a_report_goes_with_its_run(call: Caller) -> None:
    report_id = create_draft(call, "a")
    call(publish_report, report_id)
    run_id = run_of(report_id)
    call(complete_run, run_id)
    call(delete_run, run_id)

    left = {
        table
        for table, rows in contents(call).items()
        if any(str(run_id) == row.get("run_id") for row in rows)
    }
    assert left == set()


# list_reports


def test_reports_are_listed_by_run_by_thread_and_by_tenant_newest_first(call: Caller) -> None:
    tenant = f"tenant-{new_run_id()}"

    def chat(thread: str, tenant_id: str = tenant) -> UUID:
        return call(create_chat_run, NewChatRun(thread_id=thread, tenant_id=tenant_id)).id

    first, second, third = chat("t1"), chat("t1"), chat("t2")
    foreign = chat("t1", f"{tenant}-other")
    a, b, c, d, e = (
        create_draft(call, run_id=run_id) for run_id in (first, second, first, third, foreign)
    )
    call(publish_report, b)

    def ids(**filters: Any) -> list[UUID]:
        return [report.id for report in call(list_reports, **filters).items]

    assert ids(run_id=first) == [c, a]
    assert ids(run_id=first, tenant_id=f"{tenant}-other") == []
    assert ids(thread_id="t1", tenant_id=tenant) == [c, b, a]
    assert ids(thread_id="t1", tenant_id=f"{tenant}-other") == [e]
    assert ids(tenant_id=tenant) == [d, c, b, a]
    assert ids(tenant_id=tenant, status="published") == [b]
    assert ids(thread_id="t1", tenant_id=tenant, run_id=second) == [b]
    assert ids(run_id=new_run_id()) == []
    # Of a run that is named, whichever its tenant is.
    assert ids(run_id=second, thread_id="t1") == [b]
    assert ids(run_id=second, thread_id="t2") == []
    assert ids(run_id=foreign, thread_id="t1", tenant_id=tenant) == []


def test_a_tenant_lists_its_own_reports(call: Caller) -> None:
    report_id = create_draft(call, run_id=create_run(call, tenant_id="acme", thread_id="t").id)

    assert call(list_reports, thread_id="t").items == []
    call.execute("SELECT set_config('runstore.tenant_id', 'acme', true)")
    assert [report.id for report in call(list_reports, thread_id="t").items] == [report_id]


@pytest.mark.owner
@pytest.mark.parametrize("page_size", [1, 2, 3, 4])
def test_pages_of_reports_visit_each_once(call: Caller, page_size: int) -> None:
    run_id = create_run(call).id
    reports = [create_draft(call, run_id=run_id) for _ in range(4)]
    # Two of one time are told apart by their ids.
    call.execute(
        "UPDATE runstore.reports SET created_at = '2020-01-01' WHERE run_id = %s", [run_id]
    )

    seen: list[UUID] = []
    cursor = None
    while True:
        page = call(list_reports, run_id=run_id, cursor=cursor, page_size=page_size)
        seen += [report.id for report in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert seen == sorted(reports, reverse=True)


# update_report


def test_an_update_changes_what_is_given(call: Caller) -> None:
    report_id = create_draft(call, title="old", summary="s")
    start = clock(call)

    state = call(update_report, report_id, title=TEXT)
    report = report_of(call, report_id)
    assert (report.title, report.format, report.summary) == (TEXT, "markdown", "s")
    assert state.revision == report.revision == 2
    assert start < state.updated_at == report.updated_at < clock(call)

    call(update_report, report_id, format="html", summary="")
    report = report_of(call, report_id)
    assert (report.title, report.format, report.summary) == (TEXT, "html", "")


def test_an_update_may_expect_a_revision(call: Caller) -> None:
    report_id = create_draft(call)
    put(call, report_id, "a", "text")
    before = contents(call)

    with pytest.raises(StaleWrite) as raised:
        call(update_report, report_id, title="t", expected_revision=1)
    assert (raised.value.expected, raised.value.found) == (1, 2)
    assert contents(call) == before
    assert call(update_report, report_id, title="t", expected_revision=2).revision == 3


def test_an_update_refuses_what_a_report_cannot_hold(call: Caller) -> None:
    report_id = create_draft(call)
    values: list[tuple[str, Any]] = [("title", ""), ("format", "f" * 256), ("summary", "\0")]
    for field, value in values:
        with pytest.raises(InvalidPayload) as raised:
            call(update_report, report_id, **{field: value})
        assert raised.value.path == field


def test_every_write_counts_as_a_revision_and_a_refused_one_does_not(call: Caller) -> None:
    report_id = create_draft(call, "a", "b")
    assert report_of(call, report_id).revision == 3

    for count, write in enumerate(REPORT_WRITES[:1] + REPORT_WRITES[2:] + REPORT_WRITES[1:2], 4):
        write(call, report_id)
        assert report_of(call, report_id).revision == count

    before = contents(call)
    with pytest.raises(StaleWrite):
        put(call, report_id, "b", "text", 9)
    with pytest.raises(StaleWrite):
        call(remove_report_section, report_id, "b", expected_version=9)
    with pytest.raises(NotFound):
        call(order_report_sections, report_id, ["b", "z"])
    assert contents(call) == before


def test_states_are_what_is_stored(call: Caller) -> None:
    report_id = create_draft(call, "a", "b")
    section: SectionState = put(call, report_id, "a", "new")
    state: ReportState = call(publish_report, report_id)

    document = call(get_report, report_id)
    assert dict(state).items() <= dict(document.report).items()
    assert dict(section).items() <= dict(document.sections[0]).items()
