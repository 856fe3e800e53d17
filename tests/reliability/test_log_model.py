"""The log and its forks against a plain model: lists of event types."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from runstore import (
    InvalidPayload,
    InvalidTransition,
    NewChatRun,
    NewRunEvent,
    NewRunFork,
    StaleWrite,
    append_run_events,
    cancel_run,
    complete_run,
    create_run,
    fail_run,
    fork_run,
    new_child_id,
    read_run_events,
    request_cancel,
    start_run,
)

FINAL = {"completed", "failed", "cancelled"}


@dataclass(frozen=True)
class Model:
    """What a run should be: its status, its whole log, its earlier appends, and its end."""

    id: UUID
    status: str = "pending"
    asked_to_stop: bool = False
    log: tuple[str, ...] = ()
    end: tuple[str, ...] = ()
    appends: dict[UUID, tuple[int, tuple[str, ...]]] = field(
        default_factory=dict[UUID, tuple[int, tuple[str, ...]]]
    )


def events(types: tuple[str, ...]) -> list[NewRunEvent]:
    return [NewRunEvent(type=type) for type in types]


types = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map(tuple)


class LogMachine(RuleBasedStateMachine):
    """Creates, appends, ends, forks and reads; the database must say what the model says."""

    conn: psycopg.Connection[Any]

    def __init__(self) -> None:
        super().__init__()
        self.runs: dict[UUID, Model] = {}

    def pick(self, data: st.DataObject) -> Model:
        return self.runs[data.draw(st.sampled_from(sorted(self.runs)), "run")]

    def put(self, model: Model) -> None:
        self.runs[model.id] = model

    @precondition(lambda self: len(self.runs) < 4)
    @rule()
    def create(self) -> None:
        self.put(Model(create_run(self.conn, NewChatRun()).id))

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), types=types, expect=st.sampled_from([None, 0, 1]), keyed=st.booleans())
    def append(
        self, data: st.DataObject, types: tuple[str, ...], expect: int | None, *, keyed: bool
    ) -> None:
        run = self.pick(data)
        length = len(run.log)
        expected_seq = None if expect is None else length + expect
        append_id = new_child_id(run.id) if keyed else None

        def append() -> int:
            return append_run_events(
                self.conn, run.id, events(types), expected_seq=expected_seq, append_id=append_id
            )

        if run.status in FINAL:
            with pytest.raises(InvalidTransition):
                append()
        elif expected_seq not in (None, length):
            with pytest.raises(StaleWrite) as refusal:
                append()
            assert refusal.value.found == length
        else:
            last = append()
            assert last == length + len(types)
            appends = run.appends if append_id is None else run.appends | {append_id: (last, types)}
            self.put(replace(run, log=run.log + types, appends=appends))

    @precondition(lambda self: any(run.appends for run in self.runs.values()))
    @rule(data=st.data())
    def repeat_append(self, data: st.DataObject) -> None:
        candidates = [
            (run.id, append_id, *done)
            for run in self.runs.values()
            for append_id, done in run.appends.items()
        ]
        run_id, append_id, last, types = data.draw(st.sampled_from(candidates))
        again = append_run_events(self.conn, run_id, events(types), append_id=append_id)
        assert again == last

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def start(self, data: st.DataObject) -> None:
        run = self.pick(data)
        if run.status == "pending":
            start_run(self.conn, run.id)
            self.put(replace(run, status="running", log=(*run.log, "run.started")))
        else:
            with pytest.raises(InvalidTransition):
                start_run(self.conn, run.id)

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def ask_to_stop(self, data: st.DataObject) -> None:
        run = self.pick(data)
        if run.status in FINAL and not run.asked_to_stop:
            with pytest.raises(InvalidTransition):
                request_cancel(self.conn, run.id)
            return
        request_cancel(self.conn, run.id)
        if not run.asked_to_stop:
            log = (*run.log, "run.cancel_requested")
            self.put(replace(run, asked_to_stop=True, log=log))

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), status=st.sampled_from(sorted(FINAL)), last=st.booleans())
    def end(self, data: st.DataObject, status: str, *, last: bool) -> None:
        run = self.pick(data)
        types = ("last",) if last else ()

        def end() -> int:
            if status == "completed":
                return complete_run(self.conn, run.id, events=events(types)).last_seq
            if status == "failed":
                return fail_run(self.conn, run.id, error="e", events=events(types)).last_seq
            return cancel_run(self.conn, run.id, events=events(types)).last_seq

        written = (*types, f"run.{status}")
        if run.end == written:
            assert end() == len(run.log)
        elif run.status in FINAL:
            with pytest.raises(InvalidTransition) as refusal:
                end()
            assert refusal.value.status == run.status
        else:
            log = run.log + written
            assert end() == len(log)
            self.put(replace(run, status=status, log=log, end=written))

    @precondition(lambda self: 0 < len(self.runs) < 9)
    @rule(data=st.data())
    def fork(self, data: st.DataObject) -> None:
        run = self.pick(data)
        at_seq = data.draw(st.integers(0, len(run.log) + 1), "at_seq")
        if at_seq > len(run.log):
            with pytest.raises(InvalidPayload):
                fork_run(self.conn, run.id, at_seq, NewRunFork())
        else:
            fork = fork_run(self.conn, run.id, at_seq, NewRunFork())
            self.put(Model(fork.id, log=run.log[:at_seq]))

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), page_size=st.integers(1, 5))
    def read(self, data: st.DataObject, page_size: int) -> None:
        run = self.pick(data)
        after = data.draw(st.integers(0, len(run.log)), "after")
        page = read_run_events(self.conn, run.id, after=after, page_size=page_size)
        expected = run.log[after : after + page_size]
        assert [(event.seq, event.type) for event in page.events] == list(
            enumerate(expected, after + 1)
        )

    # A wrong segment shows only in the fork that reads it, so all of them are read every time.
    @invariant()
    def all_logs_agree(self) -> None:
        for run in self.runs.values():
            page = read_run_events(self.conn, run.id)
            assert (page.status, page.last_seq) == (run.status, len(run.log))
            assert [event.type for event in page.events] == list(run.log)


def test_the_log_agrees_with_a_plain_model(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:

        class Machine(LogMachine):
            pass

        Machine.conn = conn
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=60,
                stateful_step_count=40,
                deadline=None,
            ),
        )
