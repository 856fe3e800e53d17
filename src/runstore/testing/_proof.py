"""The proof of a named query: its function, its parameters, its columns and its plan."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection

from runstore._query import Statement
from runstore._sql import Sql

from ._annotations import name_of
from ._answers import Undeclared, read_rows
from ._calls import Unbindable, bound_statements, sent_parameters, takes
from ._catalogue import Catalogue
from ._columns import Columns, Complaint
from ._describe import Description, Unpreparable, describe, plan_by_index
from ._discovery import NamedQuery
from ._filling import fill
from ._plans import WholeRead, whole_reads
from ._samples import Samples
from ._text import stated_not_null, stated_scans
from ._values import Values


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a query is not proven: the file, the query, the column if one is at fault, the reason."""

    file: str
    query: str
    column: str | None
    reason: str

    def __str__(self) -> str:
        place = f"{self.file}: {self.query}"
        return (
            f"{place}: {self.column}: {self.reason}" if self.column else f"{place}: {self.reason}"
        )


class Unproven(AssertionError):
    """A query does not fit its function, its model or the schema."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


@contextmanager
def prover(
    conn: Connection[Any],
    *,
    schema: str,
    samples: Samples | None = None,
    types: Mapping[str, Sequence[Any]] | None = None,
    rows: int = 300,
    values: Mapping[str, str] | None = None,
) -> Generator[Prover]:
    """Prove queries on the migrated database of a connection, which stays as it is.

    The tables of `schema` are filled with `rows` made-up rows each, and analyzed, in a transaction
    that is rolled back when the block ends: plans are judged on tables that are not empty. Until
    then the tables are locked against changes of their definition.
    `values` are SQL expressions for columns that need one of their own (`fill` says how), `types`
    adds what psycopg reads a type as where the application told it so
    (`{"citext": [str]}`), `samples` has arguments for functions.
    """
    with conn.transaction(force_rollback=True):
        fill(conn, schema, rows=rows, values=values)
        yield Prover(conn, samples or Samples(), types or {})


class Prover:
    """Proves queries on one connection, whose schema must not change meanwhile."""

    def __init__(
        self, conn: Connection[Any], samples: Samples, types: Mapping[str, Sequence[Any]]
    ) -> None:
        self._conn = conn
        self._samples = samples
        self._catalogue = Catalogue(conn)
        self._columns = Columns(conn, self._catalogue, Values(self._catalogue, types))

    def prove(self, query: NamedQuery) -> None:
        """Raise `Unproven` when anything about a query is wrong."""
        problems = self.problems(query)
        if problems:
            raise Unproven(problems)

    def problems(self, query: NamedQuery) -> list[Problem]:
        """Return all that is wrong with a query, nothing when it is proven."""
        complaints = [Complaint(None, fault) for fault in query.faults]
        complaints += self._complaints(query)
        return [
            Problem(query.file, query.name, complaint.column, complaint.reason)
            for complaint in dict.fromkeys(complaints)
        ]

    def _complaints(self, query: NamedQuery) -> Iterator[Complaint]:
        if query.sql is None:
            return
        text = query.sql.text
        try:
            description = describe(self._conn, self._catalogue, text)
        except Unpreparable as error:
            yield Complaint(None, f"cannot be prepared: {error}")
            return
        if query.define is None:
            return
        names = {column.name for column in description.columns}
        for name in stated_not_null(text):
            if name.split(".")[0].removesuffix("[]") not in names:
                yield Complaint(name, "is said to be not null, and is no column")
        try:
            row = read_rows(query.define, query.sql.kind)
        except NameError as error:
            yield Complaint(None, f"its function's annotations cannot be evaluated: {error}")
            return
        except Undeclared as error:
            yield Complaint(None, str(error))
        else:
            yield from self._columns.compare(text, description, row)
        yield from self._of_calls(query.define, query.sql, description)

    def _of_calls(
        self, define: Callable[..., Any], sql: Sql, description: Description
    ) -> Iterator[Complaint]:
        """Yield what is wrong with the statements that a function binds, and with their plans."""
        try:
            statements = bound_statements(define, self._samples)
        except Unbindable as error:
            yield Complaint(None, str(error))
            return
        for statement in statements:
            if statement.sql != sql:
                yield Complaint(None, f"its function sends another query: {statement.sql.name}")
                return
            yield from _misbound(sql, statement, description)
        reads: list[WholeRead] = []
        for parameters in sent_parameters(statements, description.parameters, self._samples):
            try:
                plan = plan_by_index(self._conn, sql.text, parameters)
            except psycopg.Error as error:
                reason = error.diag.message_primary or str(error)
                yield Complaint(None, f"cannot be sent with sample arguments: {reason}")
                return
            reads += whole_reads(plan, self._catalogue)
        if statements[0].prepare is not False:
            # A statement that is prepared may be planned once for all values.
            reads += whole_reads(description.plan, self._catalogue)
        yield from _unexcused(reads, stated_scans(sql.text))


def _misbound(sql: Sql, statement: Statement[Any], description: Description) -> Iterator[Complaint]:
    bound = statement.parameters
    for name in sorted(sql.placeholders - bound.keys()):
        yield Complaint(None, f"its function binds nothing to %({name})s")
    for name in sorted(bound.keys() - sql.placeholders):
        yield Complaint(None, f"its function binds {name}, which the query does not use")
    for name, type in description.parameters.items():
        value = bound.get(name)
        if value is not None and not takes(type, value):
            held = name_of(value.__class__)
            yield Complaint(None, f"its function binds {held} to %({name})s, which is {type.name}")


def _unexcused(reads: Sequence[WholeRead], excused: Sequence[str]) -> Iterator[Complaint]:
    for read in reads:
        if read.table not in excused:
            yield Complaint(
                None, f"{read.reason}; give it one, or say `-- may scan {read.table}: <reason>`"
            )
    for table in excused:
        if all(read.table != table for read in reads):
            yield Complaint(None, f"is said to scan {table}, and does not")
