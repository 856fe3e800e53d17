import random
from typing import Any

import pytest

from connections import Caller
from contents import changes, clock, contents
from factories import create_invocation, create_run, create_step, new_agent_step
from runstore import (
    Conflict,
    InvalidPayload,
    InvalidTransition,
    NewAgentStep,
    NotFound,
    create_agent_step,
    create_agent_steps,
    finish_agent_step,
    get_agent_step,
    list_agent_steps,
    new_child_id,
    new_run_id,
)

TAKEN = "agent_steps_run_id_invocation_id_position_key"

# create_agent_step


def test_positions_count_up_within_an_invocation(call: Caller) -> None:
    run = create_run(call)
    first, second = create_invocation(call, run.id), create_invocation(call, run.id)
    ids = [
        create_step(call, first.id).id,
        create_step(call, first.id).id,
        create_step(call, second.id).id,
        create_step(call, first.id, position=10).id,
        create_step(call, first.id, position=0).id,
        create_step(call, first.id).id,
    ]
    assert [call(get_agent_step, id).position for id in ids] == [1, 2, 1, 10, 0, 11]


def test_a_position_has_one_step(call: Caller) -> None:
    invocation = create_invocation(call, create_run(call).id)
    create_step(call, invocation.id, position=3)
    before = contents(call)
    with pytest.raises(Conflict) as raised:
        create_step(call, invocation.id, position=3)
    assert raised.value.constraint == TAKEN
    assert contents(call) == before


def test_a_step_is_finished_unless_it_is_said_otherwise(call: Caller) -> None:
    invocation = create_invocation(call, create_run(call).id)
    start = clock(call)
    done = call(get_agent_step, create_step(call, invocation.id).id)
    assert done.finished_at is not None
    assert start <= done.finished_at <= clock(call)
    going_on = create_step(call, invocation.id, finished=False)
    assert call(get_agent_step, going_on.id).finished_at is None


def test_a_repeated_create_of_a_step_that_was_finished_changes_nothing(call: Caller) -> None:
    invocation = create_invocation(call, create_run(call).id)
    data = new_agent_step(invocation.id, content="thinking", finished=False)
    created = call(create_agent_step, data)
    call(finish_agent_step, data.id, content="thought", tokens=5)
    before = contents(call)

    assert call(create_agent_step, data) == created
    assert call(create_agent_steps, [data]) == [created]
    assert contents(call) == before


# create_agent_steps


def test_a_batch_is_answered_in_its_order(call: Caller) -> None:
    run = create_run(call)
    invocations = [create_invocation(call, run.id).id for _ in range(3)]
    batch = [
        new_agent_step(
            random.choice(invocations),
            kind=f"kind-{number}",
            content={"number": number},
            tokens=number or None,
            metadata={"n": number},
            finished=number % 2 == 0,
        )
        for number in range(30)
    ]
    before = contents(call)
    created = call(create_agent_steps, batch)

    assert [key.id for key in created] == [data.id for data in batch]
    assert changes(before, contents(call)).keys() == {"agent_steps"}
    for key, data in zip(created, batch, strict=True):
        step = call(get_agent_step, key.id)
        assert (step.run_id, step.created_at) == (key.run_id, key.created_at)
        assert (step.kind, step.content, step.tokens, step.metadata) == (
            data.kind,
            data.content,
            data.tokens,
            data.metadata,
        )
        assert (step.finished_at is not None) == data.finished
    for invocation in invocations:
        steps = call(list_agent_steps, invocation).items
        assert [step.id for step in steps] == [
            data.id for data in batch if data.invocation_id == invocation
        ]
        assert [step.position for step in steps] == list(range(1, len(steps) + 1))


def test_steps_of_a_batch_go_where_they_are_put_and_the_others_follow(call: Caller) -> None:
    run = create_run(call)
    one, other = create_invocation(call, run.id).id, create_invocation(call, run.id).id
    create_step(call, one, position=4)
    places = [(one, None), (one, 9), (other, None), (one, None), (other, 0), (other, None)]
    batch = [new_agent_step(invocation, position=position) for invocation, position in places]
    call(create_agent_steps, batch)

    positions = [call(get_agent_step, data.id).position for data in batch]
    assert positions == [10, 9, 1, 11, 0, 2]


def test_5000_steps_are_one_batch(call: Caller) -> None:
    invocation = create_invocation(call, create_run(call).id).id
    batch = [new_agent_step(invocation, content=number) for number in range(5000)]
    created = call(create_agent_steps, batch)
    steps = call(list_agent_steps, invocation, page_size=10_000).items

    assert [key.id for key in created] == [data.id for data in batch]
    assert [(step.position, step.content) for step in steps] == [
        (number + 1, number) for number in range(5000)
    ]


def test_a_repeated_batch_changes_nothing(call: Caller) -> None:
    invocation = create_invocation(call, create_run(call).id).id
    batch = [new_agent_step(invocation, content={"n": number}) for number in range(5)]
    created = call(create_agent_steps, batch)
    create_step(call, invocation)
    before = contents(call)

    assert call(create_agent_steps, batch) == created
    assert call(create_agent_steps, batch[::-1]) == created[::-1]
    assert call(create_agent_steps, batch[2:3]) == created[2:3]
    assert contents(call) == before


