"""The named queries of `sql/`, loaded once at import.

A file's queries start with `-- name: verb_noun :kind` and hold one statement each. The
name stays in the text that is sent, so that `pg_stat_activity` and the server's log name
the query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, LiteralString, cast, get_args

Kind = Literal["one", "maybe", "many", "value", "count"]

_HEADER: Final = re.compile(r"^-- name: ([a-z][a-z0-9_]*) :([a-z]+)$", re.MULTILINE)
_PLACEHOLDER: Final = re.compile(r"%(?:\((\w+)\)([sbt])|%)")
_PACKAGE: Final = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Sql:
    """One named query: its text, and how many rows it answers."""

    name: str
    kind: Kind
    text: LiteralString

    @property
    def placeholders(self) -> frozenset[str]:
        """The names of its parameters."""
        return frozenset(number_placeholders(self.text).names)


@dataclass(frozen=True, slots=True)
class Numbered:
    """A query with $1, $2 for its named placeholders.

    `names` are theirs in that order, `formats` say of each what psycopg's letter says: s, b or t.
    `plain` is False when the text holds a percent sign that is no placeholder, or a name in two
    formats, which psycopg refuses.
    """

    text: str
    names: tuple[str, ...]
    formats: tuple[str, ...]
    plain: bool


def number_placeholders(text: str) -> Numbered:
    """Replace psycopg's placeholders by PostgreSQL's, the first one named by $1."""
    formats: dict[str, str] = {}
    numbers: dict[str, int] = {}
    plain = "%" not in _PLACEHOLDER.sub("", text)

    def number(match: re.Match[str]) -> str:
        nonlocal plain
        name, format = match[1], match[2]
        if name is None:
            return "%"
        plain &= formats.setdefault(name, format) == format
        return f"${numbers.setdefault(name, len(numbers) + 1)}"

    numbered = _PLACEHOLDER.sub(number, text)
    return Numbered(numbered, tuple(formats), tuple(formats.values()), plain)


def directory(name: str) -> Path:
    """Return the directory `sql` or `migrations`.

    A wheel carries them inside the package. A checkout and an editable install have them at
    the top of the repository.
    """
    for parent in (_PACKAGE, _PACKAGE.parents[1]):
        if (parent / name).is_dir():
            return parent / name
    raise FileNotFoundError(f"runstore is installed without its {name}/ directory")


def parse(path: Path) -> Mapping[str, Sql]:
    """Return the queries of a file, by name.

    Raises `ValueError`, naming the file, for a repeated name or an unknown kind.
    """
    _, *parts = _HEADER.split(path.read_text(encoding="utf-8"))
    queries: dict[str, Sql] = {}
    for name, kind, body in zip(parts[0::3], parts[1::3], parts[2::3], strict=True):
        if name in queries or kind not in get_args(Kind):
            raise ValueError(
                f"{path.name}: the header of {name} is repeated, or its kind is unknown"
            )
        # Any, and so a LiteralString: the files ship with the package and hold no input.
        text: Any = f"-- name: {name}\n{body.strip().removesuffix(';')}"
        queries[name] = Sql(name, cast(Kind, kind), text)
    return queries


def load(entity: str) -> Mapping[str, Sql]:
    """Return the queries of `sql/<entity>.sql`."""
    return parse(directory("sql") / f"{entity}.sql")
