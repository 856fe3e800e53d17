import pytest

from connections import Caller
from factories import create_memory, create_run
from runstore import NotFound, get_memory_record, get_memory_records, new_child_id, new_run_id

# create_memory_record


def test_equal_memories_are_two(call: Caller) -> None:
    run = create_run(call)
    create_memory(call, run.id, content="same")
    create_memory(call, run.id, content="same")
    assert [record.content for record in call(get_memory_records, run.id)] == ["same", "same"]


def test_a_memory_may_be_empty(call: Caller) -> None:
    created = create_memory(call, create_run(call).id, content="")
    assert call(get_memory_record, created.id).content == ""


# get_memory_record


def test_an_unknown_memory_is_not_found(call: Caller) -> None:
    id = new_child_id(create_run(call).id)
    with pytest.raises(NotFound) as raised:
        call(get_memory_record, id)
    assert str(raised.value) == f"memory record {id} does not exist"


# get_memory_records


def test_a_run_remembers_its_own_in_the_order_in_which_it_learnt(call: Caller) -> None:
    run, other = create_run(call), create_run(call)
    made = [
        create_memory(call, run.id, phase="plan", kind="fact", content="one"),
        create_memory(call, run.id, phase="build", kind="decision", content="two"),
        create_memory(call, run.id, kind="fact", content="three"),
    ]
    create_memory(call, other.id)

    records = call(get_memory_records, run.id)
    assert records == [call(get_memory_record, created.id) for created in made]
    assert [
        (record.phase, record.kind, record.content, record.created_at) for record in records
    ] == [
        ("plan", "fact", "one", made[0].created_at),
        ("build", "decision", "two", made[1].created_at),
        (None, "fact", "three", made[2].created_at),
    ]


def test_a_run_that_is_unknown_remembers_nothing(call: Caller) -> None:
    assert call(get_memory_records, new_run_id()) == []
