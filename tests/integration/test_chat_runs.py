"""The life of a chat run: created, started, asked to stop, ended, deleted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest

from connections import Caller, Connect, wait_until_blocked
from contents import contents
from races import race
from runstore import (
    Conflict,
    InvalidPayload,
    InvalidTransition,
    NewChatRun,
    NewFeatureRun,
    NewRunEvent,
    NotFound,
    append_run_events,
    cancel_run,
    complete_run,
    create_feature_run,
    create_run,
    delete_run,
    fail_run,
    get_run,
    get_run_head,
    heartbeat_run,
    new_run_id,
    read_run_events,
    request_cancel,
    start_run,
)
from runstore._query import Query
from runstore.runs import RunState

LAST = [NewRunEvent(type="message", payload={"text": "Goodbye."})]

ENDINGS: dict[str, tuple[Query[..., RunState], dict[str, Any]]] = {
    "completed": (complete_run, {"output": {"a": 1}}),
    "failed": (fail_run, {"error": {"e": 1}, "output": {"a": 1}}),
    "cancelled": (cancel_run, {"error": {"e": 1}}),
}
ending = pytest.mark.parametrize("status", ENDINGS)


def types(call: Caller, run_id: UUID) -> list[str]:
    return [event.type for event in call(read_run_events, run_id).events]


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


def test_a_repeated_create_answers_the_first(call: Caller) -> None:
    data = NewChatRun(thread_id="t", exclusive=True, metadata={"a": 1})

    run = call(create_run, data)

    assert call(create_run, data) == run
    call(start_run, run.id)
    assert call(create_run, data).status == "running"
    with pytest.raises(Conflict, match="metadata"):
        call(create_run, NewChatRun(id=data.id, thread_id="t", exclusive=True))
    with pytest.raises(Conflict, match="kind"):
        call(create_feature_run, NewFeatureRun(id=data.id, name="f"))


def test_an_idempotency_key_gives_the_first_creators_run(call: Caller) -> None:
    first = call(create_run, NewChatRun(idempotency_key="k", input="q"))

    assert call(create_run, NewChatRun(idempotency_key="k", input="q")) == first
    with pytest.raises(Conflict, match="input"):
        call(create_run, NewChatRun(idempotency_key="k", input="another"))
    assert call(create_run, NewChatRun(idempotency_key="k", tenant_id="b")).id != first.id


def test_two_creators_with_one_key_at_once_get_one_run(connect: Connect) -> None:
    first, second, observer = connect(), connect(), connect()
    with ThreadPoolExecutor(1) as threads:
        with first.transaction():
            run = create_run(first, NewChatRun(idempotency_key="k"))
            other = threads.submit(create_run, second, NewChatRun(idempotency_key="k"))
            wait_until_blocked(observer)
        assert other.result() == run


@ending
def test_a_thread_has_one_active_exclusive_run(call: Caller, status: str) -> None:
    function, extras = ENDINGS[status]
    run = call(create_run, NewChatRun(thread_id="t", exclusive=True))

    with pytest.raises(Conflict, match=str(run.id)):
        call(create_run, NewChatRun(thread_id="t", exclusive=True))
    call(create_run, NewChatRun(thread_id="t"))
    call(create_run, NewChatRun(thread_id="t", exclusive=True, tenant_id="another"))

    call(function, run.id, **extras)
    assert call(create_run, NewChatRun(thread_id="t", exclusive=True)).id != run.id


def test_exclusive_needs_a_thread() -> None:
    with pytest.raises(InvalidPayload, match="exclusive"):
        NewChatRun(exclusive=True)


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
    for others in (two[::-1], [*two, *LAST], [*LAST, *two, *LAST], LAST):
        with pytest.raises(InvalidTransition) as refusal:
            call(function, run.id, **extras, events=others)
        assert refusal.value.status == status
    assert contents(call) == before


@pytest.mark.owner
def test_an_active_run_is_not_deleted(call: Caller) -> None:
    run = call(create_run, NewChatRun())
    with pytest.raises(InvalidTransition):
        call(delete_run, run.id)
    call(complete_run, run.id)
    assert call(delete_run, run.id).id == run.id
    with pytest.raises(NotFound):
        call(delete_run, run.id)
    assert call.execute("SELECT count(*) FROM runstore.run_events WHERE run_id = %s", [run.id]) == [
        (0,)
    ]
