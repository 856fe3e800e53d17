"""The bare parameters of functions, checked by their annotations before anything is sent."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Final, ParamSpec, TypeVar, cast, get_args, get_origin

from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from ._models import Input, refusal
from .errors import InvalidPayload

P = ParamSpec("P")
R = TypeVar("R")

_Check = Callable[[Any], Any]

# An argument is what it is: a text that spells a UUID, or a number that stands for a time, is
# more often a mistake than meant.
_STRICT: Final = ConfigDict(strict=True, hide_input_in_errors=True)


def checked(define: Callable[P, R]) -> Callable[P, R]:
    """Refuse an argument that is not what its annotation says, by `InvalidPayload`.

    Its path starts with the parameter's name. JSON and what lists hold is left to who encodes it,
    and a parameter whose annotation says nothing that can be checked is taken as it is.
    """
    checks = functools.cache(lambda: _checks(define))

    @functools.wraps(define)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        by_name, positional = checks()
        if len(args) > len(positional):
            # Python's own error would count without the connection.
            raise TypeError(_excess(define, by_name, positional))
        values: Any = []
        at = ""
        try:
            for value, (name, check) in zip(args, positional, strict=False):
                at = name
                values.append(value if check is None else check(value))
            for name, value in kwargs.items():
                at = name
                if (check := by_name.get(name)) is not None:
                    kwargs[name] = check(value)
        except ValidationError as error:
            raise refusal(error, at) from None
        return define(*values, **kwargs)

    return call


def _excess(
    define: Callable[..., Any],
    by_name: dict[str, _Check | None],
    positional: list[tuple[str, _Check | None]],
) -> str:
    last = positional[-1][0] if positional else "conn"
    named = ", ".join(f"{name}=" for name in list(by_name)[len(positional) :])
    return f"{define.__name__}() takes nothing after {last} by position" + (
        f": name what follows ({named})" if named else ""
    )


def _checks(
    define: Callable[..., Any],
) -> tuple[dict[str, _Check | None], list[tuple[str, _Check | None]]]:
    parameters = inspect.signature(define).parameters
    by_name = {name: _check(define, name) for name in parameters}
    positional = [
        (name, by_name[name])
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    return by_name, positional


def _check(define: Any, name: str) -> _Check | None:
    annotated = types.SimpleNamespace(
        __annotations__={name: define.__annotations__[name]}
        if name in define.__annotations__
        else {}
    )
    try:
        hints = typing.get_type_hints(
            cast("Any", annotated), inspect.unwrap(define).__globals__, include_extras=True
        )
    except NameError:
        # A name that only its author's type checker can see.
        return None
    hint = hints.get(name, Any)
    origin = get_origin(hint)
    is_later = any(_is_encoded_later(part) for part in _parts(hint))
    if origin is Collection or (is_later and origin in (Sequence, Iterable)):
        return functools.partial(_several, name, origin)
    if _is_input(hint):
        return functools.partial(_instance, name, hint)
    if is_later:
        return None
    try:
        return TypeAdapter[Any](hint, config=_STRICT).validator.validate_python
    except PydanticUserError:
        return None


def _parts(hint: Any) -> Iterator[Any]:
    yield hint
    for part in get_args(hint):
        yield from _parts(part)


def _is_encoded_later(hint: Any) -> bool:
    return _is_input(hint) or hint is Any or hint is object or hint is JsonValue


def _is_input(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Input)


def _instance(name: str, model: type[Input], value: Any) -> Any:
    if isinstance(value, model):
        return value
    raise InvalidPayload(name, f"must be a {model.__name__}, not a {type(value).__name__}")


def _several(name: str, kind: type[Any], value: Any) -> Any:
    if isinstance(value, kind) and not isinstance(value, str | bytes):
        return value
    raise InvalidPayload(name, f"must be a list, not a {type(value).__name__}")
