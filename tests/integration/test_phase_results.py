import pytest

from connections import Caller
from contents import contents
from factories import create_phase, create_run, new_phase_result
from runstore import (
    Conflict,
    NotFound,
    create_phase_result,
    fail_phase_result,
    get_phase_result,
    get_phase_results,
    new_child_id,
    new_run_id,
    pass_phase_result,
)

# create_phase_result


def test_attempts_are_counted_for_each_phase_of_each_run(call: Caller) -> None:
    run, other = create_run(call), create_run(call)
    ids = [
        create_phase(call, run.id, phase="build").id,
        create_phase(call, run.id, phase="build").id,
        create_phase(call, run.id, phase="test").id,
        create_phase(call, other.id, phase="build").id,
        create_phase(call, run.id, phase="build", attempt=7).id,
        create_phase(call, run.id, phase="build").id,
    ]
    assert [call(get_phase_result, id).attempt for id in ids] == [1, 2, 1, 1, 7, 8]


def test_an_attempt_is_made_once(call: Caller) -> None:
    run = create_run(call)
    create_phase(call, run.id, attempt=2)
    before = contents(call)
    with pytest.raises(Conflict) as raised:
        create_phase(call, run.id, attempt=2)
    assert raised.value.constraint == "phase_results_run_id_phase_attempt_key"
    assert contents(call) == before


def test_a_repeated_create_takes_no_second_number(call: Caller) -> None:
    run = create_run(call)
    data = new_phase_result(run.id)
    created = call(create_phase_result, data)
    create_phase(call, run.id)
    call(pass_phase_result, data.id, {"done": True})
    before = contents(call)

    assert call(create_phase_result, data) == created
    assert contents(call) == before


# get_phase_result


def test_an_unknown_attempt_is_not_found(call: Caller) -> None:
    id = new_child_id(create_run(call).id)
    with pytest.raises(NotFound) as raised:
        call(get_phase_result, id)
    assert str(raised.value) == f"phase result {id} does not exist"


# get_phase_results


def test_all_attempts_of_a_run_come_in_the_order_in_which_they_were_made(call: Caller) -> None:
    run, other = create_run(call), create_run(call)
    made = [create_phase(call, run.id, phase=phase).id for phase in ("b", "a", "b", "c")]
    create_phase(call, other.id)

    results = call(get_phase_results, run.id)
    assert [(result.id, result.phase, result.attempt) for result in results] == [
        (id, phase, attempt)
        for id, phase, attempt in zip(made, ("b", "a", "b", "c"), (1, 1, 2, 1), strict=True)
    ]
    assert results == [call(get_phase_result, id) for id in made]


def test_an_unknown_run_has_no_attempts(call: Caller) -> None:
    assert call(get_phase_results, new_run_id()) == []


# pass_phase_result, fail_phase_result


def test_an_attempt_that_failed_leaves_room_for_the_next(call: Caller) -> None:
    run = create_run(call)
    first = create_phase(call, run.id).id
    call(fail_phase_result, first, error="a test failed", output={"passed": 3})
    second = create_phase(call, run.id).id
    call(pass_phase_result, second, {"passed": 4})

    assert [
        (result.attempt, result.status, result.output, result.error)
        for result in call(get_phase_results, run.id)
    ] == [
        (1, "failed", {"passed": 3}, "a test failed"),
        (2, "passed", {"passed": 4}, None),
    ]
