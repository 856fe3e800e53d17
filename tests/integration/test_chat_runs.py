"""Chat runs: created once, one of a thread at a time where that is asked for, deleted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from connections import Caller, Connect, wait_until_blocked
from runstore import (
    Conflict,
    InvalidPayload,
    InvalidTransition,
    NewChatRun,
    NewFeatureRun,
    NotFound,
    RunState,
    cancel_run,
    complete_run,
    create_feature_run,
    create_run,
    delete_run,
    fail_run,
    start_run,
)
from runstore._query import Query


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


@pytest.mark.parametrize(
    ("end", "why"), [(complete_run, {}), (fail_run, {"error": "it broke"}), (cancel_run, {})]
)
def test_a_thread_has_one_active_exclusive_run(
    call: Caller, end: Query[..., RunState], why: dict[str, str]
) -> None:
    run = call(create_run, NewChatRun(thread_id="t", exclusive=True))

    with pytest.raises(Conflict, match=str(run.id)):
        call(create_run, NewChatRun(thread_id="t", exclusive=True))
    call(create_run, NewChatRun(thread_id="t"))
    call(create_run, NewChatRun(thread_id="t", exclusive=True, tenant_id="another"))

    call(end, run.id, **why)
    assert call(create_run, NewChatRun(thread_id="t", exclusive=True)).id != run.id


def test_exclusive_needs_a_thread() -> None:
    with pytest.raises(InvalidPayload, match="exclusive"):
        NewChatRun(exclusive=True)


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
