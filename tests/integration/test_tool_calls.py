from datetime import timedelta
from typing import Any, get_args

import pytest

from connections import Caller
from contents import changes, clock, contents
from factories import create_call, create_invocation, create_run, create_step, new_tool_call
from runstore import (
    Conflict,
    InvalidPayload,
    NewToolCall,
    NotFound,
    close_open_tool_calls,
    complete_feature_run,
    create_tool_call,
    create_tool_calls,
    finish_tool_call,
    get_tool_call,
    list_abandoned_tool_calls,
    list_open_tool_calls,
    list_tool_calls,
    new_child_id,
    new_run_id,
)
from runstore.tool_calls import ToolCallStatus

TAKEN = "tool_calls_run_id_invocation_id_provider_call_id_key"

# create_tool_call


@pytest.mark.parametrize("status", get_args(ToolCallStatus))
def test_a_call_is_recorded_open_or_over(call: Caller, status: ToolCallStatus) -> None:
    invocation = create_invocation(call, create_run(call).id).id
    start = clock(call)
    id = create_call(call, invocation, status=status).id
    stored = call(get_tool_call, id)
    assert stored.status == status
    if status == "open":
        assert stored.finished_at is None
    else:
        assert stored.finished_at is not None
        assert start <= stored.finished_at <= clock(call)


def test_a_providers_id_is_taken_once_in_an_invocation(call: Caller) -> None:
    run = create_run(call)
    one, other = create_invocation(call, run.id).id, create_invocation(call, run.id).id
    create_call(call, one, provider_call_id="call-1")
    create_call(call, other, provider_call_id="call-1")
    before = contents(call)
    with pytest.raises(Conflict) as raised:
        create_call(call, one, provider_call_id="call-1")
    assert raised.value.constraint == TAKEN
    assert "call-1" not in str(raised.value)
    assert contents(call) == before


def test_a_repeated_create_of_a_call_that_was_finished_changes_nothing(call: Caller) -> None:
    invocation = create_invocation(call, create_run(call).id).id
    data = new_tool_call(invocation, arguments={"cmd": "ls"})
    created = call(create_tool_call, data)
    call(finish_tool_call, data.id, result="files")
    before = contents(call)

    assert call(create_tool_call, data) == created
    assert call(create_tool_calls, [data]) == [created]
    assert contents(call) == before


# create_tool_calls


def test_a_batch_is_answered_in_its_order(call: Caller) -> None:
    run = create_run(call)
    one, other = create_invocation(call, run.id).id, create_invocation(call, run.id).id
    step = create_step(call, one).id
    batch = [
        new_tool_call(one, step_id=step, provider_call_id="a", name="first"),
        new_tool_call(other, status="completed", result={"ok": True}, name="second"),
        new_tool_call(one, status="failed", error=["no"], arguments={"x": "\r\n"}, name="third"),
        new_tool_call(other, provider_call_id="a", metadata={"n": None}, name="fourth"),
        new_tool_call(one, provider_call_id="b", name="fifth"),
    ]
    before = contents(call)
    created = call(create_tool_calls, batch)

    assert [key.id for key in created] == [data.id for data in batch]
    assert changes(before, contents(call)).keys() == {"tool_calls"}
    for key, data in zip(created, batch, strict=True):
        stored = call(get_tool_call, key.id)
        assert (stored.run_id, stored.created_at) == (key.run_id, key.created_at)
        assert {name: value for name, value in stored if name in dict(data)} == dict(data)
        assert (stored.finished_at is None) == (data.status == "open")
    names = [stored.name for stored in call(list_tool_calls, run.id).items]
    assert names == ["first", "second", "third", "fourth", "fifth"]


def test_5000_calls_are_one_batch(call: Caller) -> None:
    run = create_run(call)
    invocation = create_invocation(call, run.id).id
    batch = [new_tool_call(invocation, arguments=number) for number in range(5000)]
    created = call(create_tool_calls, batch)
    calls = call(list_tool_calls, run.id, page_size=10_000).items

    assert [key.id for key in created] == [data.id for data in batch]
    assert {stored.id: stored.arguments for stored in calls} == {
        data.id: data.arguments for data in batch
    }


