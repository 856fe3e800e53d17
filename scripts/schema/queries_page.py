"""docs/queries.md: every query with what it takes, what it answers and how it is planned."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import groupby

from described_queries import DescribedQuery
from runstore import _sql

_INTRODUCTION = """\
# Queries

Every statement that the library sends, file by file. Each starts with `-- name:`, so that
`pg_stat_activity` and the server's log say which one it is. `scripts/explain NAME` prints one ready
to be pasted into psql.

A plan is the one that PostgreSQL {version} makes on filled tables, with `enable_seqscan` off,
because they are smaller than yours. A query that is prepared shows the plan for all values, with
`:name` for a parameter. One that is planned each time shows that for sample values, without its
options and, where that differs, with all of them.

Written by `scripts/document-schema`.
"""


def queries_page(queries: list[DescribedQuery], version: int) -> str:
    """Write the page."""
    lines = [_INTRODUCTION.format(version=version)]
    for file, group in groupby(queries, key=lambda query: query.file):
        lines += [f"## {file}", "", *_prose(file), ""]
        for query in group:
            lines += _query(query)
    return "\n".join(lines).rstrip() + "\n"


def _prose(file: str) -> list[str]:
    """Return what a file says at its top."""
    text = (_sql.directory("sql") / file).read_text(encoding="utf-8")
    comment = text.partition("\n\n")[0].splitlines()
    return textwrap.wrap(" ".join(line.removeprefix("-- ") for line in comment), 120)


def _query(query: DescribedQuery) -> Iterator[str]:
    yield f"### {query.sql.name}"
    yield ""
    yield from textwrap.wrap(" ".join(query.comment), 120)
    yield ""
    yield f"- Function: `{query.call}`"
    parameters = query.description.parameters.items()
    if parameters:
        yield f"- Takes: {', '.join(f'`{name}` {type.name}' for name, type in parameters)}"
    answers = [
        f"`{name}` {type}{' or NULL' if nullable else ''}" for name, type, nullable in query.columns
    ]
    yield f"- Answers: {', '.join(answers)}"
    for excuse in query.may_scan:
        yield f"- May scan {excuse}"
    yield ""
    yield from _plan(query.plan)
    if query.full_plan is not None:
        yield "With all options:"
        yield ""
        yield from _plan(query.full_plan)


def _plan(plan: str) -> Iterator[str]:
    yield "```text"
    yield plan
    yield "```"
    yield ""
