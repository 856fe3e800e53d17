from typing import Any

import pytest

import runstore
from connections import Caller
from factories import create_run
from runstore import (
    InvalidPayload,
    NewChatRun,
    NotFound,
    find_runs_between,
    get_run,
    list_runs,
    new_run_id,
)


def tenant(call: Caller, name: str) -> None:
    call.execute("SELECT set_config('runstore.tenant_id', %s, true)", (name,))


# get_run


def test_a_run_is_read_by_its_id(call: Caller) -> None:
    create_run(call)
    run = create_run(call)
    create_run(call)
    assert call(get_run, run.id) == run


def test_an_unknown_run_is_not_found(call: Caller) -> None:
    id = new_run_id()
    with pytest.raises(NotFound) as raised:
        call(get_run, id)
    assert str(raised.value) == f"run {id} does not exist"
    assert (raised.value.entity, raised.value.id) == ("run", id)


# list_runs


def test_a_list_has_the_runs_of_one_tenant(call: Caller) -> None:
    mine = create_run(call)
    acme = create_run(call, tenant_id="acme")

    assert call(list_runs).items == [mine]
    assert call(list_runs, tenant_id="acme").items == [acme]
    tenant(call, "acme")
    assert call(list_runs).items == [acme]
    assert call(list_runs, tenant_id="default").items == [mine]
    # An empty setting, which is what it is reset to, is none.
    tenant(call, "")
    assert call(list_runs).items == [mine]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"kind": "feature"}, {"kind": "chat"}),
        ({"status": "running"}, {"status": "pending"}),
        ({"thread_id": "thread-1"}, {"thread_id": "thread-2"}),
        ({"subject_id": "subject-1"}, {"subject_id": "subject-2"}),
        ({"name": "name-1"}, {"name": "name-2"}),
    ],
)
def test_a_filter_keeps_what_has_its_value(
    call: Caller, one: dict[str, Any], other: dict[str, Any]
) -> None:
    first = create_run(call, thread_id="thread-1", subject_id="subject-1", name="name-1")
    second = call(
        runstore.create_run,
        NewChatRun(thread_id="thread-2", subject_id="subject-2", name="name-2"),
    )
    assert call(list_runs, **one).items == [first]
    assert call(list_runs, **other).items == [second]
    assert call(list_runs, status="failed").items == []


def test_filters_narrow_each_other(call: Caller) -> None:
    create_run(call, name="a", subject_id="x")
    create_run(call, name="b", subject_id="y")
    kept = create_run(call, name="a", subject_id="y")
    assert call(list_runs, name="a", subject_id="y", kind="feature").items == [kept]
    assert call(list_runs, name="a", subject_id="y", kind="chat").items == []


def test_the_newest_run_is_the_first(call: Caller) -> None:
    runs = [create_run(call) for _ in range(3)]
    assert call(list_runs).items == runs[::-1]


# find_runs_between


def test_the_newest_two_runs_of_a_range_are_found(call: Caller) -> None:
    first, second, third = (create_run(call, tenant_id="other") for _ in range(3))

    found = call(find_runs_between, first.id, third.id)
    assert [run.id for run in found] == [third.id, second.id]
    [alone] = call(find_runs_between, second.id, second.id)
    assert dict(alone) == {name: getattr(second, name) for name in type(alone).model_fields}
    assert call(find_runs_between, new_run_id(), new_run_id()) == []


# Values that no query can hold


@pytest.mark.parametrize("name", ["tenant_id", "thread_id", "subject_id", "name"])
def test_a_filter_that_no_row_can_have_is_refused(call: Caller, name: str) -> None:
    filters: dict[str, Any] = {name: "a\0b"}
    with pytest.raises(InvalidPayload, match="NUL"):
        call(list_runs, **filters)


def test_list_runs_finds_the_runs_that_a_run_started(call: Caller) -> None:
    parent = create_run(call)
    children = [create_run(call, parent_run_id=parent.id) for _ in range(2)]

    assert call(list_runs, parent_run_id=parent.id).items == children[::-1]
    assert call(list_runs, parent_run_id=children[0].id).items == []