def test_a_batch_of_which_a_part_exists_is_a_conflict(call: Caller) -> None:
    invocation = create_invocation(call, create_run(call).id).id
    batch = [new_agent_step(invocation, content="secret") for _ in range(3)]
    call(create_agent_step, batch[1])
    before = contents(call)
    with pytest.raises(Conflict) as raised:
        call(create_agent_steps, batch)
    assert str(raised.value) == "[0]: this agent step is missing; others of its batch exist"
    assert contents(call) == before


def test_a_repeated_batch_of_another_content_is_a_conflict(call: Caller) -> None:
    invocation = create_invocation(call, create_run(call).id).id
    batch = [new_agent_step(invocation, content="secret-1") for _ in range(3)]
    call(create_agent_steps, batch)
    before = contents(call)
    other = new_agent_step(invocation, id=batch[2].id, content="secret-2", kind="secret-3")
    with pytest.raises(Conflict) as raised:
        call(create_agent_steps, [*batch[:2], other])
    assert str(raised.value) == f"[2]: agent step {other.id} exists with another kind, content"
    assert contents(call) == before


def test_a_batch_with_a_position_that_is_taken_is_not_written(call: Caller) -> None:
    invocation = create_invocation(call, create_run(call).id).id
    create_step(call, invocation, position=2)
    before = contents(call)
    for positions in [(1, 2), (3, 3)]:
        with pytest.raises(Conflict) as raised:
            call(create_agent_steps, [new_agent_step(invocation, position=p) for p in positions])
        assert raised.value.constraint == TAKEN
    assert contents(call) == before


def test_a_batch_of_an_unknown_parent_is_not_written(call: Caller) -> None:
    run = create_run(call)
    known = new_agent_step(create_invocation(call, run.id).id)
    before = contents(call)

    with pytest.raises(NotFound) as raised:
        call(create_agent_steps, [known, new_agent_step(new_child_id(run.id))])
    assert raised.value.entity == "agent invocation"
    nowhere = new_run_id()
    with pytest.raises(NotFound) as raised:
        call(create_agent_steps, [new_agent_step(new_child_id(nowhere))])
    assert (raised.value.entity, raised.value.id) == ("run", nowhere)
    assert contents(call) == before


def test_what_is_no_batch_is_refused(call: Caller) -> None:
    runs = [create_run(call), create_run(call)]
    first, second = (new_agent_step(create_invocation(call, run.id).id) for run in runs)
    stranger: Any = {"kind": "secret"}
    before = contents(call)

    refused: list[tuple[list[NewAgentStep], str]] = [
        ([], "data: is empty"),
        ([first, second], "[1].run_id: differs from the run of the batch's first"),
        ([first, first], "data: holds an id twice"),
        ([first, stranger], "[1].data: must be a NewAgentStep, not a dict"),
    ]
    for batch, text in refused:
        with pytest.raises(InvalidPayload) as raised:
            call(create_agent_steps, batch)
        assert str(raised.value) == text
    assert contents(call) == before


# get_agent_step


def test_an_unknown_step_is_not_found(call: Caller) -> None:
    id = new_child_id(create_run(call).id)
    with pytest.raises(NotFound) as raised:
        call(get_agent_step, id)
    assert str(raised.value) == f"agent step {id} does not exist"


# list_agent_steps


def test_a_list_has_the_steps_of_one_invocation(call: Caller) -> None:
    run = create_run(call)
    first, second = create_invocation(call, run.id), create_invocation(call, run.id)
    last = create_step(call, first.id, position=5)
    zeroth = create_step(call, first.id, position=0)
    create_step(call, second.id)
    assert call(list_agent_steps, first.id).items == [
        call(get_agent_step, zeroth.id),
        call(get_agent_step, last.id),
    ]


# finish_agent_step


def test_what_is_not_said_at_the_finish_stays(call: Caller) -> None:
    invocation = create_invocation(call, create_run(call).id).id
    step = create_step(call, invocation, content="thinking", tokens=3, finished=False)
    call(finish_agent_step, step.id, tokens=5)
    stored = call(get_agent_step, step.id)
    assert (stored.content, stored.tokens) == ("thinking", 5)


@pytest.mark.parametrize("tokens", [-1, 2**63])
def test_an_amount_that_no_bigint_holds_is_refused(call: Caller, tokens: int) -> None:
    invocation = create_invocation(call, create_run(call).id).id
    step = create_step(call, invocation, finished=False)
    before = contents(call)
    with pytest.raises(InvalidPayload) as raised:
        call(finish_agent_step, step.id, tokens=tokens)
    assert raised.value.path == "tokens"
    assert raised.value.reason.startswith("should be ")
    assert contents(call) == before


def test_a_step_that_was_recorded_as_finished_is_finished(call: Caller) -> None:
    invocation = create_invocation(call, create_run(call).id).id
    id = create_step(call, invocation, content="all", tokens=3).id
    before = contents(call)
    others: list[dict[str, Any]] = [
        {"content": "more"},
        {"tokens": 0},
        {"content": "all", "tokens": 4},
    ]
    for other in others:
        with pytest.raises(InvalidTransition) as raised:
            call(finish_agent_step, id, **other)
        assert raised.value.status == "finished"
    finished = call(finish_agent_step, id)
    assert finished == call(finish_agent_step, id, content="all", tokens=3)
    assert finished.finished_at == call(get_agent_step, id).finished_at
    assert contents(call) == before
