"""Two who write at once: one wins, the other hears so, and what is stored says one thing.

The first holds its locks in an open transaction until the second waits for them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import psycopg
import pytest

from connections import Connect, wait_until_blocked
from factories import (
    new_agent_invocation,
    new_agent_step,
    new_cta_event,
    new_feature_run,
    new_memory_record,
    new_phase_result,
    new_sandbox,
    new_tool_call,
)
from races import Conn, loses, race
from runstore import (
    Conflict,
    InvalidTransition,
    InvocationOutcome,
    NotFound,
    cancel_cta_event,
    cancel_run,
    close_open_tool_calls,
    complete_agent_invocation,
    complete_cta_event,
    complete_feature_run,
    create_agent_invocation,
    create_agent_step,
    create_agent_steps,
    create_cta_event,
    create_feature_run,
    create_memory_record,
    create_phase_result,
    create_sandbox_record,
    create_tool_call,
    create_tool_calls,
    expire_cta_events,
    fail_feature_run,
    finish_tool_call,
    get_cta_event,
    get_phase_result,
    get_phase_results,
    get_run,
    get_run_head,
    get_tool_call,
    heartbeat_run,
    list_agent_steps,
    list_open_tool_calls,
    read_run_events,
    timeout_cta_event,
    transaction,
    update_feature_run_phase,
)
from runstore._query import Query


def new_run(conn: Conn) -> UUID:
    return create_feature_run(conn, new_feature_run()).id


def new_invocation(conn: Conn) -> UUID:
    return create_agent_invocation(conn, new_agent_invocation(new_run(conn))).id


def new_question(conn: Conn, **values: Any) -> UUID:
    return create_cta_event(conn, new_cta_event(new_run(conn), **values)).id


def log(conn: Conn, run_id: UUID) -> list[tuple[int, str]]:
    return [(event.seq, event.type) for event in read_run_events(conn, run_id).events]


# The end of a run

ENDS: dict[str, Callable[[Conn, UUID], Any]] = {
    "completed": complete_feature_run,
    "failed": fail_feature_run,
    "cancelled": cancel_run,
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_one_end_of_a_run_that_two_give_is_one(
    connect: Connect, end: Callable[[Conn, UUID], Any]
) -> None:
    conn = connect()
    run = new_run(conn)
    answers: list[Any] = []
    second = race(connect, lambda c: answers.append(end(c, run)), lambda c: end(c, run))
    assert [second] == answers
    assert len(log(conn, run)) == 2


def test_one_move_of_a_run_that_two_make_is_one(connect: Connect) -> None:
    conn = connect()
    run = new_run(conn)
    answers: list[Any] = []
    second = race(
        connect,
        lambda conn: answers.append(update_feature_run_phase(conn, run, "next")),
        lambda conn: update_feature_run_phase(conn, run, "next"),
    )
    assert [second] == answers
    assert log(conn, run) == [(1, "run.started"), (2, "run.phase_changed")]


@pytest.mark.parametrize(("first", "second"), [*permutations(ENDS, 2)])
def test_a_run_ends_once(connect: Connect, first: str, second: str) -> None:
    conn = connect()
    run = new_run(conn)
    error = loses(connect, lambda conn: ENDS[first](conn, run), lambda c: ENDS[second](c, run))

    assert isinstance(error, InvalidTransition)
    assert error.status == first
    assert get_run(conn, run).status == first
    assert log(conn, run) == [(1, "run.started"), (2, f"run.{first}")]


def test_an_end_that_was_given_up_leaves_the_next_number(connect: Connect) -> None:
    conn = connect()
    run = new_run(conn)
    state = race(
        connect,
        lambda conn: complete_feature_run(conn, run),
        lambda conn: fail_feature_run(conn, run, error="it broke"),
        first_gives_up=True,
    )
    assert (state.status, state.last_seq) == ("failed", 2)
    assert log(conn, run) == [(1, "run.started"), (2, "run.failed")]


@pytest.mark.parametrize(
    ("change", "arguments"), [(update_feature_run_phase, ["next"]), (heartbeat_run, [])]
)
def test_nothing_happens_to_a_run_that_ends_first(
    connect: Connect, change: Query[..., Any], arguments: list[str]
) -> None:
    conn = connect()
    run = new_run(conn)
    error = loses(
        connect,
        lambda conn: complete_feature_run(conn, run),
        lambda conn: change(conn, run, *arguments),
    )
    assert isinstance(error, InvalidTransition)
    assert error.status == "completed"
    assert get_run(conn, run).phase is None


# The log of a run


def test_changes_of_phase_are_numbered_in_the_order_in_which_they_commit(
    connect: Connect,
) -> None:
    conn = connect()
    run = new_run(conn)
    state = race(
        connect,
        lambda conn: update_feature_run_phase(conn, run, "first"),
        lambda conn: update_feature_run_phase(conn, run, "second"),
    )
    assert (state.phase, state.last_seq) == ("second", 3)
    assert get_run(conn, run).phase == "second"
    phases = [event.payload for event in read_run_events(conn, run).events]
    assert phases[1:] == [{"phase": "first"}, {"phase": "second"}]


def test_an_end_waits_for_what_is_being_appended(connect: Connect) -> None:
    conn = connect()
    run = new_run(conn)

    def append(conn: Conn) -> None:
        conn.execute("UPDATE runstore.run_heads SET last_seq = 2 WHERE run_id = %s", (run,))
        conn.execute(
            "INSERT INTO runstore.run_events (run_id, seq, type) VALUES (%s, 2, 'token')", (run,)
        )

    state = race(connect, append, lambda conn: complete_feature_run(conn, run))
    assert state.last_seq == 3
    assert log(conn, run) == [(1, "run.started"), (2, "token"), (3, "run.completed")]


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_who_waits_for_the_head_has_not_locked_the_run(
    connect: Connect, end: Callable[[Conn, UUID], Any]
) -> None:
    """The head comes first for everybody: two who took them in turns would wait for ever."""
    run = new_run(connect())
    holder, waiter, observer = connect(), connect(), connect()
    with ThreadPoolExecutor(1) as pool:
        with transaction(holder):
            holder.execute("SELECT FROM runstore.run_heads WHERE run_id = %s FOR UPDATE", (run,))
            waiting = pool.submit(end, waiter, run)
            wait_until_blocked(observer)
            holder.execute("SELECT FROM runstore.runs WHERE id = %s FOR UPDATE NOWAIT", (run,))
        assert waiting.result(timeout=10).last_seq == 2


def test_many_who_change_one_run_leave_no_gap(connect: Connect) -> None:
    conn = connect()
    run = new_run(conn)
    workers = [connect() for _ in range(6)]

    def work(worker: Conn) -> list[int]:
        phases = [f"{workers.index(worker)}-{number}" for number in range(25)]
        return [update_feature_run_phase(worker, run, phase).last_seq for phase in phases]

    with ThreadPoolExecutor(len(workers)) as pool:
        given = [seq for numbers in pool.map(work, workers) for seq in numbers]
    assert sorted(given) == list(range(2, 152))
    events = read_run_events(conn, run, page_size=1000).events
    assert [event.seq for event in events] == list(range(1, 152))
    assert get_run_head(conn, run).last_seq == 151


# One id, or one place, twice at once


def test_two_creates_of_one_run_are_one(connect: Connect) -> None:
    data = new_feature_run(idempotency_key="key")
    run = race(
        connect,
        lambda conn: create_feature_run(conn, data),
        lambda conn: create_feature_run(conn, data),
    )
    assert run.id == data.id
    assert log(connect(), data.id) == [(1, "run.started")]


def test_two_creates_with_one_idempotency_key_are_one(connect: Connect) -> None:
    first, second = (new_feature_run(idempotency_key="key") for _ in range(2))
    run = race(
        connect,
        lambda conn: create_feature_run(conn, first),
        lambda conn: create_feature_run(conn, second),
    )
    assert run.id == first.id
    with pytest.raises(NotFound):
        get_run(connect(), second.id)


def test_a_create_that_was_given_up_leaves_its_id(connect: Connect) -> None:
    data = new_feature_run()
    race(
        connect,
        lambda conn: create_feature_run(conn, data),
        lambda conn: create_feature_run(conn, data),
        first_gives_up=True,
    )
    assert get_run(connect(), data.id).status == "running"


def test_of_two_creates_of_one_id_and_other_content_the_first_wins(connect: Connect) -> None:
    first = new_feature_run()
    second = new_feature_run(id=first.id, input="another")
    error = loses(
        connect,
        lambda conn: create_feature_run(conn, first),
        lambda conn: create_feature_run(conn, second),
    )
    assert str(error) == f"feature run {first.id} exists with another input"


@pytest.mark.parametrize("entity", ["phase", "invocation", "step", "call", "memory", "cta"])
def test_two_creates_of_one_child_are_one(connect: Connect, entity: str) -> None:
    invocation = new_invocation(conn := connect())
    run = new_run(conn)
    creates: dict[str, tuple[Query[[Any], Any], Any]] = {
        "phase": (create_phase_result, new_phase_result(run)),
        "invocation": (create_agent_invocation, new_agent_invocation(run)),
        "step": (create_agent_step, new_agent_step(invocation)),
        "call": (create_tool_call, new_tool_call(invocation, provider_call_id="call-1")),
        "memory": (create_memory_record, new_memory_record(run)),
        "cta": (create_cta_event, new_cta_event(run)),
    }
    create, data = creates[entity]
    answers: list[Any] = []
    second = race(
        connect,
        lambda conn: answers.append(create(conn, data)),
        lambda conn: create(conn, data),
    )
    assert [second] == answers


def test_two_creates_of_one_sandbox_are_one(connect: Connect) -> None:
    data = new_sandbox(new_run(connect()))
    sandbox = race(
        connect,
        lambda conn: create_sandbox_record(conn, data),
        lambda conn: create_sandbox_record(conn, data),
    )
    assert (sandbox.run_id, sandbox.id) == (data.run_id, data.id)


@pytest.mark.parametrize("entity", ["steps", "calls"])
def test_two_creates_of_one_batch_are_one(connect: Connect, entity: str) -> None:
    invocation = new_invocation(connect())
    batches: dict[str, tuple[Query[[Any], Any], list[Any]]] = {
        "steps": (create_agent_steps, [new_agent_step(invocation) for _ in range(3)]),
        "calls": (create_tool_calls, [new_tool_call(invocation) for _ in range(3)]),
    }
    create, batch = batches[entity]
    answers: list[Any] = []
    second = race(
        connect,
        lambda conn: answers.append(create(conn, batch)),
        lambda conn: create(conn, batch),
    )
    assert [second] == answers


def test_two_who_take_the_next_attempt_make_two(connect: Connect) -> None:
    conn = connect()
    run = new_run(conn)
    first, second = new_phase_result(run), new_phase_result(run)
    error = loses(
        connect,
        lambda conn: create_phase_result(conn, first),
        lambda conn: create_phase_result(conn, second),
    )
    assert isinstance(error, Conflict)
    assert error.constraint == "phase_results_run_id_phase_attempt_key"
    create_phase_result(conn, second)
    assert [get_phase_result(conn, data.id).attempt for data in (first, second)] == [1, 2]
    assert len(get_phase_results(conn, run)) == 2


def test_two_who_take_the_next_position_make_two(connect: Connect) -> None:
    conn = connect()
    invocation = new_invocation(conn)
    first, second = new_agent_step(invocation), new_agent_step(invocation)
    error = loses(
        connect,
        lambda conn: create_agent_step(conn, first),
        lambda conn: create_agent_step(conn, second),
    )
    assert isinstance(error, Conflict)
    assert error.constraint == "agent_steps_run_id_invocation_id_position_key"
    create_agent_step(conn, second)
    assert [step.id for step in list_agent_steps(conn, invocation).items] == [first.id, second.id]


# The outcome of a call


def test_an_invocation_has_one_outcome(connect: Connect) -> None:
    invocation = new_invocation(connect())
    error = loses(
        connect,
        lambda conn: complete_agent_invocation(conn, invocation, InvocationOutcome()),
        lambda conn: complete_agent_invocation(
            conn, invocation, InvocationOutcome(status="failed")
        ),
    )
    assert isinstance(error, InvalidTransition)
    assert error.status == "completed"


def test_a_call_that_finishes_is_not_closed_as_unknown(connect: Connect) -> None:
    conn = connect()
    invocation = new_invocation(conn)
    calls = [create_tool_call(conn, new_tool_call(invocation)) for _ in range(2)]
    run = calls[0].run_id
    closed = race(
        connect,
        lambda conn: finish_tool_call(conn, calls[0].id, result="done"),
        lambda conn: close_open_tool_calls(conn, run, "the worker died"),
    )
    assert [key.id for key in closed] == [calls[1].id]
    assert get_tool_call(conn, calls[0].id).status == "completed"
    assert list_open_tool_calls(conn, run).items == []


# The answer to a question

ANSWERS: dict[str, Callable[[Conn, UUID], Any]] = {
    "completed": lambda conn, id: complete_cta_event(conn, id, "yes"),
    "timed_out": timeout_cta_event,
    "cancelled": cancel_cta_event,
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_one_answer_that_two_give_is_one(
    connect: Connect, answer: Callable[[Conn, UUID], Any]
) -> None:
    id = new_question(connect())
    answers: list[Any] = []
    second = race(connect, lambda c: answers.append(answer(c, id)), lambda c: answer(c, id))
    assert [second] == answers


@pytest.mark.parametrize(("first", "second"), [*permutations(ANSWERS, 2)])
def test_a_question_is_over_once(connect: Connect, first: str, second: str) -> None:
    conn = connect()
    id = new_question(conn)
    error = loses(
        connect, lambda conn: ANSWERS[first](conn, id), lambda conn: ANSWERS[second](conn, id)
    )
    assert isinstance(error, InvalidTransition)
    assert error.status == first
    assert get_cta_event(conn, id).status == first


def test_one_who_expires_passes_by_what_is_being_answered(connect: Connect) -> None:
    conn, other = connect(), connect()
    late = datetime.now(UTC) - timedelta(hours=1)
    answered, unanswered = new_question(conn, expires_at=late), new_question(conn, expires_at=late)
    with transaction(conn):
        complete_cta_event(conn, answered, "yes")
        assert [key.id for key in expire_cta_events(other)] == [unanswered]
    assert get_cta_event(conn, answered).status == "completed"
    assert expire_cta_events(other) == []


def test_an_answer_that_was_given_up_leaves_the_question_to_expire(connect: Connect) -> None:
    conn, other = connect(), connect()
    id = new_question(conn, expires_at=datetime.now(UTC) - timedelta(hours=1))
    with transaction(conn):
        complete_cta_event(conn, id, "yes")
        assert expire_cta_events(other) == []
        raise psycopg.Rollback
    assert [key.id for key in expire_cta_events(other)] == [id]


def test_an_answer_to_what_is_expiring_is_too_late(connect: Connect) -> None:
    id = new_question(connect(), expires_at=datetime.now(UTC) - timedelta(hours=1))
    error = loses(connect, expire_cta_events, lambda conn: complete_cta_event(conn, id, "yes"))
    assert isinstance(error, InvalidTransition)
    assert error.status == "timed_out"


def test_many_who_expire_share_the_work(connect: Connect) -> None:
    conn = connect()
    late = datetime.now(UTC) - timedelta(hours=1)
    ids = {new_question(conn, expires_at=late) for _ in range(60)}
    workers = [connect() for _ in range(5)]
    with ThreadPoolExecutor(len(workers)) as pool:
        expired = [key.id for keys in pool.map(expire_cta_events, workers) for key in keys]
    assert len(expired) == 60
    assert set(expired) == ids
