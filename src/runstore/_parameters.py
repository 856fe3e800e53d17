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

from ._models import Input, other_than, refusal
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
    positional: Sequence[_Check | None] | None = None
    by_name: dict[str, _Check | None] = {}

    @functools.wraps(define)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal positional, by_name
        if positional is None:
            by_name, positional = _checks(define)
        if len(args) > len(positional):
            # Python's own error would count without the connection.
            raise TypeError(_excess(define, by_name, len(positional)))
        values: Any = list(args)
        at: int | str = 0
        try:
            for at, value in enumerate(args):
                if (check := positional[at]) is not None:
                    values[at] = check(value)
            for at, value in kwargs.items():
                if (check := by_name.get(at)) is not None:
                    kwargs[at] = check(value)
        except ValidationError as error:
            name = at if isinstance(at, str) else list(by_name)[at]
            raise refusal(error, name) from None
        return define(*values, **kwargs)

    return call


def _excess(define: Callable[..., Any], names: Iterable[str], most: int) -> str:
    known = list(names)
    last = known[most - 1] if most else "conn"
    named = ", ".join(f"{name}=" for name in known[most:])
    return f"{define.__name__}() takes nothing after {last} by position" + (
        f": name what follows ({named})" if named else ""
    )


def _checks(
    define: Callable[..., Any],
) -> tuple[dict[str, _Check | None], Sequence[_Check | None]]:
    """Return the checks of all parameters, and of those that may be given by position."""
    parameters = inspect.signature(define).parameters
    by_name = {name: _check(define, name) for name in parameters}
    positional = [
        by_name[name]
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
        return _instance(name, hint)
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


def _instance(name: str, model: type[Input]) -> _Check:
    def check(value: Any) -> Any:
        if isinstance(value, model):
            return value
        raise other_than(model, value, name)

    return check


def _several(name: str, kind: type[Any], value: Any) -> Any:
    if isinstance(value, kind) and not isinstance(value, str | bytes):
        return value
    raise InvalidPayload(name, f"must be a list, not a {type(value).__name__}")