def test_a_repeated_batch_changes_nothing(call: Caller) -> None:
    invocation = create_invocation(call, create_run(call).id).id
    batch = [new_tool_call(invocation, provider_call_id=f"call-{n}") for n in range(5)]
    created = call(create_tool_calls, batch)
    call(finish_tool_call, batch[3].id)
    before = contents(call)

    assert call(create_tool_calls, batch) == created
    assert call(create_tool_calls, batch[::-1]) == created[::-1]
    assert contents(call) == before


def test_a_batch_of_which_a_part_exists_is_a_conflict(call: Caller) -> None:
    invocation = create_invocation(call, create_run(call).id).id
    batch = [new_tool_call(invocation) for _ in range(3)]
    call(create_tool_calls, batch[:2])
    before = contents(call)
    with pytest.raises(Conflict) as raised:
        call(create_tool_calls, batch)
    assert str(raised.value) == "[2]: this tool call is missing; others of its batch exist"
    assert contents(call) == before


def test_a_repeated_batch_of_another_content_is_a_conflict(call: Caller) -> None:
    invocation = create_invocation(call, create_run(call).id).id
    batch = [new_tool_call(invocation, arguments="secret-1") for _ in range(2)]
    call(create_tool_calls, batch)
    before = contents(call)
    other = new_tool_call(invocation, id=batch[1].id, arguments="secret-2")
    with pytest.raises(Conflict) as raised:
        call(create_tool_calls, [batch[0], other])
    assert str(raised.value) == f"[1]: tool call {other.id} exists with another arguments"
    assert contents(call) == before


def test_a_batch_with_a_providers_id_that_is_taken_is_not_written(call: Caller) -> None:
    invocation = create_invocation(call, create_run(call).id).id
    create_call(call, invocation, provider_call_id="taken")
    before = contents(call)
    for ids in [("new", "taken"), ("twice", "twice")]:
        batch = [new_tool_call(invocation, provider_call_id=id) for id in ids]
        with pytest.raises(Conflict) as raised:
            call(create_tool_calls, batch)
        assert raised.value.constraint == TAKEN
    assert contents(call) == before


def test_a_batch_of_an_unknown_parent_is_not_written(call: Caller) -> None:
    run = create_run(call)
    invocation = create_invocation(call, run.id).id
    known, nowhere = new_tool_call(invocation), new_run_id()
    before = contents(call)

    for stranger, entity in [
        (new_tool_call(new_child_id(run.id)), "agent invocation"),
        (new_tool_call(invocation, step_id=new_child_id(run.id)), "agent step"),
    ]:
        with pytest.raises(NotFound) as raised:
            call(create_tool_calls, [known, stranger])
        assert raised.value.entity == entity
    with pytest.raises(NotFound) as raised:
        call(create_tool_calls, [new_tool_call(new_child_id(nowhere))])
    assert (raised.value.entity, raised.value.id) == ("run", nowhere)
    assert contents(call) == before


def test_what_is_no_batch_is_refused(call: Caller) -> None:
    runs = [create_run(call), create_run(call)]
    first, second = (new_tool_call(create_invocation(call, run.id).id) for run in runs)
    stranger: Any = "secret"
    before = contents(call)

    refused: list[tuple[list[NewToolCall], str]] = [
        ([], "data: is empty"),
        ([first, second], "[1].run_id: differs from the run of the batch's first"),
        ([first, second, first], "[1].run_id: differs from the run of the batch's first"),
        ([first, first], "data: holds an id twice"),
        ([stranger], "[0].data: must be a NewToolCall, not a str"),
    ]
    for batch, text in refused:
        with pytest.raises(InvalidPayload) as raised:
            call(create_tool_calls, batch)
        assert str(raised.value) == text
    assert contents(call) == before


# get_tool_call


def test_an_unknown_call_is_not_found(call: Caller) -> None:
    id = new_child_id(create_run(call).id)
    with pytest.raises(NotFound) as raised:
        call(get_tool_call, id)
    assert str(raised.value) == f"tool call {id} does not exist"


# list_tool_calls, list_open_tool_calls


