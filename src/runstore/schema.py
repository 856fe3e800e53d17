"""The schema itself: whether a database is migrated to what this version of the library expects.

The library never migrates. `yoyo apply` does, and this says whether it has.
"""

from __future__ import annotations

import functools
from typing import Final

from . import _sql
from ._models import Row
from ._query import Statement, Steps, operation, query
from ._statements import maker, many

_SQL: Final = _sql.load("schema")


class Bookkeeping(Row):
    """Where yoyo keeps what it has applied."""

    schema_name: str


class AppliedMigration(Row):
    """A migration of this project that is recorded as applied."""

    id: str


class SchemaCheck(Row):
    """The migrations of a database against those of this version of the library.

    `bookkeeping` is the schema of the table that answered; None: no schema on the search path
    has one, so that nothing was applied as far as this role can see. `missing` are migrations
    that this version needs and the database lacks; those of an optional set (a folder within
    `migrations/`) are needed where one of them is applied. `unknown` are migrations that this
    version does not have: a newer version made them, as it does in a rolling deploy, or a file was
    renamed.
    """

    bookkeeping: str | None
    applied: list[str]
    missing: list[str]
    unknown: list[str]

    @property
    def ok(self) -> bool:
        """Say whether the database has the migrations of this version, and no others."""
        return not self.missing and not self.unknown

    @property
    def message(self) -> str:
        """Say in a sentence or two what was found."""
        if self.ok:
            return f"The database has all {len(self.applied)} migrations of this version."
        sentences: list[str] = []
        if self.bookkeeping is None:
            sentences.append(
                "No migration is recorded: there is no table _yoyo_migration on the search path."
            )
        if self.missing:
            sentences.append(f"Missing: {', '.join(self.missing)}.")
        if self.unknown:
            sentences.append(f"Unknown to this version: {', '.join(self.unknown)}.")
        return " ".join(sentences)


@query
def find_bookkeeping() -> Statement[Bookkeeping | None]:
    """Return the schema in which yoyo keeps what it has applied, or None."""
    make = maker(Bookkeeping)
    return Statement(_SQL["find_bookkeeping"], {}, lambda rows: make(rows[0]) if rows else None)


@query
def list_applied_migrations() -> Statement[list[AppliedMigration]]:
    """Return the migrations of this project that are recorded as applied, in their order."""
    return many(AppliedMigration, _SQL["list_applied_migrations"], {})


@operation
def check_schema() -> Steps[SchemaCheck]:
    """Tell whether a database is migrated to what this version of the library expects.

    Needs nothing but SELECT on `_yoyo_migration`, which it looks for along the search path.
    """
    found = yield from find_bookkeeping.bind()
    rows = (yield from list_applied_migrations.bind()) if found else []
    applied = [row.id for row in rows]
    base, *optional = _migrations()
    chosen = [ids for ids in optional if not ids.isdisjoint(applied)]
    return SchemaCheck(
        bookkeeping=found.schema_name if found else None,
        applied=applied,
        missing=sorted(base.union(*chosen).difference(applied)),
        unknown=[id for id in applied if id not in base.union(*optional)],
    )


@functools.cache
def _migrations() -> tuple[frozenset[str], ...]:
    """Name the migrations of this version that everybody has, and then those of each other set."""
    base = _sql.directory("migrations")
    return tuple(
        frozenset(
            path.stem for path in folder.glob("*.sql") if not path.name.endswith(".rollback.sql")
        )
        for folder in (base, *(path for path in sorted(base.iterdir()) if path.is_dir()))
    )
