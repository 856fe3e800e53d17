"""The order in which tables can be filled: each after those that it refers to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._filling import Reference


def in_order(
    schema: str,
    tables: Iterable[str],
    references: Iterable[Reference],
    cuts: Iterable[Callable[[Reference], bool]],
) -> tuple[list[str], list[Reference]]:
    """Return tables, each after those that it refers to, and the references that this leaves out.

    Where tables refer to each other in a cycle, the first of `cuts` that says of a foreign key in
    it that rows can do without leaves it out. Raises `ValueError` where none does.
    """
    tables, cuts = list(tables), list(cuts)
    kept = [
        key
        for key in references
        if key.table_name in tables
        and key.target_schema == schema
        and key.target_name in tables
        and key.target_name != key.table_name
    ]
    left_out: list[Reference] = []
    while True:
        order = TopologicalSorter[str]({table: set() for table in tables})
        for key in kept:
            order.add(key.table_name, key.target_name)
        try:
            return list(order.static_order()), left_out
        except CycleError as error:
            cycle: list[str] = error.args[1]
        cut = _cut(cycle, kept, cuts)
        if not cut:
            names = ", ".join(f"{schema}.{name}" for name in reversed(cycle[1:]))
            raise ValueError(
                f"cannot fill {names}: they refer to each other, and none of these references"
                " may be NULL; pass `values` for the columns of one"
            )
        kept = [key for key in kept if key not in cut]
        left_out += cut


def _cut(
    cycle: list[str], references: list[Reference], cuts: list[Callable[[Reference], bool]]
) -> list[Reference]:
    """Return the foreign keys from one table of a cycle to the next that rows can do without."""
    # Each table is one that the next refers to.
    steps = [
        [key for key in references if (key.target_name, key.table_name) == step]
        for step in pairwise(cycle)
    ]
    for is_free in cuts:
        for keys in steps:
            if all(map(is_free, keys)):
                return keys
    return []
