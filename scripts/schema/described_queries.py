"""Every named query of ours with what the database says about it."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from psycopg import Connection

from runstore import _sql
from runstore._sql import Sql, number_placeholders
from runstore.testing import find_queries
from runstore.testing._calls import bound_statements, sent_parameters
from runstore.testing._catalogue import Catalogue
from runstore.testing._describe import Description, describe, explain
from runstore.testing._nullability import nullabilities
from runstore.testing._plans import used_indexes
from runstore.testing._samples import SAMPLE_ID
from runstore.testing._text import stated_not_null

# The samples are those of the proof, which are of the tests.
sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
from samples import runstore_samples

_COMMENT: Final = re.compile(r"\A-- name: .*\n((?:--.*\n)*)")
_STATED: Final = re.compile(r"^-- (not null|may scan)\b")


@dataclass(frozen=True)
class DescribedQuery:
    """A named query.

    `plan` is the one for what its function needs, and `full_plan` the one with every option, where
    it differs. `indexes` are those that any call with sample arguments uses.
    """

    file: str
    sql: Sql
    define: Callable[..., Any]
    description: Description
    parameters: Mapping[str, Any]
    plan: str
    full_plan: str | None
    indexes: frozenset[str]

    @property
    def comment(self) -> list[str]:
        """The lines of its comment, without what they state for the proof."""
        found = _COMMENT.match(self.sql.text)
        lines = found[1].splitlines() if found else []
        return [line.removeprefix("-- ") for line in lines if not _STATED.match(line)]

    @property
    def may_scan(self) -> list[str]:
        """What it may read whole, and why."""
        return re.findall(r"^-- may scan (.+)$", self.sql.text, re.MULTILINE)

    @property
    def call(self) -> str:
        """How its function is called, and what it answers."""
        parts, by_name = ["conn"], False
        for parameter in inspect.signature(self.define).parameters.values():
            if parameter.kind is parameter.KEYWORD_ONLY and not by_name:
                by_name = True
                parts.append("*")
            # An annotation is a text here, and a default stands behind it.
            part = f"{parameter.name}: {parameter.annotation}"
            default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
            parts.append(part + default)
        answer = self.define.__annotations__["return"].removeprefix("Statement[").removesuffix("]")
        return f"{self.define.__name__}({', '.join(parts)}) -> {answer}"

    @property
    def columns(self) -> list[tuple[str, str, bool]]:
        """Name, type and nullability of its columns."""
        stated = stated_not_null(self.sql.text)
        found = zip(
            self.description.columns, nullabilities(self.description, self.sql.text), strict=True
        )
        return [
            (
                column.name,
                column.type.name,
                nullable.reason is not None
                and column.name not in stated
                and not column.type.name.startswith("record"),
            )
            for column, nullable in found
        ]


def described_queries(conn: Connection[Any]) -> list[DescribedQuery]:
    """Return every query that has a function, in the order of the files."""
    catalogue = Catalogue(conn)
    return [
        _described(conn, catalogue, query.file, query.sql, query.define)
        for query in find_queries(_sql.directory("sql"), "runstore")
        if query.sql is not None and query.define is not None
    ]


def _described(
    conn: Connection[Any], catalogue: Catalogue, file: str, sql: Sql, define: Callable[..., Any]
) -> DescribedQuery:
    samples = runstore_samples()
    description = describe(conn, catalogue, sql.text)
    statements = bound_statements(define, samples)
    calls: list[Mapping[str, Any] | None] = [
        *sent_parameters(statements, description.parameters, samples)
    ]
    prepared = statements[0].prepare is not False
    if prepared:
        # The plan that serves all values comes first; the others only use indexes.
        calls.insert(0, None)
    with conn.transaction(force_rollback=True):
        # Tables too small to be worth an index are planned as if they were not.
        conn.execute("SET LOCAL enable_seqscan = off")
        plans = [_plan(conn, sql.text, call) for call in calls]
        indexes: set[str] = set()
        for call in calls:
            [[[document]]] = explain(conn, sql.text, call, "VERBOSE, FORMAT JSON")
            indexes |= {name for schema, name in used_indexes(document["Plan"]) if schema}
    full = plans[-1] if not prepared and plans[-1] != plans[0] else None
    return DescribedQuery(
        file,
        sql,
        define,
        description,
        statements[0].parameters,
        plans[0],
        full,
        frozenset(indexes),
    )


def _plan(conn: Connection[Any], text: str, parameters: Mapping[str, Any] | None) -> str:
    """Return a plan with names for $1 and $2, and without the sample of an id."""
    plan = "\n".join(line for (line,) in explain(conn, text, parameters, "COSTS OFF"))
    names = number_placeholders(text).names
    plan = re.sub(r"\$(\d+)\b", lambda match: f":{names[int(match[1]) - 1]}", plan)
    return plan.replace(str(SAMPLE_ID), "...")