def test_a_list_has_the_calls_of_a_run_of_one_invocation_or_the_open_ones(call: Caller) -> None:
    run, other = create_run(call), create_run(call)
    one, two = create_invocation(call, run.id).id, create_invocation(call, run.id).id
    ids = [create_call(call, invocation).id for invocation in (one, two, one)]
    create_call(call, create_invocation(call, other.id).id)
    call(finish_tool_call, ids[0])
    calls = [call(get_tool_call, id) for id in ids]

    assert call(list_tool_calls, run.id).items == calls
    assert call(list_tool_calls, run.id, invocation_id=one).items == [calls[0], calls[2]]
    assert call(list_tool_calls, run.id, invocation_id=new_child_id(run.id)).items == []
    assert call(list_open_tool_calls, run.id).items == calls[1:]


# list_abandoned_tool_calls


@pytest.mark.owner
def test_the_open_calls_of_dead_runs_are_listed(call: Caller) -> None:
    live, silent, ended = (create_run(call).id for _ in range(3))
    open_calls = {
        id: create_call(call, create_invocation(call, id).id).id for id in (live, silent, ended)
    }
    create_call(call, create_invocation(call, ended).id, status="completed")
    call(complete_feature_run, ended)
    call.execute(
        "UPDATE runstore.run_heads SET heartbeat_at = now() - interval '1 hour' WHERE run_id = %s",
        [silent],
    )

    page = call(list_abandoned_tool_calls, silent_for=timedelta(minutes=59), page_size=1)
    rest = call(
        list_abandoned_tool_calls, silent_for=timedelta(minutes=59), cursor=page.next_cursor
    )

    found = page.items + rest.items
    assert [(row.id, row.run_status) for row in found] == [
        (open_calls[silent], "running"),
        (open_calls[ended], "completed"),
    ]
    type(found[0]).model_validate(dict(found[0]), strict=True)
    call(close_open_tool_calls, silent, "its worker died")
    call(close_open_tool_calls, ended, "its worker died")
    assert call(list_abandoned_tool_calls, silent_for=timedelta(minutes=59)).items == []


# finish_tool_call


def test_a_call_is_not_finished_as_open(call: Caller) -> None:
    id = create_call(call, create_invocation(call, create_run(call).id).id).id
    before = contents(call)
    status: Any
    for status in ("open", "unheard-of"):
        with pytest.raises(InvalidPayload) as raised:
            call(finish_tool_call, id, status=status)
        assert str(raised.value).startswith("status: should be 'completed',")
    assert contents(call) == before


# close_open_tool_calls


def test_closing_reaches_the_open_calls_of_the_run_alone(call: Caller) -> None:
    run, other = create_run(call), create_run(call)
    invocation = create_invocation(call, run.id).id
    open_ids = {create_call(call, invocation).id for _ in range(3)}
    create_call(call, invocation, status="completed", result="kept")
    create_call(call, create_invocation(call, other.id).id)
    before, start = contents(call), clock(call)

    closed = call(close_open_tool_calls, run.id, {"why": "the worker died"})

    assert {key.id for key in closed} == open_ids
    written = changes(before, contents(call))
    assert written.keys() == {"tool_calls"}
    assert {row["id"] for row in written["tool_calls"]} == {str(id) for id in open_ids}
    for key in closed:
        stored = call(get_tool_call, key.id)
        assert (stored.status, stored.error) == ("unknown", {"why": "the worker died"})
        assert stored.finished_at == key.finished_at >= start
    assert call(close_open_tool_calls, run.id, "again") == []


def test_no_reason_is_no_value(call: Caller) -> None:
    run = create_run(call)
    create_call(call, create_invocation(call, run.id).id)
    call(close_open_tool_calls, run.id, None)
    assert call.execute("SELECT error IS NULL FROM runstore.tool_calls") == [(True,)]


def test_an_unknown_run_has_no_calls_to_close(call: Caller) -> None:
    id = new_run_id()
    with pytest.raises(NotFound) as raised:
        call(close_open_tool_calls, id, "gone")
    assert (raised.value.entity, raised.value.id) == ("run", id)
