"""Inputs made of plain values, about which pydantic has nothing to say.

To ask it costs more than all else that making an input does, and nearly every value is the
same with and without: a UUID, a short text of ASCII, a number in its range. So each input has a
function, written out for its fields, that takes exactly those, and leaves everything else to
pydantic: what it refuses, what it converts, and what nobody here knows.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, cast, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .ids import is_of_run, is_run

Make = Callable[[BaseModel, dict[str, Any]], bool]
"""Fills an input from what is given and answers True, or answers False for pydantic to do it."""


class Plain(NamedTuple):
    """The plain values of a type: an expression that is true of the value `{v}` if it is one.

    It may use the functions of this module, `values`, in which all fields before are as they are
    kept, `{before}`, a tuple of them, and `{run_id}`, the one of that name. `taken` is what is kept
    of the value. `functions` are what else the two call.
    """

    condition: str
    taken: str = "{v}"
    functions: tuple[Callable[..., object], ...] = ()


Known = Sequence[tuple[Any, Plain]]
"""The types of fields whose plain values are known."""

_ABSENT: Final = object()
_LONGEST: Final = 255
_SIMPLE: Final = (type(None), bool, int, str, timedelta)
_MAKE: Final = """
def make(self, given):
    values = defaults | given
    if len(values) != {count}:
        return False
    {steps}
    set_fields(self, values)
    set_names(self, names_of(tuple(given)))
    set_extra(self, None)
    set_private(self, None)
    return {valid}
"""


@functools.lru_cache(maxsize=1024)
def _names_of(given: tuple[str, ...]) -> set[str]:
    # One set for all inputs of which the same is given, which are frozen.
    return set(given)


def is_key(value: object) -> bool:
    """Say of a text that it is 1 to 255 characters of ASCII without a NUL."""
    return (
        type(value) is str and 0 < len(value) <= _LONGEST and value.isascii() and "\0" not in value
    )


def is_run_of(id: object, ids: Iterable[UUID | None]) -> bool:
    """Say of an id that it is a run's, and the run of all these ids."""
    if type(id) is not UUID or not is_run(id):
        return False
    return all(each is None or is_of_run(each, id) for each in ids)


def holds(validate: Callable[[BaseModel], BaseModel], made: BaseModel) -> bool:
    """Say that a model's own validator has nothing against it."""
    try:
        return validate(made) is made
    except Exception:  # noqa: BLE001 - pydantic says the same once more, in its words.
        return False


def maker(model: type[BaseModel], base: type[BaseModel], known: Known) -> Make:
    """Return what makes a model that is derived from a base of plain values."""
    validators = _validators(model)
    if validators is None or model.model_config != base.model_config:
        return _leave
    try:
        hints = typing.get_type_hints(model, include_extras=True)
    except NameError:
        # A name that only its author's type checker can see.
        return _leave
    defaults = dict.fromkeys(model.model_fields, _ABSENT)
    place: dict[str, Any] = {
        "UUID": UUID,
        "absent": _ABSENT,
        "defaults": defaults,
        "holds": holds,
        "is_key": is_key,
        "is_of_run": is_of_run,
        "is_run": is_run,
        "is_run_of": is_run_of,
        "names_of": _names_of,
        "set_fields": BaseModel.__dict__["__dict__"].__set__,
        "set_names": BaseModel.__dict__["__pydantic_fields_set__"].__set__,
        "set_extra": BaseModel.__dict__["__pydantic_extra__"].__set__,
        "set_private": BaseModel.__dict__["__pydantic_private__"].__set__,
    }
    steps: list[str] = []
    variables: dict[str, str] = {}
    for number, (name, field) in enumerate(model.model_fields.items()):
        v = f"v{number}"
        plain = _plain(hints[name], field, known)
        if plain is None or ("{run_id}" in plain.condition and "run_id" not in variables):
            plain = Plain("False")
        place |= {each.__name__: each for each in plain.functions}
        before = "".join(f"{variable}, " for variable in variables.values())
        words = {"v": v, "before": f"({before})", "run_id": variables.get("run_id")}
        plain = Plain(plain.condition.format(**words), plain.taken.format(**words))
        if type(field.default) in _SIMPLE:
            defaults[name] = field.default
        if field.default_factory is not None:
            place[f"{v}_default"] = field.default_factory
        steps += _steps(name, v, field, plain)
        variables[name] = v
    valid = [f"holds(validator{number}, self)" for number, _ in enumerate(validators)]
    place |= {f"validator{number}": each for number, each in enumerate(validators)}
    words = {"steps": "\n    ".join(steps), "valid": " and ".join(valid) or "True"}
    made = _MAKE.format(count=len(defaults), **words)
    exec(made, place)  # noqa: S102 - of names of fields, and what is written here.
    return cast("Make", place["make"])


