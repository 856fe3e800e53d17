import pytest

from connections import Caller
from factories import create_run, create_sandbox, create_snapshot
from runstore import NotFound, get_snapshot, list_snapshots

# create_snapshot_record


def test_snapshots_build_on_each_other(call: Caller) -> None:
    run = create_run(call)
    create_sandbox(call, run.id)
    create_snapshot(call, run.id, id="first")
    second = create_snapshot(call, run.id, id="second", parent_snapshot_id="first")
    assert second.parent_snapshot_id == "first"


def test_runs_may_have_snapshots_of_one_id(call: Caller) -> None:
    runs = [create_run(call), create_run(call)]
    for number, run in enumerate(runs):
        create_sandbox(call, run.id)
        create_snapshot(call, run.id, id="same", size_bytes=number)
    assert [call(get_snapshot, run.id, "same").size_bytes for run in runs] == [0, 1]


def test_a_sandbox_or_a_snapshot_of_another_run_is_not_found(call: Caller) -> None:
    run, other = create_run(call), create_run(call)
    create_sandbox(call, run.id, id="mine")
    create_sandbox(call, other.id, id="theirs")
    create_snapshot(call, other.id, id="theirs", sandbox_id="theirs")

    with pytest.raises(NotFound) as raised:
        create_snapshot(call, run.id, sandbox_id="theirs")
    assert (raised.value.entity, raised.value.id) == ("sandbox", "theirs")
    with pytest.raises(NotFound) as raised:
        create_snapshot(call, run.id, sandbox_id="mine", parent_snapshot_id="theirs")
    assert raised.value.entity == "parent snapshot"
    assert call(list_snapshots, run.id).items == []


# get_snapshot


def test_a_snapshot_is_read_by_its_run_and_its_id(call: Caller) -> None:
    run, other = create_run(call), create_run(call)
    create_sandbox(call, run.id)
    snapshot = create_snapshot(call, run.id, id="one")
    create_snapshot(call, run.id, id="two")

    assert call(get_snapshot, run.id, "one") == snapshot
    with pytest.raises(NotFound) as raised:
        call(get_snapshot, other.id, "one")
    assert (raised.value.entity, raised.value.id) == ("snapshot", "one")


# list_snapshots


def test_a_list_has_the_snapshots_of_a_run_or_of_one_sandbox(call: Caller) -> None:
    run, other = create_run(call), create_run(call)
    for owner in (run, other):
        for sandbox in ("a", "b"):
            create_sandbox(call, owner.id, id=sandbox)
    first = create_snapshot(call, run.id, id="z", sandbox_id="a")
    second = create_snapshot(call, run.id, id="y", sandbox_id="b")
    third = create_snapshot(call, run.id, id="x", sandbox_id="a")
    create_snapshot(call, other.id, id="w", sandbox_id="a")

    assert call(list_snapshots, run.id).items == [first, second, third]
    assert call(list_snapshots, run.id, sandbox_id="a").items == [first, third]
    assert call(list_snapshots, run.id, sandbox_id="c").items == []
