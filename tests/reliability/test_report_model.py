"""Reports and branches against a plain model: dictionaries of sections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from report_model import Branch, Own, Report, Section
from runstore import (
    InvalidTransition,
    MergeConflict,
    NewBranchReport,
    NewFeatureRun,
    NewReport,
    NewRunFork,
    NotFound,
    SectionDraft,
    StaleWrite,
    archive_report,
    create_branch_report,
    create_feature_run,
    create_report,
    discard_branch_report,
    fork_run,
    get_branch_report,
    get_published_report,
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

slugs = st.sampled_from("abc")
texts = st.sampled_from(["x", "y"])
positions = st.none() | st.integers(0, 4)
near = st.sampled_from([None, 0, 0, -1, 1])
"""How far the expected version is from the one that is there; None: none is expected."""
rarely = st.integers(0, 9).map(lambda chance: chance == 7)
writes = st.lists(st.tuples(slugs, texts, positions, near), min_size=1, max_size=4)


class ReportMachine(RuleBasedStateMachine):
    """Writes a report and branches of it; the database must say what the model says."""

    conn: psycopg.Connection[Any]

    def __init__(self) -> None:
        super().__init__()
        self.branches: list[Branch] = []
        self.puts = 0

    @initialize()
    def create(self) -> None:
        run = create_feature_run(self.conn, NewFeatureRun(name="model"))
        self.forks = [fork_run(self.conn, run.id, 1, NewRunFork()).id for _ in range(2)]
        data = NewReport(run_id=run.id, title="Model")
        create_report(self.conn, data)
        self.report = Report(data.id)

    def refused(self, status: str, allowed: set[str], send: Callable[[], object]) -> bool:
        """Say whether a status forbids a call, which then must be refused and name it."""
        if status in allowed:
            return False
        with pytest.raises(InvalidTransition) as raised:
            send()
        assert raised.value.status == status
        return True

    @rule(writes=writes)
    def put_sections(self, writes: list[tuple[str, str, int | None, int | None]]) -> None:
        for write in writes:
            self.put(*write)

    def put(self, slug: str, text: str, position: int | None, near: int | None) -> None:
        report = self.report
        found = report.version_of(slug)
        expected = None if near is None else max(0, found + near)
        data = SectionDraft(slug=slug, content=text, position=position)

        def put() -> int:
            return put_report_section(self.conn, report.id, data, expected_version=expected).version

        if self.refused(report.status, {"draft"}, put):
            return
        if expected in (None, found):
            report.write(slug, text, position)
            report.revision += 1
            assert put() == report.version_of(slug)
            return
        stored = report.sections.get(slug)
        repeated = (
            stored is not None and stored.text == text and position in (None, stored.position)
        )
        if repeated and stored is not None and expected == stored.replaced:
            assert put() == found
            return
        with pytest.raises(StaleWrite) as raised:
            put()
        assert (raised.value.expected, raised.value.found) == (expected, found)

    @precondition(lambda self: self.report.lines())
    @rule(slug=slugs, near=near)
    def remove(self, slug: str, near: int | None) -> None:
        report = self.report
        found = report.version_of(slug)
        expected = None if near is None else max(0, found + near)

        def remove() -> int:
            state = remove_report_section(self.conn, report.id, slug, expected_version=expected)
            return state.version

        if self.refused(report.status, {"draft"}, remove):
            return
        removed = report.sections.get(slug)
        if not found and removed and removed.replaced == expected:
            assert remove() == removed.version
        elif not found:
            with pytest.raises(NotFound):
                remove()
        elif expected not in (None, found):
            with pytest.raises(StaleWrite):
                remove()
        else:
            remove()
            old = report.sections[slug]
            report.sections[slug] = Section(None, old.position, old.version + 1, old.version)
            report.revision += 1

    @precondition(lambda self: self.report.lines())
    @rule(first=st.lists(slugs, unique=True, max_size=3))
    def order(self, first: list[str]) -> None:
        report = self.report

        def order() -> list[str]:
            return [s.slug for s in order_report_sections(self.conn, report.id, first)]

        if self.refused(report.status, {"draft"}, order):
            return
        there = [line[0] for line in report.lines()]
        if not set(first) <= set(there):
            with pytest.raises(NotFound):
                order()
            return
        ordered = [*first, *(slug for slug in there if slug not in first)]
        assert order() == ordered
        for position, slug in enumerate(ordered, 1):
            report.sections[slug] = replace(report.sections[slug], position=position)
        if ordered:
            report.last_position = len(ordered)
            report.revision += 1

    # What closes a report or a branch is rare, so that much is written before.
    @rule(near=near, now=rarely)
    def publish(self, near: int | None, *, now: bool) -> None:
        report = self.report
        if not now:
            return
        expected = None if near is None else report.revision + near

        def publish() -> object:
            return publish_report(self.conn, report.id, expected_revision=expected)

        if report.status == "published" and expected in (None, report.revision):
            publish()
            return
        if self.refused(report.status, {"draft"}, publish):
            return
        if expected not in (None, report.revision):
            with pytest.raises(StaleWrite):
                publish()
            return
        publish()
        report.status = "published"
        report.published[report.version] = report.lines()

    @precondition(lambda self: self.report.status != "draft")
    @rule()
    def revise(self) -> None:
        report = self.report

        def revise() -> object:
            return revise_report(self.conn, report.id)

        if not self.refused(report.status, {"published"}, revise):
            revise()
            report.status = "draft"
            report.version += 1

    @rule(now=rarely, indeed=rarely)
    def archive(self, *, now: bool, indeed: bool) -> None:
        report = self.report

        def archive() -> object:
            return archive_report(self.conn, report.id)

        if now and indeed:
            archive()
            report.status = "archived"

    @precondition(lambda self: len(self.branches) < 4)
    @rule(fork=st.integers(0, 1))
    def branch(self, fork: int) -> None:
        data = NewBranchReport(
            run_id=self.forks[fork], report_id=self.report.id, name=f"{len(self.branches)}"
        )

        def branch() -> object:
            return create_branch_report(self.conn, data)

        if not self.refused(self.report.status, {"draft", "published"}, branch):
            branch()
            self.branches.append(Branch(data.id, self.report))

    def pick(self, data: st.DataObject) -> Branch:
        return data.draw(st.sampled_from(self.branches), "branch")

    @precondition(lambda self: self.branches)
    @rule(data=st.data(), writes=writes)
    def put_branch_sections(
        self, data: st.DataObject, writes: list[tuple[str, str, int | None, int | None]]
    ) -> None:
        branch = self.pick(data)
        for write in writes:
            self.put_branch(branch, *write)

    def put_branch(
        self, branch: Branch, slug: str, text: str, position: int | None, near: int | None
    ) -> None:
        found = branch.version_of(slug)
        expected = None if near is None else max(0, found + near)
        section = SectionDraft(slug=slug, content=text, position=position)

        def put() -> int:
            return put_branch_section(
                self.conn, branch.id, section, expected_version=expected
            ).version

        if self.refused(branch.status, {"open"}, put):
            return
        own = branch.own.get(slug)
        if expected in (None, found):
            self.puts += 1
            branch.own[slug] = branch.written(slug, text, position, self.puts)
            assert put() == branch.own[slug].version
            return
        places = {line[0]: line[1] for line in branch.lines()}
        repeated = (
            own is not None
            and (own.status, own.text) == ("changed", text)
            and position in (None, places[slug])
        )
        if repeated and own is not None and expected == own.replaced:
            assert put() == found
            return
        with pytest.raises(StaleWrite) as raised:
            put()
        assert (raised.value.expected, raised.value.found) == (expected, found)

    # Two that write one section by chance are too few.
    @precondition(lambda self: self.branches)
    @rule(data=st.data(), slug=slugs, branch_first=st.booleans())
    def change_both(self, data: st.DataObject, slug: str, *, branch_first: bool) -> None:
        branch = self.pick(data)
        for on_branch in (branch_first, not branch_first):
            if on_branch:
                self.put_branch(branch, slug, "branch", None, None)
            else:
                self.put(slug, "report", None, None)

    @precondition(lambda self: self.branches)
    @rule(data=st.data(), slug=slugs, near=near)
    def remove_branch(self, data: st.DataObject, slug: str, near: int | None) -> None:
        branch = self.pick(data)
        found = branch.version_of(slug)
        expected = None if near is None else max(0, found + near)

        def remove() -> int:
            state = remove_branch_section(self.conn, branch.id, slug, expected_version=expected)
            return state.version

        if self.refused(branch.status, {"open"}, remove):
            return
        removed = branch.own.get(slug)
        if not found and removed and removed.replaced == expected:
            assert remove() == removed.version
        elif not found:
            with pytest.raises(NotFound):
                remove()
        elif expected not in (None, found):
            with pytest.raises(StaleWrite):
                remove()
        else:
            remove()
            written = branch.written(slug, "", None, self.puts)
            status: Literal["removed", "reverted"] = "removed" if written.base else "reverted"
            branch.own[slug] = Own(status, written.base, written.version, replaced=found)

    @precondition(lambda self: any(branch.own for branch in self.branches))
    @rule(data=st.data(), slug=slugs)
    def revert(self, data: st.DataObject, slug: str) -> None:
        branch = self.pick(data)

        def revert() -> object:
            return revert_branch_section(self.conn, branch.id, slug)

        if self.refused(branch.status, {"open"}, revert):
            return
        if slug not in branch.own:
            with pytest.raises(NotFound):
                revert()
            return
        revert()
        own = branch.own[slug]
        if own.status != "reverted":
            branch.own[slug] = replace(own, status="reverted", replaced=own.version)

    @precondition(lambda self: self.branches)
    @rule(data=st.data(), now=st.sampled_from([False, False, True]))
    def merge(self, data: st.DataObject, *, now: bool) -> None:
        branch, report = self.pick(data), self.report
        if not now:
            return

        def merge() -> object:
            return merge_branch_report(self.conn, branch.id)

        if branch.status == "merged":
            merge()
            return
        if self.refused(branch.status, {"open"}, merge):
            return
        if self.refused(report.status, {"draft"}, merge):
            return
        if branch.conflicts():
            with pytest.raises(MergeConflict) as raised:
                merge()
            assert list(raised.value.slugs) == branch.conflicts()
            return
        shown = [line[:3] for line in branch.lines()]
        merge()
        changed, placed = branch.shown(), {line[0]: line[1] for line in branch.lines()}
        for slug, own in changed.items():
            old = report.sections.get(slug)
            if own.status == "changed":
                report.write(slug, own.text, placed[slug])
            elif old:
                report.sections[slug] = Section(None, old.position, old.version + 1, old.version)
        report.revision += 1 if changed else 0
        branch.status = "merged"
        assert [line[:3] for line in report.lines()] == shown

    @precondition(lambda self: self.branches)
    @rule(data=st.data(), now=rarely)
    def discard(self, data: st.DataObject, *, now: bool) -> None:
        branch = self.pick(data)

        def discard() -> object:
            return discard_branch_report(self.conn, branch.id)

        if now and not self.refused(branch.status, {"open", "discarded"}, discard):
            discard()
            branch.status = "discarded"

    @invariant()
    def the_report_agrees(self) -> None:
        document = get_report(self.conn, self.report.id)
        found = document.report
        assert (found.status, found.version, found.revision) == (
            self.report.status,
            self.report.version,
            self.report.revision,
        )
        assert found.published_version == max(self.report.published, default=None)
        assert [(s.slug, s.position, s.content, s.version) for s in document.sections] == (
            self.report.lines()
        )

    @invariant()
    def the_branches_agree(self) -> None:
        for branch in self.branches:
            document = get_branch_report(self.conn, branch.id)
            assert document.branch.status == branch.status
            assert [(s.slug, s.position, s.content, s.version) for s in document.sections] == (
                branch.lines()
            )
            bases = {s.slug: s.base_version for s in document.sections}
            own = branch.shown()
            assert bases == {slug: own[slug].base if slug in own else None for slug in bases}
            assert [conflict.slug for conflict in document.conflicts] == branch.conflicts()

    @invariant()
    def what_was_published_stays(self) -> None:
        for version, lines in self.report.published.items():
            sections = get_published_report(self.conn, self.report.id, version=version).sections
            assert [(s.slug, s.position, s.content, s.section_version) for s in sections] == lines


def test_reports_and_branches_agree_with_a_plain_model(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:

        class Machine(ReportMachine):
            pass

        Machine.conn = conn
        run_state_machine_as_test(
            Machine,
            settings=settings(max_examples=100, stateful_step_count=40, deadline=None),
        )
