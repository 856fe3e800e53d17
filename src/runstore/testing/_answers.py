"""What the rows of a query hold, by what its function answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, get_args

from runstore._models import Page
from runstore._sql import Kind

from ._annotations import PYTHON_TYPES, element_of, is_model, name_of, shape, values_of
from ._discovery import hints_of

_SCALARS: Final = frozenset(one for types in PYTHON_TYPES.values() for one in types)


class Undeclared(Exception):
    """It cannot be told what the rows of a query are read into."""


def read_rows(define: Callable[..., Any], kind: Kind) -> tuple[Any, ...]:
    """Return the models, or the types of single columns, that a row is read into.

    What `@reads` says. Without it what the definition answers says it: `Statement[list[Ticket]]`
    reads rows into tickets, and a type checker holds the reader to that. Raises `Undeclared`
    where neither does, and where the answer does not fit the kind of the query.
    """
    marked = vars(define).get("reads")
    if marked is not None:
        return tuple(marked)
    answer = get_args(hints_of(define).get("return"))
    if not answer:
        raise Undeclared("its function does not say what it answers")
    item = element_of(answer[-1]) or _item_of_page(answer[-1])
    if (item is None) == (kind == "many"):
        raise Undeclared(f"is :{kind}, and its function answers {name_of(answer[-1])}")
    found = shape(answer[-1] if item is None else item)
    if is_model(found.only):
        if found.nullable != (kind == "maybe"):
            raise Undeclared(f"is :{kind}, and its function answers {name_of(answer[-1])}")
        return (found.only,)
    if all(one in _SCALARS or values_of(one) is not None for one in found.alternatives):
        return (answer[-1] if item is None else item,)
    raise Undeclared(
        f"its function answers {name_of(answer[-1])}: say with @reads what its rows hold"
    )


def _item_of_page(annotation: Any) -> Any:
    if is_model(annotation) and issubclass(annotation, Page):
        return annotation.__pydantic_generic_metadata__["args"][0]
    return None
