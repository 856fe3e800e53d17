"""The columns of a result against the models, or the single types, that its rows are read into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from pydantic import BaseModel

from ._annotations import element_of, is_model, name_of, shape
from ._catalogue import Catalogue
from ._describe import Column, Description, Unpreparable, describe
from ._nullability import Nullability, nullabilities
from ._records import record_may_be_null, record_queries
from ._text import stated_not_null
from ._values import Values


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong, and with which column; None: with the query as a whole."""

    column: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Field:
    """A place in a row: a field of a model, or a column without a name of its own.

    `joined` says that an outer join may leave it NULL together with all of its model.
    """

    name: str | None
    annotation: Any
    model: str
    joined: bool = False

    def null_fault(self, found: Nullability) -> str | None:
        """Say why the field does not take a column that may be NULL, or None when it does."""
        absent = self.joined and found.joined
        if found.reason is None or absent or shape(self.annotation).nullable:
            return None
        return f"may be NULL, since {found.reason}, and the field is {name_of(self.annotation)}"


class Columns:
    """Compares results with what they are read into."""

    def __init__(self, conn: Connection[Any], catalogue: Catalogue, values: Values) -> None:
        self._conn = conn
        self._catalogue = catalogue
        self._values = values

    def compare(
        self, text: str, description: Description, row: Sequence[Any], path: str = ""
    ) -> Iterator[Complaint]:
        """Yield what differs between a query's columns and the models and types of its rows."""
        fields = [field for part in row for field in _fields(part)]
        columns = description.columns
        stated = stated_not_null(text)
        may_be_null = nullabilities(description, text)
        yield from _misnamed(columns, fields, path)
        for index, field in _pairs(columns, fields):
            column, nullability = columns[index], may_be_null[index]
            name = f"{path}{column.name}"
            if column.type.name in ("record", "record[]"):
                yield from self._compare_records(text, index, column, field, name)
                nullability = Nullability(record_may_be_null(text, index))
            else:
                yield from _complain(name, self._values.fault(column, field.annotation))
                if column.type.element and f"{name}[]" not in stated:
                    yield from _complain(f"{name}[]", _null_elements(column, field))
            if name not in stated:
                yield from _complain(name, field.null_fault(nullability))

    def _compare_records(
        self, text: str, index: int, column: Column, field: _Field, name: str
    ) -> Iterator[Complaint]:
        """Compare the rows that a column holds with the model that its field is, or lists."""
        many = column.type.element is not None
        wanted = shape(field.annotation).only
        model = element_of(wanted) if many else wanted
        if not is_model(model):
            held = "rows" if many else "a row"
            yield Complaint(name, f"holds {held}, and the field is {name_of(field.annotation)}")
            return
        texts = record_queries(text, index, list(model.model_fields))
        if not texts:
            forms = "ROW(...), (SELECT ROW(...) FROM ...) or ARRAY(SELECT ROW(...) FROM ...)"
            yield Complaint(name, f"is made in another way than {forms}")
            return
        reasons: list[str] = []
        for record in texts:
            try:
                description = describe(self._conn, self._catalogue, record)
            except Unpreparable as error:
                reasons.append(str(error))
            else:
                inner = f"{name}[]." if many else f"{name}."
                yield from self.compare(record, description, (model,), inner)
                return
        yield Complaint(name, f"its rows cannot be described by themselves: {reasons[-1]}")


def _complain(column: str | None, reason: str | None) -> Iterator[Complaint]:
    if reason is not None:
        yield Complaint(column, reason)


def _fields(part: Any) -> Iterator[_Field]:
    found = shape(part)
    if is_model(found.only):
        model: type[BaseModel] = found.only
        for name, field in model.model_fields.items():
            yield _Field(name, field.annotation, model.__name__, found.nullable)
    else:
        yield _Field(None, part, name_of(part))


def _misnamed(
    columns: Sequence[Column], fields: Sequence[_Field], path: str
) -> Iterator[Complaint]:
    """Yield the columns that have no field, fields without a column, and what changed places."""
    names = [column.name for column in columns]
    wanted = [field.name for field in fields if field.name is not None]
    missing = [field for field in fields if field.name is not None and field.name not in names]
    for field in missing:
        yield Complaint(f"{path}{field.name}", f"{field.model} has this field, the query no column")
    if len(wanted) < len(fields):
        if len(columns) != len(fields):
            yield Complaint(None, f"has {len(columns)} columns where {len(fields)} are read")
            return
    else:
        for name in names:
            if name not in wanted:
                model = fields[0].model if fields else "its answer"
                yield Complaint(f"{path}{name}", f"the query has this column, {model} no field")
    for name in sorted({one for one in names if names.count(one) > max(1, wanted.count(one))}):
        yield Complaint(f"{path}{name}", "two columns have this name")
    if not missing and len(columns) == len(fields) and not _in_place(columns, fields):
        pairs = zip(names, fields, strict=True)
        first = next(name for name, field in pairs if field.name not in (None, name))
        yield Complaint(f"{path}{first}", "stands in another place than its field")


def _in_place(columns: Sequence[Column], fields: Sequence[_Field]) -> bool:
    return len(columns) == len(fields) and all(
        field.name in (None, column.name) for column, field in zip(columns, fields, strict=True)
    )


def _pairs(columns: Sequence[Column], fields: Sequence[_Field]) -> Iterator[tuple[int, _Field]]:
    """Yield each column's place with its field: that of its place, else that of its name."""
    if _in_place(columns, fields):
        yield from enumerate(fields)
        return
    named = {field.name: field for field in fields}
    for index, column in enumerate(columns):
        if column.name in named:
            yield index, named[column.name]


def _null_elements(column: Column, field: _Field) -> str | None:
    """Say why a field does not take an array in which elements may be NULL, or None."""
    items = [element_of(wanted) for wanted in shape(field.annotation).alternatives]
    if any(item is None or shape(item).nullable for item in items):
        return None
    return f"may be NULL in a {column.type.name}, and the field is {name_of(field.annotation)}"
