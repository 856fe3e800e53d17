"""What holds for every function that creates a row."""

from typing import Any

import pytest

from connections import Caller
from contents import changes, clock, contents
from creates import CREATES, Create, again
from runstore import Conflict, NotFound

SIZES = pytest.mark.parametrize("size", ["least", "most"])
EVERY = pytest.mark.parametrize("create", CREATES, ids=str)


@EVERY
@SIZES
def test_a_row_reads_back_as_it_was_given(call: Caller, create: Create, size: str) -> None:
    data: Any = getattr(create, size)(call)
    answer = call(create.function, data)
    row = create.stored(call, data)

    # A row is made without validation: this shows that the types are the model's.
    type(row).model_validate(dict(row), strict=True)
    given: dict[str, Any] = dict(data)
    given.pop("finished", None)
    filled = {name for name in data.optional_fields if given[name] is None}
    assert {name: value for name, value in dict(row).items() if name in given} == {
        name: getattr(row, name) if name in filled else value for name, value in given.items()
    }
    assert all(getattr(row, name) is not None for name in filled)
    assert dict(answer).items() <= dict(row).items()


@EVERY
def test_a_create_writes_its_row_and_no_other(call: Caller, create: Create) -> None:
    data: Any = create.most(call)
    before, start = contents(call), clock(call)
    call(create.function, data)
    written = changes(before, contents(call))

    assert written.keys() == {create.table} | create.also_writes
    assert len(written[create.table]) == 1
    row: Any = create.stored(call, data)
    assert start < row.created_at < clock(call)


@EVERY
@SIZES
def test_a_repeated_create_changes_nothing(call: Caller, create: Create, size: str) -> None:
    data: Any = getattr(create, size)(call)
    answer = call(create.function, data)
    before = contents(call)

    assert call(create.function, again(data)) == answer
    assert contents(call) == before


@pytest.mark.parametrize(
    ("create", "field"),
    [
        pytest.param(create, field, id=f"{create}-{field}")
        for create in CREATES
        for field in create.others
    ],
)
def test_another_content_is_a_conflict(call: Caller, create: Create, field: str) -> None:
    data: Any = create.most(call)
    call(create.function, data)
    before = contents(call)
    value = create.others[field]

    with pytest.raises(Conflict) as raised:
        call(
            create.function,
            again(data, **{field: value(data.id) if callable(value) else value}),
        )
    assert str(raised.value) == f"{data.entity} {data.id} exists with another {field}"
    assert contents(call) == before


@EVERY
def test_every_field_is_compared_that_nothing_changes(call: Caller, create: Create) -> None:
    data: Any = create.most(call)
    assert None not in dict(data).values()
    assert create.others.keys() == dict(data).keys() - {"id", "run_id"} - data.changing_fields


@pytest.mark.parametrize(
    ("create", "parent"),
    [
        pytest.param(create, parent, id=f"{create}-{parent}")
        for create in CREATES
        for parent in create.strangers
    ],
)
def test_an_unknown_parent_is_not_found(call: Caller, create: Create, parent: str) -> None:
    data: Any = create.strangers[parent](create.most(call))
    before = contents(call)

    with pytest.raises(NotFound) as raised:
        call(create.function, data)
    assert raised.value.entity == parent
    assert contents(call) == before


@EVERY
def test_a_row_is_of_the_tenant_of_its_run(call: Caller, create: Create) -> None:
    call.execute("SELECT set_config('runstore.tenant_id', 'first', true)")
    data: Any = create.least(call)
    call.execute("SELECT set_config('runstore.tenant_id', 'second', true)")
    call(create.function, data)

    row: Any = create.stored(call, data)
    assert row.tenant_id == ("second" if create.table == "runs" else "first")
