"""Sample arguments: values of the types that a function's parameters have."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import AwareDatetime, BaseModel, JsonValue

from runstore._json import Json

from ._annotations import shape

# A run id, and so an id of the run's own children too.
SAMPLE_ID: Final = uuid.UUID("01997000-0000-7000-8000-000000000000")
SAMPLE_TIME: Final = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)

_VALUES: Final[Mapping[Any, Any]] = {
    Any: "sample",
    AwareDatetime: SAMPLE_TIME,
    Decimal: Decimal(1),
    Json: Json(b'{"sample": 1}'),
    JsonValue: {"sample": 1},
    bool: True,
    bytes: b"sample",
    dt.date: SAMPLE_TIME.date(),
    dt.datetime: SAMPLE_TIME,
    dt.time: SAMPLE_TIME.timetz(),
    dt.timedelta: dt.timedelta(minutes=1),
    float: 1.0,
    int: 1,
    object: "sample",
    str: "sample",
    uuid.UUID: SAMPLE_ID,
}

_LISTS: Final = (list, Sequence, Collection, Iterable)


class NoSample(Exception):
    """There is no sample for a type: register one."""


class Samples:
    """Values for the parameters of functions, by a parameter's name or by its type.

    Standard types, lists, mappings, `Literal`, `Enum` and pydantic models have theirs. Register
    one for what needs a value of its own: a model whose fields depend on one another, a text
    with a form. A parameter whose sample is None is called without it.
    """

    def __init__(self) -> None:
        self._names: dict[str, Any] = {"cursor": None, "timezone": "UTC"}
        self._types: dict[Any, Any] = dict(_VALUES)

    def register(self, kind: Any, value: Any) -> None:
        """Set the sample for a type, as a parameter's annotation names it."""
        self._types[kind] = value

    def register_name(self, name: str, value: Any) -> None:
        """Set the sample for every parameter and field of this name."""
        self._names[name] = value

    def named(self, name: str, annotation: Any) -> Any:
        """Return the sample for a parameter or a field. Raises `NoSample`."""
        return self._names[name] if name in self._names else self.of(annotation)

    def of(self, annotation: Any) -> Any:
        """Return the sample for an annotation. Raises `NoSample`."""
        if self._has(annotation):
            return self._types[annotation]
        for alternative in shape(annotation).alternatives:
            if self._has(alternative):
                return self._types[alternative]
            return self._of_form(alternative)
        return None

    def _has(self, annotation: Any) -> bool:
        return isinstance(annotation, Hashable) and annotation in self._types

    def _of_form(self, annotation: Any) -> Any:
        origin, arguments = get_origin(annotation), get_args(annotation)
        if origin is Literal:
            return arguments[0]
        if origin in _LISTS:
            return [self.of(arguments[0])]
        if origin is tuple:
            return tuple(self.of(item) for item in arguments if item is not ...)
        if origin in (dict, Mapping):
            return {self.of(arguments[0]): self.of(arguments[1])}
        if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
            return next(iter(annotation))
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return self._of_model(annotation)
        raise NoSample(f"there is no sample for {annotation}: register one")

    def _of_model(self, model: type[BaseModel]) -> BaseModel:
        given = {
            field.alias or name: self.named(name, field.annotation)
            for name, field in model.model_fields.items()
        }
        try:
            return model(**{name: value for name, value in given.items() if value is not None})
        except ValueError as error:
            raise NoSample(f"{model.__name__} refuses samples: {error}; register one") from None