def _leave(made: BaseModel, given: dict[str, Any]) -> bool:
    """Leave all to pydantic."""
    return False


def _validators(model: type[BaseModel]) -> list[Callable[[Any], Any]] | None:
    """Return the model's own validators; None: it has some that only pydantic can run."""
    found = model.__pydantic_decorators__
    others = (
        found.validators, found.field_validators, found.root_validators,
        model.__private_attributes__, model.__pydantic_post_init__,
    )  # fmt: skip
    if any(others):
        return None
    validators: list[Callable[[Any], Any]] = []
    for each in found.model_validators.values():
        if each.info.mode != "after" or len(inspect.signature(each.func).parameters) != 1:
            return None
        validators.append(each.func)
    return validators


def _steps(name: str, v: str, field: FieldInfo, plain: Plain) -> list[str]:
    """Return the lines that take one field."""
    take = f"{v} = values[{name!r}]"
    keep = [] if plain.taken == v else [f"values[{name!r}] = {v} = {plain.taken}"]
    refuse = (
        [] if plain.condition == "True" else [f"if not ({plain.condition}):", "    return False"]
    )
    if field.default_factory is not None and not field.validate_default:
        given = "values" if field.default_factory_takes_validated_data else ""
        return [
            take,
            f"if {v} is absent:",
            f"    values[{name!r}] = {v} = {v}_default({given})",
            "else:",
            *(f"    {line}" for line in [*refuse, *keep] or ["pass"]),
        ]
    if type(field.default) not in _SIMPLE:
        # What is absent is plain to no type but that of JSON.
        return [take, *(refuse or [f"if {v} is absent:", "    return False"]), *keep]
    if plain.condition == "False" and not field.validate_default:
        return [take, f"if {name!r} in given:", "    return False"]
    return [take, *refuse, *keep]


def _plain(hint: Any, field: FieldInfo, known: Known) -> Plain | None:
    """Say which values are plain to a field; None: not known."""
    names = (field.alias, field.validation_alias)
    if names != (None, None) or field.metadata != FieldInfo.from_annotation(hint).metadata:
        return None
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    rest = [part for part in parts if part is not type(None)]
    plain = _known(rest[0], known) if len(rest) == 1 else None
    if plain is None or len(rest) == len(parts):
        return plain
    taken = plain.taken if plain.taken == "{v}" else f"None if {{v}} is None else {plain.taken}"
    return plain._replace(condition=f"{{v}} is None or {plain.condition}", taken=taken)


def _known(hint: Any, known: Known) -> Plain | None:
    if hint is UUID:
        return Plain("type({v}) is UUID")
    if hint is bool:
        return Plain("({v} is True or {v} is False)")
    if get_origin(hint) is Literal:
        return _one_of(get_args(hint))
    if get_origin(hint) is Annotated and get_args(hint)[0] is int:
        return _range(get_args(hint)[1:])
    return next((plain for each, plain in known if each == hint), None)


def _one_of(words: tuple[Any, ...]) -> Plain | None:
    if any(type(word) is not str or not word.isidentifier() for word in words):
        return None
    return Plain(f"(type({{v}}) is str and {{v}} in {words!r})")


def _range(marks: tuple[Any, ...]) -> Plain | None:
    """Say which integers are plain to `Annotated[int, Field(strict=True, ge=..., lt=...)]`."""
    if len(marks) != 1 or not isinstance(marks[0], FieldInfo):
        return None
    bounds = {
        bound: value
        for mark in marks[0].metadata
        for bound in ("strict", "ge", "lt")
        if type(value := getattr(mark, bound, None)) in (bool, int)
    }
    if len(bounds) != len(marks[0].metadata) or bounds.keys() != {"strict", "ge", "lt"}:
        return None
    return Plain(f"(type({{v}}) is int and {bounds['ge']} <= {{v}} < {bounds['lt']})")
