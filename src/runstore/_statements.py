"""The shapes that statements have: what they answer, and what no row means to them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple, NoReturn, TypeVar, cast
from uuid import UUID

import orjson
from pydantic import BaseModel

from ._arrays import arrays_of
from ._json import Json, equal, refuse_too_much
from ._models import Created, Input, Row, other_than
from ._query import Rows, Statement, Steps
from ._sql import Sql
from .errors import (
    Conflict,
    InvalidPayload,
    InvalidTransition,
    NotFound,
    RunstoreError,
    key_taken,
)

RowT = TypeVar("RowT", bound=Row)
InputT = TypeVar("InputT", bound=Input)
R = TypeVar("R")


def maker(model: type[RowT], *, after: int = 0) -> Callable[[tuple[Any, ...]], RowT]:
    """Return the function that makes a model of a row, of its columns after so many others.

    It does not validate: the types and the order of a query's columns are proven against
    its model by the tests, and a row costs a third of what validation would.
    """
    return _maker(model, after)


@functools.cache
def _maker(model: type[Any], after: int) -> Callable[[tuple[Any, ...]], Any]:
    # Written out for its fields, like the methods of a dataclass: it runs for every row that is
    # read, and the same for any fields, with zip() and dict(), takes twice as long.
    names = tuple(model.model_fields)
    values = "_, " * after + "".join(f"v{number}, " for number, _ in enumerate(names))
    fields = ", ".join(f"{name!r}: v{number}" for number, name in enumerate(names))
    place = {
        "model": model,
        "new": object.__new__,
        "set_fields": BaseModel.__dict__["__dict__"].__set__,
        "set_names": BaseModel.__dict__["__pydantic_fields_set__"].__set__,
        "set_extra": BaseModel.__dict__["__pydantic_extra__"].__set__,
        "set_private": BaseModel.__dict__["__pydantic_private__"].__set__,
        "names": set(names),
    }
    exec(_MAKER.format(values=values, fields=fields), place)  # noqa: S102 - of names of fields.
    return cast("Callable[[tuple[Any, ...]], Any]", place["make"])


_MAKER: Final = """
def make(row):
    {values}= row
    made = new(model)
    set_fields(made, {{{fields}}})
    set_names(made, names)
    set_extra(made, None)
    set_private(made, None)
    return made
