from typing import Any
from uuid import UUID

import pytest

import runstore
from connections import Caller
from contents import contents
from factories import create_invocation, create_run, new_feature_run, new_tool_call
from runstore import (
    Conflict,
    InvalidPayload,
    InvalidTransition,
    NewChatRun,
    NewRunEvent,
    NotFound,
    advance_feature_run,
    append_run_events,
    cancel_run,
    complete_feature_run,
    create_feature_run,
    create_tool_call,
    fail_feature_run,
    get_run,
    list_tool_calls,
    new_child_id,
    update_feature_run_phase,
)
from runstore._query import Query

ENDS = pytest.mark.parametrize(
    ("end", "event"),
    [
        (complete_feature_run, "run.completed"),
        (fail_feature_run, "run.failed"),
        (cancel_run, "run.cancelled"),
    ],
)


def log(call: Caller, run_id: UUID) -> list[tuple[Any, ...]]:
    return call.execute(
        "SELECT seq, type, payload FROM runstore.run_events WHERE run_id = %s ORDER BY seq",
        (run_id,),
    )


def head(call: Caller, run_id: UUID) -> tuple[Any, ...]:
    return call.execute(
        "SELECT last_seq, closed FROM runstore.run_heads WHERE run_id = %s", (run_id,)
    )[0]


# create_feature_run


def test_a_created_run_is_running_and_its_log_starts(call: Caller) -> None:
    run = create_run(call, phase="plan")

    assert (run.kind, run.status, run.phase) == ("feature", "running", "plan")
    assert run.started_at is not None
    assert (run.output, run.error, run.finished_at, run.cancel_requested_at) == (None,) * 4
    assert log(call, run.id) == [(1, "run.started", {"phase": "plan"})]
    assert head(call, run.id) == (1, False)


def test_a_run_may_start_without_a_phase(call: Caller) -> None:
    run = create_run(call)
    assert run.phase is None
    assert log(call, run.id) == [(1, "run.started", {"phase": None})]


def test_a_repeated_create_answers_the_run_as_it_is_now(call: Caller) -> None:
    data = new_feature_run(phase="plan")
    call(create_feature_run, data)
    call(update_feature_run_phase, data.id, "build")
    assert call(create_feature_run, data).phase == "build"

    call(complete_feature_run, data.id)
    before = contents(call)
    assert call(create_feature_run, data) == call(get_run, data.id)
    assert contents(call) == before


def test_an_idempotency_key_answers_the_run_that_has_it(call: Caller) -> None:
    first = create_run(call, idempotency_key="key", input={"a": 1})
    before = contents(call)

    assert create_run(call, idempotency_key="key", input={"a": 1}) == first
    assert contents(call) == before


def test_an_idempotency_key_of_another_content_is_a_conflict(call: Caller) -> None:
    first = create_run(call, idempotency_key="key", input="secret-1", subject_id="secret-2")
    before = contents(call)

    with pytest.raises(Conflict) as raised:
        create_run(call, idempotency_key="key", input="secret-3", subject_id="secret-4")
    assert str(raised.value) == f"feature run {first.id} exists with another subject_id, input"
    assert contents(call) == before


def test_an_id_comes_before_an_idempotency_key(call: Caller) -> None:
    keyed = create_run(call, idempotency_key="key")
    other = create_run(call)
    with pytest.raises(Conflict) as raised:
        create_run(call, id=other.id, idempotency_key="key")
    assert str(raised.value) == f"feature run {other.id} exists with another idempotency_key"
    assert call(get_run, keyed.id) == keyed


def test_tenants_share_no_idempotency_keys(call: Caller) -> None:
    first = create_run(call, idempotency_key="key", tenant_id="a")
    call.execute("SELECT set_config('runstore.tenant_id', 'b', true)")
    second = create_run(call, idempotency_key="key")

    assert (first.tenant_id, second.tenant_id) == ("a", "b")
    assert create_run(call, idempotency_key="key").id == second.id
    assert create_run(call, idempotency_key="key", tenant_id="a").id == first.id


def test_an_id_of_a_chat_run_is_a_conflict(call: Caller) -> None:
    chat = call(runstore.create_run, NewChatRun(name="ship-feature"))
    before = contents(call)
    with pytest.raises(Conflict) as raised:
        create_run(call, id=chat.id)
    assert str(raised.value) == f"run {chat.id} exists with another kind"
    assert contents(call) == before


def test_many_runs_share_a_name(call: Caller) -> None:
    assert create_run(call, name="same").id != create_run(call, name="same").id


# update_feature_run_phase


def test_every_change_of_phase_is_in_the_log(call: Caller) -> None:
    run = create_run(call, phase="plan")
    for seq, phase in enumerate(["build", "plan", "build", "test ✓"], start=2):
        state = call(update_feature_run_phase, run.id, phase)
        assert (state.id, state.status, state.phase, state.last_seq) == (
            run.id,
            "running",
            phase,
            seq,
        )

    assert log(call, run.id)[1:] == [
        (2, "run.phase_changed", {"phase": "build"}),
        (3, "run.phase_changed", {"phase": "plan"}),
        (4, "run.phase_changed", {"phase": "build"}),
        (5, "run.phase_changed", {"phase": "test ✓"}),
    ]
    assert head(call, run.id) == (5, False)


def test_a_move_to_the_phase_in_which_the_run_is_answers_as_the_one_that_led_there(
    call: Caller,
) -> None:
    run = create_run(call, phase="plan")
    assert call(update_feature_run_phase, run.id, "plan").last_seq == 1
    moved = call(update_feature_run_phase, run.id, "build")
    call(append_run_events, run.id, [NewRunEvent(type="token")])
    before = contents(call)

    assert call(update_feature_run_phase, run.id, "build") == moved
    assert moved.last_seq == 2
    assert contents(call) == before


