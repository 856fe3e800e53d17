"""What holds for every function that changes a row."""

from typing import Any

import pytest

from connections import Caller
from contents import changes, clock, contents
from runstore import InvalidTransition, NotFound
from transitions import TRANSITIONS, Transition

EVERY = pytest.mark.parametrize("change", TRANSITIONS, ids=str)


def make(call: Caller, change: Transition, id: object) -> Any:
    return call(change.function, id, **change.arguments)


@EVERY
def test_a_change_changes_its_row_and_no_other(call: Caller, change: Transition) -> None:
    change.entity.fresh(call)
    id = change.entity.fresh(call)
    change.entity.fresh(call)
    old = dict(change.entity.stored(call, id))
    before, start = contents(call), clock(call)

    answer = make(call, change, id)
    end = clock(call)
    written = changes(before, contents(call))
    row = change.entity.stored(call, id)
    changed = {name: value for name, value in row if value != old[name]}

    assert answer == change.answer(row)

    assert written.keys() == {change.entity.table} | change.also_writes
    assert all(len(rows) == 1 for rows in written.values())
    assert {name: changed[name] for name in change.leaves} == change.leaves
    assert all(start <= changed[name] <= end for name in change.times)
    assert changed.keys() == change.leaves.keys() | change.times


@EVERY
def test_an_unknown_row_is_not_found(call: Caller, change: Transition) -> None:
    change.entity.fresh(call)
    before = contents(call)
    id = change.entity.unknown()

    with pytest.raises(NotFound) as raised:
        make(call, change, id)
    assert (raised.value.entity, raised.value.id) == (change.entity.name, id)
    assert contents(call) == before


@EVERY
def test_a_repeated_change_changes_nothing_and_answers_as_it_did(
    call: Caller, change: Transition
) -> None:
    id = change.entity.fresh(call)
    answer = make(call, change, id)
    before = contents(call)

    assert make(call, change, id) == answer
    assert contents(call) == before


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(first, second, id=f"{first}-then-{second}")
        for first in TRANSITIONS
        for second in TRANSITIONS
        if first.final and first.entity.table == second.entity.table and not second.repeats(first)
    ],
)
def test_what_is_over_never_changes(call: Caller, first: Transition, second: Transition) -> None:
    id = first.entity.fresh(call)
    make(call, first, id)
    before = contents(call)

    with pytest.raises(InvalidTransition) as raised:
        make(call, second, id)
    assert raised.value.status == first.final
    assert (raised.value.entity, raised.value.id) == (second.entity.name, id)
    assert str(raised.value) == f"{second.entity.name} {id} is {first.final}"
    assert contents(call) == before
