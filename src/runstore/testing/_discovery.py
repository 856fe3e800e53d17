"""Finding named queries and the functions that send them."""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runstore._query import Statement
from runstore._sql import Sql, parse


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """A named query and the definition of its function; None for the one that is missing.

    `file` is the name of the query file. `faults` are what is wrong with the pair itself.
    """

    file: str
    name: str
    sql: Sql | None
    define: Callable[..., Any] | None
    faults: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"


def find_queries(directory: Path | str, package: str) -> list[NamedQuery]:
    """Return the queries of a directory's `.sql` files with the functions that send them.

    The functions of `tickets.sql` are those of the module `<package>.tickets`, which is imported:
    what `@query` made of a definition in that module. A query and its function have the same
    name, but for a private function's leading underscore, and stand in the same order. A query
    without a function and a function without a query are in the answer too. A function that
    `@operation` made sends what others define, and is none of these.
    """
    files = sorted(Path(directory).glob("*.sql"))
    if not files:
        raise FileNotFoundError(f"there is no .sql file in {directory}")
    return [query for file in files for query in queries_of(file, f"{package}.{file.stem}")]


def queries_of(file: Path, module: str) -> list[NamedQuery]:
    """Return the queries of one file with the functions of a module that send them."""
    queries = parse(file)
    definitions = _definitions(module)
    functions = {
        name.lstrip("_"): define for name, define in definitions.items() if _is_query(define)
    }
    misplaced = _misplaced(queries, functions)
    found: list[NamedQuery] = []
    for name in {**queries, **functions}:
        faults: list[str] = []
        if name not in queries:
            faults.append(f"{module}.{name} has no query of its name")
        elif name in definitions and name not in functions:
            faults.append(
                f"{module}.{name} sends several statements: this one needs a function of its own, "
                f"a @query named _{name}"
            )
        elif name not in functions:
            faults.append(f"no function of {module} has its name")
        elif name == misplaced:
            faults.append(f"stands in another place of its file than its function in {module}")
        pair = queries.get(name), functions.get(name)
        found.append(NamedQuery(file.name, name, *pair, tuple(faults)))
    return found


def _definitions(module: str) -> dict[str, Callable[..., Any]]:
    """Return the definitions of a module's own queries and operations, in their order."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            return {}
        raise
    return {
        name: function.bind
        for name, function in vars(found).items()
        if inspect.isfunction(getattr(function, "bind", None)) and function.__module__ == module
    }


def _is_query(define: Callable[..., Any]) -> bool:
    try:
        answer = hints_of(define).get("return")
    except NameError:
        return not inspect.isgeneratorfunction(define)
    return answer is Statement or typing.get_origin(answer) is Statement


def hints_of(define: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a definition, evaluated."""
    return typing.get_type_hints(define, include_extras=True)


def _misplaced(queries: Collection[str], functions: Collection[str]) -> str | None:
    """Return the first query that does not stand where its function does."""
    common = [name for name in queries if name in functions]
    placed = [name for name in functions if name in queries]
    pairs = zip(common, placed, strict=True)
    return next((query for query, function in pairs if query != function), None)
