"""Calls of a query's function with sample arguments, without any connection."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from psycopg import adapters
from psycopg.types.json import Json as PsycopgJson
from psycopg.types.json import Jsonb

from runstore._arrays import Array, element_of
from runstore._json import Json
from runstore._query import Statement
from runstore.errors import RunstoreError

from ._annotations import JSON, PYTHON_TYPES
from ._catalogue import PgType
from ._discovery import hints_of
from ._samples import NoSample, Samples

_REFUSALS: Final = (RunstoreError, ValueError, TypeError, LookupError)

# Beside what psycopg reads a type as: the numbers that it holds as well.
_PARAMETERS: Final[Mapping[str, tuple[type, ...]]] = {
    "double precision": (float, int),
    "numeric": (Decimal, int),
    "real": (float, int),
}


class Unbindable(Exception):
    """A function does not take the samples of its parameters."""


def bound_statements(define: Callable[..., Any], samples: Samples) -> list[Statement[Any]]:
    """Return the statements of a function for sample arguments.

    It is called with what it needs, with each option by itself, and with all of them. A call
    may be refused, since options may need or exclude one another; every option has to be in
    one that is not. Raises `Unbindable`.
    """
    statements: list[Statement[Any]] = []
    refusals: dict[str, Exception] = {}
    last: Exception | None = None
    taken: set[str] = set()
    try:
        calls = list(_sampled_calls(define, samples))
    except NoSample as error:
        raise Unbindable(str(error)) from None
    for arguments in calls:
        try:
            statements.append(define(**arguments))
        except _REFUSALS as error:
            last = error
            refusals |= dict.fromkeys(arguments, error)
        else:
            taken |= arguments.keys()
    for name, refusal in refusals.items():
        if name not in taken:
            raise Unbindable(
                f"its function refuses the sample for {name}: {refusal}; register another one"
            )
    if not statements:
        raise Unbindable(f"its function cannot be called without a connection: {last}")
    return statements


def _sampled_calls(define: Callable[..., Any], samples: Samples) -> Iterator[dict[str, Any]]:
    hints = hints_of(define)
    parameters = [
        parameter
        for parameter in inspect.signature(define).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    values = {
        parameter.name: samples.named(parameter.name, hints.get(parameter.name, Any))
        for parameter in parameters
    }
    needed = {
        parameter.name: values[parameter.name]
        for parameter in parameters
        if parameter.default is parameter.empty
    }
    options = {
        name: value for name, value in values.items() if name not in needed and value is not None
    }
    yield needed
    for name, value in options.items():
        yield {**needed, name: value}
    if len(options) > 1:
        yield {**needed, **options}


def sent_parameters(
    statements: Sequence[Statement[Any]], types: Mapping[str, PgType], samples: Samples
) -> list[Mapping[str, Any]]:
    """Return the parameters to send: what the calls bind, and once with no NULL among them.

    So a list is planned for a later page too, whose start no sample can say.
    """
    bound = [statement.parameters for statement in statements]
    full = {
        name: _value_of(types[name], samples) if value is None and name in types else value
        for name, value in bound[-1].items()
    }
    return [*bound, full]


def _value_of(type: PgType, samples: Samples) -> Any:
    if type.name in JSON:
        return Json(b"{}")
    if type.element is not None:
        return []
    try:
        return samples.of(PYTHON_TYPES[type.name][0])
    except (KeyError, NoSample):
        return None


def takes(type: PgType, value: Any) -> bool:
    """Say whether a parameter takes a value as what it is.

    PostgreSQL would read many others too: it gets every value as text, and an int may stand
    where a text is asked for.
    """
    if type.name in JSON:
        return isinstance(value, Json | PsycopgJson | Jsonb)
    if type.element is not None:
        if isinstance(value, Array):
            return element_of(value) == adapters.types[type.element].oid
        return isinstance(value, list)
    types = _PARAMETERS.get(type.name) or PYTHON_TYPES.get(type.name)
    if types is None:
        return True
    # To Python a bool is an int.
    return bool in types if isinstance(value, bool) else isinstance(value, types[:2])
