"""The life of a run: started, alive, asked to stop, ended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

import factories
from connections import Caller, Connect, wait_until_blocked
from contents import changes, clock, contents
from races import race
from runstore import (
    InvalidTransition,
    NewChatRun,
    NewFeatureRun,
    NewRunEvent,
    NotFound,
    RunState,
    append_run_events,
    cancel_run,
    complete_feature_run,
    complete_run,
    create_feature_run,
    create_run,
    fail_feature_run,
    fail_run,
    get_run,
    get_run_head,
    heartbeat_run,
    list_stalled_runs,
    new_run_id,
    read_run_events,
    request_cancel,
    set_tenant,
    start_run,
    update_feature_run_phase,
)
from runstore._query import Query

SILENT = timedelta(minutes=5)
LAST = [NewRunEvent(type="message", payload={"text": "Goodbye."})]

ENDINGS: dict[str, tuple[Query[..., RunState], dict[str, Any]]] = {
    "completed": (complete_run, {"output": {"a": 1}}),
    "failed": (fail_run, {"error": {"e": 1}, "output": {"a": 1}}),
    "cancelled": (cancel_run, {"error": {"e": 1}}),
}
ending = pytest.mark.parametrize("status", ENDINGS)


def types(call: Caller, run_id: UUID) -> list[str]:
    return [event.type for event in call(read_run_events, run_id).events]


def last_heard(call: Caller, run_id: UUID, minutes_ago: int) -> None:
    call.execute(
        "UPDATE runstore.run_heads SET heartbeat_at = now() - make_interval(mins => %s)"
        " WHERE run_id = %s",
        (minutes_ago, run_id),
    )


def test_a_chat_run_is_pending_until_it_starts(call: Caller) -> None:
    run = call(create_run, NewChatRun(name="turn", thread_id="t", input={"q": 1}))
    assert (run.kind, run.status, run.started_at) == ("chat", "pending", None)
    assert types(call, run.id) == []

    state = call(start_run, run.id)

    assert (state.status, state.last_seq) == ("running", 1)
    assert types(call, run.id) == ["run.started"]
    assert call(get_run, run.id).started_at is not None
    with pytest.raises(InvalidTransition) as refusal:
        call(start_run, run.id)
    assert refusal.value.status == "running"


@ending
def test_the_last_events_and_the_final_status_commit_together(call: Caller, status: str) -> None:
    function, extras = ENDINGS[status]
    run = call(create_run, NewChatRun())

    state = call(function, run.id, **extras, events=LAST)

    assert (state.status, state.last_seq) == (status, 2)
    page = call(read_run_events, run.id)
    assert [event.type for event in page.events] == ["message", f"run.{status}"]
    assert page.events[0].payload == LAST[0].payload
    ended = call(get_run, run.id)
    assert ended.status == page.status == status
    assert ended.finished_at is not None
    assert {name: getattr(ended, name) for name in extras} == extras


@ending
@pytest.mark.parametrize("later", ENDINGS)
def test_an_ended_run_never_changes_again(call: Caller, status: str, later: str) -> None:
    function, extras = ENDINGS[status]
    run = call(create_run, NewChatRun())
    call(function, run.id, **extras)
    before = call(get_run, run.id), types(call, run.id)

    again, more = ENDINGS[later]
    for refused in (
        lambda: call(again, run.id, **more, events=LAST),
        lambda: call(start_run, run.id),
        lambda: call(request_cancel, run.id),
        lambda: call(heartbeat_run, run.id),
    ):
        with pytest.raises(InvalidTransition) as refusal:
            refused()
        assert refusal.value.status == status

    assert (call(get_run, run.id), types(call, run.id)) == before


@ending
def test_ending_an_unknown_run_is_not_found(call: Caller, status: str) -> None:
    function, extras = ENDINGS[status]
    with pytest.raises(NotFound):
        call(function, new_run_id(), **extras)


def test_a_feature_run_may_end_with_events_too(call: Caller) -> None:
    run = call(create_feature_run, NewFeatureRun(name="f"))
    call(complete_run, run.id, events=LAST)
    assert types(call, run.id) == ["run.started", "message", "run.completed"]


def test_a_run_is_asked_to_stop_once(call: Caller) -> None:
    run = call(create_run, NewChatRun())
    call(start_run, run.id)
    assert call(heartbeat_run, run.id).cancel_requested_at is None

    first = call(request_cancel, run.id)
    second = call(request_cancel, run.id)

    assert first == second
    assert types(call, run.id) == ["run.started", "run.cancel_requested"]
    assert call(get_run, run.id).cancel_requested_at is not None
    assert call(heartbeat_run, run.id).cancel_requested_at is not None
    with pytest.raises(NotFound):
        call(request_cancel, new_run_id())


def test_two_requests_at_once_write_one_event(connect: Connect) -> None:
    first, second, observer = connect(), connect(), connect()
    run = create_run(first, NewChatRun())
    with ThreadPoolExecutor(1) as threads:
        with first.transaction():
            request_cancel(first, run.id)
            other = threads.submit(request_cancel, second, run.id)
            wait_until_blocked(observer)
        assert other.result().last_seq == 1
    assert get_run_head(first, run.id).last_seq == 1


def test_two_starts_at_once_start_it_once(connect: Connect) -> None:
    first, second, observer = connect(), connect(), connect()
    run = create_run(first, NewChatRun())
    with ThreadPoolExecutor(1) as threads:
        with first.transaction():
            start_run(first, run.id)
            other = threads.submit(start_run, second, run.id)
            wait_until_blocked(observer)
        with pytest.raises(InvalidTransition):
            other.result()
    assert get_run_head(first, run.id).last_seq == 1


def test_who_started_a_run_may_say_so_again(call: Caller) -> None:
    run, start_id = call(create_run, NewChatRun()), uuid4()
    started = call(start_run, run.id, start_id=start_id)
    assert call(start_run, run.id, start_id=start_id) == started

    call(append_run_events, run.id, LAST, append_id=(append_id := uuid4()))
    call(complete_run, run.id)
    again = call(start_run, run.id, start_id=start_id)
    assert (again.last_seq, again.status) == (1, "completed")
    for other in (None, uuid4(), append_id):
        with pytest.raises(InvalidTransition):
            call(start_run, run.id, start_id=other)


def test_of_two_starts_at_once_the_one_with_the_same_id_is_a_repetition(connect: Connect) -> None:
    run, start_id = create_run(connect(), NewChatRun()), uuid4()
    answers: list[object] = []
    second = race(
        connect,
        lambda conn: answers.append(start_run(conn, run.id, start_id=start_id)),
        lambda conn: start_run(conn, run.id, start_id=start_id),
    )
    assert [second] == answers


def test_a_repeated_request_to_stop_names_its_own_event(call: Caller) -> None:
    run = call(create_run, NewChatRun())
    asked = call(request_cancel, run.id)
    call(append_run_events, run.id, LAST)
    assert call(request_cancel, run.id) == asked
    call(cancel_run, run.id)
    again = call(request_cancel, run.id)
    assert (again.last_seq, again.status) == (asked.last_seq, "cancelled")


@ending
def test_an_end_is_repeated_with_the_same_last_events(call: Caller, status: str) -> None:
    function, extras = ENDINGS[status]
    run = call(create_run, NewChatRun())
    call(append_run_events, run.id, LAST)
    two = [*LAST, NewRunEvent(type="message", payload={"text": "second"})]
    state = call(function, run.id, **extras, events=two)
    before = contents(call)

    assert state.last_seq == 4
    assert call(function, run.id, **extras, events=two) == state
    for others in (
        two[::-1],
        two[1:],
        [],
        [*LAST, *two],
        [*two, *LAST],
        [*LAST, *two, *LAST],
        LAST,
    ):
        with pytest.raises(InvalidTransition) as refusal:
            call(function, run.id, **extras, events=others)
        assert refusal.value.status == status
    assert contents(call) == before


@pytest.mark.parametrize("kind", ["feature", "chat"])
def test_a_run_of_either_kind_is_cancelled(call: Caller, kind: str) -> None:
    run = factories.create_run(call) if kind == "feature" else call(create_run, NewChatRun())
    state = call(cancel_run, run.id, error={"why": "asked to"})

    stored = call(get_run, run.id)
    assert (stored.kind, stored.status, stored.error) == (kind, "cancelled", {"why": "asked to"})
    assert stored.updated_at == state.updated_at


def test_a_heartbeat_changes_the_head_alone(call: Caller) -> None:
    run = factories.create_run(call)
    before, start = contents(call), clock(call)

    beat = call(heartbeat_run, run.id)
    assert start <= beat.heartbeat_at <= clock(call)
    assert (beat.run_id, beat.cancel_requested_at) == (run.id, None)
    written = changes(before, contents(call))
    assert written.keys() == {"run_heads"}
    assert [(row["run_id"], row["last_seq"]) for row in written["run_heads"]] == [(str(run.id), 1)]


def test_a_heartbeat_brings_the_request_to_stop(call: Caller) -> None:
    run = factories.create_run(call)
    call.execute("UPDATE runstore.runs SET cancel_requested_at = now() WHERE id = %s", (run.id,))
    asked = call(get_run, run.id).cancel_requested_at
    assert asked is not None
    assert call(heartbeat_run, run.id).cancel_requested_at == asked


def test_an_unknown_run_has_no_heart(call: Caller) -> None:
    id = new_run_id()
    with pytest.raises(NotFound) as raised:
        call(heartbeat_run, id)
    assert (raised.value.entity, raised.value.id) == ("run", id)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (complete_feature_run, "completed"),
        (fail_feature_run, "failed"),
        (cancel_run, "cancelled"),
    ],
)
def test_a_worker_of_an_ended_run_hears_so(
    call: Caller, end: Query[[UUID], Any], status: str
) -> None:
    run = factories.create_run(call)
    call(end, run.id)
    before = contents(call)
    with pytest.raises(InvalidTransition) as raised:
        call(heartbeat_run, run.id)
    assert raised.value.status == status
    assert contents(call) == before


def test_stalled_runs_are_the_silent_ones_longest_first(call: Caller) -> None:
    runs = [factories.create_run(call, phase="build", thread_id="thread") for _ in range(4)]
    for run, minutes in zip(runs, [6, 60, 4, 7], strict=True):
        last_heard(call, run.id, minutes)

    stalled = call(list_stalled_runs, silent_for=SILENT).items
    assert [run.id for run in stalled] == [runs[1].id, runs[3].id, runs[0].id]
    first = dict(stalled[0])
    assert first.pop("heartbeat_at") < clock(call) - timedelta(minutes=59)
    assert first == {name: getattr(runs[1], name) for name in first}
    type(stalled[0]).model_validate(dict(stalled[0]), strict=True)


def test_without_patience_every_running_run_is_stalled(committed_call: Caller) -> None:
    run = factories.create_run(committed_call)
    stalled = committed_call(list_stalled_runs, silent_for=timedelta(0)).items
    assert [row.id for row in stalled] == [run.id]


@pytest.mark.parametrize(
    ("sign_of_life", "arguments"), [(heartbeat_run, []), (update_feature_run_phase, ["next"])]
)
def test_a_sign_of_life_ends_the_silence(
    call: Caller, sign_of_life: Query[..., Any], arguments: list[str]
) -> None:
    run = factories.create_run(call)
    last_heard(call, run.id, 60)
    assert len(call(list_stalled_runs, silent_for=SILENT).items) == 1
    call(sign_of_life, run.id, *arguments)
    assert call(list_stalled_runs, silent_for=SILENT).items == []


def test_only_a_running_run_can_stall(call: Caller) -> None:
    pending = call(create_run, NewChatRun())
    ended = factories.create_run(call)
    call(complete_feature_run, ended.id)
    for run in (pending, ended):
        last_heard(call, run.id, 60)
    assert call(list_stalled_runs, silent_for=SILENT).items == []


def test_a_list_has_the_stalled_runs_of_one_tenant(call: Caller) -> None:
    mine, acme = factories.create_run(call), factories.create_run(call, tenant_id="acme")
    for run in (mine, acme):
        last_heard(call, run.id, 60)

    def stalled(**arguments: Any) -> list[UUID]:
        return [run.id for run in call(list_stalled_runs, silent_for=SILENT, **arguments).items]

    assert stalled() == [mine.id]
    assert stalled(tenant_id="acme") == [acme.id]
    call(set_tenant, "acme")
    assert stalled() == [acme.id]