"""


def one(
    model: type[RowT],
    sql: Sql,
    parameters: Mapping[str, Any],
    *,
    absent: Callable[[], Steps[RowT]],
    refused: Callable[[RunstoreError], Steps[RowT]] | None = None,
    prepare: bool | None = True,
) -> Statement[RowT]:
    """Answer exactly one row; `absent` says what none means."""
    make = maker(model)
    return Statement(sql, parameters, lambda rows: make(rows[0]), absent, refused, prepare)


def many(
    model: type[RowT], sql: Sql, parameters: Mapping[str, Any], *, prepare: bool | None = True
) -> Statement[list[RowT]]:
    """Answer any number of rows."""
    make = maker(model)
    return Statement(sql, parameters, lambda rows: [make(row) for row in rows], prepare=prepare)


def get(
    model: type[RowT], sql: Sql, entity: str, id: Any, parameters: Mapping[str, Any]
) -> Statement[RowT]:
    """Answer the row of an id, or raise `NotFound`."""
    return one(model, sql, parameters, absent=lambda: not_found(entity, id))


def not_found(entity: str, id: UUID | str) -> Steps[NoReturn]:
    """Raise `NotFound`, as what no row means."""
    yield from ()
    raise NotFound(entity, id)


class SecondKey(NamedTuple):
    """A key that a table has besides its id: its name, and how to know that it is what was taken.

    `field` is the one that may be left out. Without it a row has no such key, unless the database
    fills it. `parent` reads the row under which the key is unique.
    """

    name: str
    field: str
    parent: Callable[[UUID], Statement[Any]]

    def is_of(self, data: Input) -> bool:
        """Tell whether the row of an input has such a key."""
        return self.field in data.optional_fields or data.__dict__[self.field] is not None


def create(
    sql: Sql,
    data: Input,
    *,
    stored: Callable[[UUID], Statement[Any]],
    parent: tuple[str, str],
    second_key: SecondKey | None = None,
) -> Statement[Created]:
    """Insert the row that an input describes, once.

    No row means that its id is taken, by the same content (a success, which answers the
    stored row's key) or by another (`Conflict`), that its parent does not exist (`NotFound`):
    what `parent` names, and the field that has its id; or that another row has the second key
    (`Conflict`).

    The statement says DO NOTHING of every key: one that named the id's would fail at the second
    key where the same row is inserted twice at once. To let it fail and catch that would take a
    savepoint in a caller's transaction, for every create.
    """

    def absent() -> Steps[Created]:
        entity, field = parent
        parent_id = data.__dict__[field]
        try:
            row = yield from same(data, stored(data.__dict__["id"]), (entity, parent_id))
        except NotFound:
            if second_key is None or not second_key.is_of(data):
                raise
            yield from second_key.parent(parent_id)
            raise key_taken(second_key.name) from None
        return Created(**{name: row.__dict__[name] for name in Created.model_fields})

    return Statement(sql, data.parameters(), _read_created, absent)


def _read_created(rows: Rows) -> Created:
    return _make_created(rows[0])


_make_created: Final = maker(Created)


def same(data: Input, stored: Statement[RowT], parent: tuple[str, UUID | str]) -> Steps[RowT]:
    """Answer the stored row of an input's id when it says the same as the input."""
    try:
        row = yield from stored
    except NotFound:
        raise NotFound(*parent) from None
    refuse_differences(data, row)
    return row


def refuse_differences(data: Input, row: Row, prefix: str = "") -> None:
    """Raise `Conflict`, naming the fields, when a stored row says another thing than an input."""
    differences = data.differences(row)
    if differences:
        id = row.__dict__["id"]
        raise Conflict(f"{prefix}{data.entity} {id} exists with another {', '.join(differences)}")


def create_many(
    sql: Sql,
    data: Sequence[InputT],
    expected: type[InputT],
    *,
    stored: Callable[[UUID, list[UUID]], Statement[list[RowT]]],
) -> Statement[list[Created]]:
    """Insert the rows that inputs of one run describe, all or none, and answer their keys in order.

    The statement answers when each was made, in their order: ids that came back would be as many
    objects more. No row means that the run does not exist. An id that is taken is an error of the
    statement, and then means what it means to `create`.
    """
    run_id, columns = columns_of(data, expected)

    def read(rows: Rows) -> list[Created]:
        keys = zip(columns["id"], rows, strict=True)
        return [_make_created((run_id, id, created_at)) for id, (created_at,) in keys]

    def keys_of(rows: list[RowT]) -> list[Created]:
        return [
            Created(**{name: row.__dict__[name] for name in Created.model_fields}) for row in rows
        ]

    def absent() -> Steps[list[Created]]:
        rows = yield from same_many(data, stored(run_id, columns["id"]))
        if not rows:
            raise NotFound("run", run_id)
        return keys_of(rows)

    def refused(error: RunstoreError) -> Steps[list[Created]]:
        # The same batch has arrived before, or while this one waited for it.
        return keys_of((yield from same_taken(error, data, stored(run_id, columns["id"]))))

    parameters = {**arrays_of(sql.text, columns), "run_id": run_id}
    return Statement(sql, parameters, read, absent, refused)


def same_taken(
    error: RunstoreError, data: Sequence[Input], stored: Statement[list[RowT]]
) -> Steps[list[RowT]]:
    """Answer the stored rows of inputs that a key refused, like `same_many`.

    Raises the error again when it says something else, or none of the rows exists. Whichever key
    it names, it may be for a repetition: the server looks first at the key whose index is oldest,
    and an index that was rebuilt is a new one.
    """
    if not isinstance(error, Conflict) or not str(error.constraint).endswith(("_key", "_pkey")):
        raise error
    rows = yield from same_many(data, stored)
    if not rows:
        raise error
    return rows


def same_many(data: Sequence[Input], stored: Statement[list[RowT]]) -> Steps[list[RowT]]:
    """Answer the stored rows of inputs, in their order, when all say the same; none: there is none.

    Raises `Conflict` when one says another thing, or when some of them are missing.
    """
    found = {row.__dict__["id"]: row for row in (yield from stored)}
    if not found:
        return []
    rows: list[RowT] = []
    for index, item in enumerate(data):
        row = found.get(item.__dict__["id"])
        if row is None:
            raise Conflict(f"[{index}]: this {item.entity} is missing; others of its batch exist")
        refuse_differences(item, row, f"[{index}]: ")
        rows.append(row)
    return rows


def columns_of(
    data: Sequence[InputT], expected: type[InputT], name: str = "data"
) -> tuple[UUID, dict[str, list[Any]]]:
    """Return the run of a batch, and its inputs' parameters by name, one list for each.

    Raises `InvalidPayload`, with the index of the input at fault, for an empty batch, a batch
    of several runs, and an id given twice. `name` is the batch's, among the caller's parameters.
    """
    columns = parameter_columns(data, expected, name)
    refuse_too_much(chain.from_iterable(columns[field] for field in expected.json_fields), name)
    run_ids = columns.pop("run_id")
    # Numbers are compared and hashed in C, and ids are not.
    numbers = [run_id.int for run_id in run_ids]
    for index, number in enumerate(numbers):
        if number != numbers[0]:
            raise InvalidPayload(f"[{index}].run_id", "differs from the run of the batch's first")
    refuse_twice(columns["id"], name)
    return run_ids[0], columns


def parameter_columns(
    data: Sequence[InputT], expected: type[InputT], name: str = "data"
) -> dict[str, list[Any]]:
    """Return the parameters of inputs by name, one list for each, and JSON as bytes.

    Raises `InvalidPayload`, with the index of what is no such input, and when there is none.
    """
    for index, item in enumerate(data):
        if not isinstance(item, expected):
            raise other_than(expected, item, f"[{index}].{name}")
    if not data:
        raise InvalidPayload(name, "is empty")
    fields, documents = [item.__dict__ for item in data], [item.documents for item in data]
    columns: dict[str, list[Any]] = {}
    for field in expected.model_fields:
        rows = documents if field in expected.json_fields else fields
        columns[field] = [row[field] for row in rows]
    return columns


def refuse_twice(ids: Sequence[UUID], name: str = "data") -> None:
    """Raise `InvalidPayload` for an id that a batch has twice."""
    if len({id.int for id in ids}) != len(ids):
        raise InvalidPayload(name, "holds an id twice")


def transition(
    model: type[RowT],
    sql: Sql,
    parameters: Mapping[str, Any],
    entity: str,
    stored: Callable[[], Statement[Any] | Steps[Any]],
    *,
    leaves: Mapping[str, object] | None = None,
    allowed_in: str | None = None,
    answer: Callable[[Any], Statement[RowT] | Steps[RowT]] | None = None,
) -> Statement[RowT]:
    """Change a row whose status allows it, once.

    No row means that it does not exist (`NotFound`), that it says already what the change
    `leaves` in it (a repetition), or that its status does not allow the change
    (`InvalidTransition`). A repetition is answered as the change was: by `answer`, or by the
    stored row's fields of the model's names. Without `leaves` there is none.

    `allowed_in` is the status that allows the change where a row may come back to it, so that it
    is found although the change was not made: the row was as the change leaves it in between.
    """
    make = maker(model)

    def found() -> Steps[RowT | None]:
        row: Any = yield from stored()
        if leaves is None or not says(row, leaves):
            if row.status == allowed_in:
                return None
            raise InvalidTransition(entity, row.id, row.status)
        if answer is not None:
            return (yield from answer(row))
        return model(**{name: row.__dict__[name] for name in model.model_fields})

    return change(sql, parameters, lambda rows: make(rows[0]), entity, found)


def change(
    sql: Sql,
    parameters: Mapping[str, Any],
    read: Callable[[Rows], R],
    entity: str,
    found: Callable[[], Steps[R | None]],
) -> Statement[R]:
    """Change rows that others may change at the same time, there and back.

    `found` says what no row means: it answers as the change did where it finds what that leaves,
    raises where the rows do not allow the change, and answers None where they allow it by now.
    The change is then sent again; `Conflict` says that this has happened too often.
    """

    def absent() -> Steps[R]:
        again = Statement(sql, parameters, lambda rows: read(rows) if rows else None)
        for _ in range(_MOST_CHANGES):
            answer = yield from found()
            if answer is None:
                answer = yield from again
            if answer is not None:
                return answer
        raise Conflict(f"the {entity} was written to at the same time; repeat the write")

    return Statement(sql, parameters, read, absent)


# Who is overtaken once is overtaken again with a probability of a half at most.
_MOST_CHANGES: Final = 20


def says(row: Row, values: Mapping[str, object]) -> bool:
    """Tell whether a stored row holds these values, which may be encoded JSON."""
    stored = row.__dict__
    return all(
        equal(stored[name], orjson.loads(bytes(value)) if isinstance(value, Json) else value)
        for name, value in values.items()
    )