@pytest.mark.parametrize("phase", ["", "x" * 256, "a\0b", "\ud800"])
def test_a_phase_that_cannot_be_stored_is_refused(call: Caller, phase: str) -> None:
    run = create_run(call, phase="plan")
    before = contents(call)
    with pytest.raises(InvalidPayload) as raised:
        call(update_feature_run_phase, run.id, phase)
    assert raised.value.path == "phase"
    assert contents(call) == before


# advance_feature_run


def test_a_phase_is_left_together_with_its_tool_calls(call: Caller) -> None:
    run = create_run(call, phase="plan")
    invocation = create_invocation(call, run.id).id
    calls = [
        new_tool_call(invocation, name="first", status="completed", result={"ok": True}),
        new_tool_call(invocation, name="second"),
    ]

    state = call(advance_feature_run, run.id, "build", calls)

    assert (state.id, state.status, state.phase, state.last_seq) == (run.id, "running", "build", 2)
    assert log(call, run.id)[1:] == [(2, "run.phase_changed", {"phase": "build"})]
    assert head(call, run.id) == (2, False)
    stored = call(list_tool_calls, run.id).items
    assert [one.name for one in stored] == ["first", "second"]
    assert [one.finished_at is None for one in stored] == [False, True]
    assert all(data.differences(one) == [] for data, one in zip(calls, stored, strict=True))


def test_to_leave_a_phase_again_changes_nothing(call: Caller) -> None:
    run = create_run(call, phase="plan")
    calls = [new_tool_call(create_invocation(call, run.id).id)]
    first = call(advance_feature_run, run.id, "build", calls)
    before = contents(call)

    assert call(advance_feature_run, run.id, "build", calls) == first
    assert contents(call) == before

    call(complete_feature_run, run.id)
    late = call(advance_feature_run, run.id, "build", calls)
    assert (late.status, late.phase, late.last_seq) == ("completed", "build", 2)


def test_a_phase_is_not_left_with_calls_that_cannot_be_recorded(call: Caller) -> None:
    run, other = create_run(call, phase="plan"), create_run(call)
    invocation = create_invocation(call, run.id).id
    recorded = new_tool_call(invocation, arguments="one")
    call(create_tool_call, recorded)
    foreign = new_tool_call(create_invocation(call, other.id).id)
    before = contents(call)

    for calls, error in [
        ([], InvalidPayload),
        ([foreign], InvalidPayload),
        ([recorded, new_tool_call(invocation)], Conflict),
        ([new_tool_call(invocation, id=recorded.id, arguments="another")], Conflict),
        ([new_tool_call(new_child_id(run.id))], NotFound),
    ]:
        with pytest.raises(error):
            call(advance_feature_run, run.id, "build", calls)
        assert contents(call) == before


def test_a_batch_of_calls_is_refused_by_its_name(call: Caller) -> None:
    run, other = create_run(call, phase="plan"), create_run(call)
    data = new_tool_call(create_invocation(call, run.id).id)
    foreign = new_tool_call(create_invocation(call, other.id).id)
    batches: dict[str, Any] = {
        "tool_calls: is empty": [],
        "[1].tool_calls: must be a NewToolCall, not a str": [data, "x"],
        "tool_calls: holds an id twice": [data, data],
        "tool_calls: belong to another run": [foreign],
        "[1].run_id: differs from the run of the batch's first": [data, foreign],
    }
    for message, calls in batches.items():
        with pytest.raises(InvalidPayload) as raised:
            call(advance_feature_run, run.id, "build", calls)
        assert str(raised.value) == message


def test_an_ended_run_is_not_advanced(call: Caller) -> None:
    run = create_run(call)
    invocation = create_invocation(call, run.id).id
    call(complete_feature_run, run.id)
    before = contents(call)
    with pytest.raises(InvalidTransition):
        call(advance_feature_run, run.id, "build", [new_tool_call(invocation)])
    assert contents(call) == before


# complete_feature_run, fail_feature_run, and cancel_run of a feature run


@ENDS
def test_an_end_is_the_last_event_and_closes_the_log(
    call: Caller, end: Query[[UUID], Any], event: str
) -> None:
    run = create_run(call)
    call(update_feature_run_phase, run.id, "build")
    other = create_run(call)

    assert call(end, run.id).last_seq == 3
    assert [(seq, type) for seq, type, _ in log(call, run.id)] == [
        (1, "run.started"),
        (2, "run.phase_changed"),
        (3, event),
    ]
    assert head(call, run.id) == (3, True)
    assert head(call, other.id) == (1, False)
    assert call(get_run, run.id).phase == "build"


@pytest.mark.parametrize(
    ("change", "arguments"),
    [
        (update_feature_run_phase, ["build"]),
        (complete_feature_run, []),
        (fail_feature_run, []),
    ],
)
def test_a_chat_run_is_no_feature_run(
    call: Caller, change: Query[..., Any], arguments: list[str]
) -> None:
    chat = call(runstore.create_run, NewChatRun())
    before = contents(call)
    with pytest.raises(NotFound) as raised:
        call(change, chat.id, *arguments)
    assert (raised.value.entity, raised.value.id) == ("feature run", chat.id)
    assert contents(call) == before


def test_what_a_run_gave_may_be_said_when_it_fails(call: Caller) -> None:
    run = create_run(call)
    call(fail_feature_run, run.id, error="out of tokens", output={"files": 3})
    stored = call(get_run, run.id)
    assert (stored.error, stored.output) == ("out of tokens", {"files": 3})
