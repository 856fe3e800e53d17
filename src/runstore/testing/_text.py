"""The text of a query: what its comments say, and its select list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_NOT_NULL: Final = re.compile(r"^-- not null: (.+)$", re.MULTILINE)
_MAY_SCAN: Final = re.compile(r"^-- may scan ([\w., ]+): \S.*$", re.MULTILINE)

# Comments, string constants and dollar quotes: in them nothing is SQL. Quoted names are names.
_TEXTS: Final = r"""--[^\n]*|/\*.*?\*/|[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|(\$\w*\$).*?\1"""
_NO_CODE: Final = re.compile(_TEXTS, re.DOTALL)
_OPAQUE: Final = re.compile(rf"""{_TEXTS}|"(?:[^"]|"")*\"""", re.DOTALL)
_WORD_OR_SIGN: Final = re.compile(r"\w+|[^\w\s]")


def stated_not_null(text: str) -> tuple[str, ...]:
    """Return what the comment `-- not null: a, b` names."""
    return _listed(_NOT_NULL, text)


def stated_scans(text: str) -> tuple[str, ...]:
    """Return the tables that the comment `-- may scan a, b: reason` names."""
    return _listed(_MAY_SCAN, text)


def _listed(comment: re.Pattern[str], text: str) -> tuple[str, ...]:
    return tuple(item.strip() for found in comment.findall(text) for item in found.split(","))


def words(text: str) -> frozenset[str]:
    """Return the words of a query outside its comments and strings, those of names included."""
    return frozenset(re.findall(r"\w+", _NO_CODE.sub(" ", text).lower()))


def bare(text: str) -> str:
    """Blank out comments, strings and quoted names, so that what is left stays in its place."""
    return _OPAQUE.sub(lambda match: " " * len(match[0]), text)


_CLAUSES: Final = ("WHERE", "GROUP", "HAVING", "WINDOW", "ORDER", "LIMIT", "OFFSET", "FETCH", "FOR")


@dataclass(frozen=True, slots=True)
class Select:
    """A SELECT taken apart: what stands before it, its list, its FROM, and what comes after."""

    before: str
    items: tuple[str, ...]
    source: str
    after: str


def split_select(text: str) -> Select | None:
    """Take apart a statement whose outermost command is one SELECT."""
    marks = list(_outermost(text))
    selects = [end for word, _, end in marks if word == "SELECT"]
    if len(selects) != 1:
        return None
    [start] = selects
    later = [(word, at) for word, at, _ in marks if at >= start and word in _CLAUSES]
    source = [
        at
        for (before, _, _), (word, at, _) in pairwise(marks)
        if word == "FROM" and before != "DISTINCT" and at > start
    ]
    end = later[0][1] if later else len(text)
    stop = source[0] if source else end
    commas = [at for word, at, _ in marks if word == "," and start < at < stop]
    edges = zip([start, *(at + 1 for at in commas)], [*commas, stop], strict=True)
    items = tuple(text[left:right].strip() for left, right in edges)
    return Select(text[: start - len("SELECT")], items, text[stop:end], text[end:])


def inside(item: str, constructor: str) -> str | None:
    """Return what stands in the parentheses of `constructor(...)`, when the item is just that.

    A constructor that is empty: in the item's own parentheses.
    """
    masked = bare(item)
    opening = re.match(rf"\s*{constructor}\s*\(", masked, re.IGNORECASE)
    if opening is None:
        return None
    closing = next((at for sign, at, _ in _outermost(item) if sign == ")"), None)
    if closing is None or re.search(r"[^\s\w]", masked[closing + 1 :]):
        return None
    return item[opening.end() : closing]


def _outermost(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the words and signs outside all parentheses, with where they start and end.

    Of parentheses themselves the outermost closing ones.
    """
    depth = 0
    for found in _WORD_OR_SIGN.finditer(bare(text)):
        sign = found[0].upper()
        if sign in ("(", "["):
            depth += 1
        elif sign in (")", "]"):
            depth -= 1
        if depth == 0:
            yield sign, found.start(), found.end()
