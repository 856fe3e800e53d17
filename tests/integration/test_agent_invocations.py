from decimal import Decimal
from typing import Any

import pytest

from connections import Caller
from contents import contents
from factories import (
    create_invocation,
    create_phase,
    create_run,
    new_agent_invocation,
)
from runstore import (
    InvalidPayload,
    InvocationOutcome,
    NewAgentInvocation,
    NotFound,
    complete_agent_invocation,
    create_agent_invocation,
    get_agent_invocation,
    list_agent_invocations,
    new_child_id,
    new_run_id,
)

# create_agent_invocation


def test_the_caller_says_the_run(call: Caller) -> None:
    run = create_run(call)
    phase = create_phase(call, run.id)
    parent = call(
        create_agent_invocation, NewAgentInvocation(agent="planner", phase_result_id=phase.id)
    )
    child = call(
        create_agent_invocation, NewAgentInvocation(agent="coder", parent_invocation_id=parent.id)
    )
    assert (parent.run_id, child.run_id) == (run.id, run.id)
    assert call(get_agent_invocation, child.id).parent_invocation_id == parent.id
    assert call(get_agent_invocation, child.id).phase_result_id is None


def test_an_invocation_runs_and_has_used_nothing_yet(call: Caller) -> None:
    run = create_run(call)
    stored = call(get_agent_invocation, create_invocation(call, run.id).id)
    assert stored.status == "running"
    assert (stored.output, stored.error, stored.finish_reason, stored.usage_raw) == (None,) * 4
    assert (stored.input_tokens, stored.output_tokens, stored.cost_usd) == (None,) * 3
    assert stored.finished_at is None


def test_a_repeated_create_after_the_outcome_changes_nothing(call: Caller) -> None:
    data = new_agent_invocation(create_run(call).id)
    created = call(create_agent_invocation, data)
    call(complete_agent_invocation, data.id, InvocationOutcome(output="done"))
    before = contents(call)

    assert call(create_agent_invocation, data) == created
    assert contents(call) == before


# get_agent_invocation


def test_an_unknown_invocation_is_not_found(call: Caller) -> None:
    id = new_child_id(create_run(call).id)
    with pytest.raises(NotFound) as raised:
        call(get_agent_invocation, id)
    assert str(raised.value) == f"agent invocation {id} does not exist"


# list_agent_invocations


def test_a_list_has_the_invocations_of_a_run_or_of_one_attempt(call: Caller) -> None:
    run, other = create_run(call), create_run(call)
    phase, retried = create_phase(call, run.id), create_phase(call, run.id)
    first = create_invocation(call, run.id, phase_result_id=retried.id).id
    second = create_invocation(call, run.id).id
    third = create_invocation(call, run.id, phase_result_id=retried.id).id
    create_invocation(call, other.id)

    everything = call(list_agent_invocations, run.id).items
    assert everything == [call(get_agent_invocation, id) for id in (first, second, third)]
    assert call(list_agent_invocations, run.id, phase_result_id=retried.id).items == [
        everything[0],
        everything[2],
    ]
    assert call(list_agent_invocations, run.id, phase_result_id=phase.id).items == []


# complete_agent_invocation


@pytest.mark.parametrize(
    "cost",
    ["0", "0.000000001", "12.50", "1e-100", "99999999999999999999.5", "1e99", "9" * 100],
)
def test_a_cost_is_kept_to_its_last_digit(call: Caller, cost: str) -> None:
    id = create_invocation(call, create_run(call).id).id
    call(complete_agent_invocation, id, InvocationOutcome(cost_usd=Decimal(cost)))
    assert call(get_agent_invocation, id).cost_usd == Decimal(cost)


def test_what_was_not_reported_is_not_zero(call: Caller) -> None:
    id = create_invocation(call, create_run(call).id).id
    call(complete_agent_invocation, id, InvocationOutcome(input_tokens=0, cost_usd=Decimal(0)))
    stored = call(get_agent_invocation, id)
    assert (stored.input_tokens, stored.cost_usd) == (0, Decimal(0))
    assert (stored.output_tokens, stored.cache_read_tokens, stored.reasoning_tokens) == (None,) * 3


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": 5, "cache_read_tokens": 6},
        {"input_tokens": 5, "cache_read_tokens": 3, "cache_write_tokens": 3},
    ],
)
def test_the_cached_part_of_the_input_is_no_larger_than_the_input(
    call: Caller, usage: dict[str, Any]
) -> None:
    id = create_invocation(call, create_run(call).id).id
    before = contents(call)
    with pytest.raises(InvalidPayload) as raised:
        call(complete_agent_invocation, id, InvocationOutcome(**usage))
    assert raised.value.path == "input_tokens"
    assert contents(call) == before


def test_cached_tokens_may_be_known_where_the_input_is_not(call: Caller) -> None:
    id = create_invocation(call, create_run(call).id).id
    call(complete_agent_invocation, id, InvocationOutcome(cache_read_tokens=5))
    assert call(get_agent_invocation, id).cache_read_tokens == 5


def test_an_outcome_is_not_of_an_unknown_run(call: Caller) -> None:
    id = new_child_id(new_run_id())
    with pytest.raises(NotFound) as raised:
        call(complete_agent_invocation, id, InvocationOutcome())
    assert raised.value.id == id
