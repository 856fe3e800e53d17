"""The rules that every file of `migrations/` keeps.

Statements are counted twice, by yoyo's splitter and by PostgreSQL's own parser: where the two
disagree, yoyo would send something else than was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pglast
from pglast import ast, enums
from yoyo.migrations import read_sql_migration

Rule = Callable[["MigrationFile"], Iterator[str]]

ROLLBACK: Final = ".rollback.sql"
_NAME: Final = re.compile(r"(\d{4})(?:-[a-z0-9]+){2,}")
_NOT_TRANSACTIONAL: Final = "-- transactional: false"
_TIMEOUTS: Final = ("lock_timeout", "statement_timeout")


@dataclass(frozen=True)
class MigrationFile:
    """A migration or its rollback. `number` counts the migrations from 1, in the order of names.

    Those of an optional set carry its name after `runstore-`, and may depend on those of `base`.
    """

    path: Path
    number: int
    previous: str | None
    prefix: str = "runstore-"
    base: frozenset[str] = frozenset()

    @property
    def text(self) -> str:
        return self.path.read_bytes().decode("ascii", errors="replace")

    @property
    def is_rollback(self) -> bool:
        return self.path.name.endswith(ROLLBACK)

    @property
    def id(self) -> str:
        return self.path.name.removesuffix(ROLLBACK if self.is_rollback else ".sql")

    @property
    def rollback(self) -> MigrationFile:
        return replace(self, path=self.path.with_name(self.id + ROLLBACK))

    @property
    def transactional(self) -> bool:
        """Say whether yoyo runs it in a transaction; a rollback follows its migration."""
        directives, _, _ = read_sql_migration(str(self.path.with_name(f"{self.id}.sql")))
        return directives.get("transactional", "true") == "true"

    @property
    def statements(self) -> list[Any]:
        """The statements as PostgreSQL's parser has them."""
        return [statement.stmt for statement in pglast.parse_sql(self.text)]


def migration_files(folder: Path, base: Path | None = None) -> list[MigrationFile]:
    """Return the migrations of a folder, without their rollbacks, in their order.

    An optional set has a base, the folder of the migrations that everybody has.
    """
    prefix = "runstore-" if base is None else f"runstore-{folder.name}-"
    ids_of_base = [] if base is None else [file.id for file in migration_files(base)]
    paths = sorted(path for path in folder.glob("*.sql") if not path.name.endswith(ROLLBACK))
    ids: list[str | None] = [None, *(path.stem for path in paths)]
    return [
        MigrationFile(path, number, previous, prefix, frozenset(ids_of_base))
        for number, (path, previous) in enumerate(zip(paths, ids, strict=False), 1)
    ]


def problems(folder: Path, base: Path | None = None) -> list[str]:
    """Say what is wrong with a folder of migrations, each sentence starting with a file's name."""
    files = migration_files(folder, base)
    found = [] if files else [f"{folder.name}: holds no migrations"]
    for file in files:
        found += _broken(file, FORM + MIGRATION)
        if file.rollback.path.exists():
            found += _broken(file.rollback, FORM)
        else:
            found.append(f"{file.rollback.path.name}: is missing")
    known = {path for file in files for path in (file.path, file.rollback.path)}
    found += [
        f"{path.name}: belongs to no migration"
        for path in sorted(folder.iterdir())
        if path.is_file() and path not in known
    ]
    return found


def _broken(file: MigrationFile, rules: tuple[Rule, ...]) -> Iterator[str]:
    for rule in rules:
        try:
            for problem in rule(file):
                yield f"{file.path.name}: {problem}"
        except pglast.parser.ParseError as error:
            yield f"{file.path.name}: {error}"
            return


def has_plain_bytes(file: MigrationFile) -> Iterator[str]:
    raw = file.path.read_bytes()
    if not raw.isascii():
        yield "is not ASCII: yoyo reads it in the encoding of the locale"
    if b"\r" in raw or b"\t" in raw:
        yield "has a tab or a carriage return"
    if not raw.endswith(b"\n") or raw.endswith(b"\n\n"):
        yield "does not end with one line feed"


def opens_with_prose(file: MigrationFile) -> Iterator[str]:
    lines = file.text.splitlines()
    if not file.is_rollback and not file.transactional:
        if lines[0] != _NOT_TRANSACTIONAL:
            yield f"does not start with {_NOT_TRANSACTIONAL!r}"
        lines = lines[1:]
    if not lines or not re.match(r"-- [A-Z]", lines[0]):
        yield "does not say in a comment what it does and why"


def is_split_as_it_is_parsed(file: MigrationFile) -> Iterator[str]:
    _, _, split = read_sql_migration(str(file.path))
    parsed = file.statements
    if len(split) != len(parsed):
        yield f"has {len(parsed)} statements for PostgreSQL and {len(split)} for yoyo"
    if not parsed:
        yield "has no statements"


def leaves_transactions_alone(file: MigrationFile) -> Iterator[str]:
    if any(isinstance(statement, ast.TransactionStmt) for statement in file.statements):
        yield "begins or ends a transaction, which is yoyo's to do"


def is_named_by_number(file: MigrationFile) -> Iterator[str]:
    name = _NAME.fullmatch(file.id.removeprefix(file.prefix))
    if not name or not file.id.startswith(file.prefix):
        yield f"is not named {file.prefix}NNNN-verb-object"
    elif int(name[1]) != file.number:
        yield f"is number {file.number} of the chain"


def depends_on_the_one_before(file: MigrationFile) -> Iterator[str]:
    directives, _, _ = read_sql_migration(str(file.path))
    depends = set(directives.get("depends", "").split())
    if depends - file.base != {file.previous} - {None}:
        yield f"does not depend on {file.previous} alone"
    if file.base and not depends:
        yield "does not say on which migration of the base it depends"


def limits_its_waits(file: MigrationFile) -> Iterator[str]:
    if not file.transactional:
        return
    first = tuple(
        statement.name
        for statement in file.statements[: len(_TIMEOUTS)]
        if isinstance(statement, ast.VariableSetStmt) and statement.is_local and statement.args
    )
    if first != _TIMEOUTS:
        yield "does not start with SET LOCAL lock_timeout and SET LOCAL statement_timeout"


def works_concurrently_only_outside_transactions(file: MigrationFile) -> Iterator[str]:
    if file.transactional:
        if any(getattr(statement, "concurrent", False) for statement in file.statements):
            yield f"works CONCURRENTLY, and does not start with {_NOT_TRANSACTIONAL!r}"
    elif file.is_rollback:
        if [_index(statement) for statement in file.statements] != [_made(file)]:
            yield "is not the one statement DROP INDEX CONCURRENTLY IF EXISTS"
    elif [_index(statement) for statement in file.statements] != [_made(file)] * 2:
        yield "is not DROP INDEX CONCURRENTLY IF EXISTS and CREATE INDEX CONCURRENTLY of one index"


def _made(file: MigrationFile) -> str | None:
    """Name the index that a migration's last statement makes."""
    main = replace(file, path=file.path.with_name(f"{file.id}.sql"))
    last = main.statements[-1]
    return _index(last) if isinstance(last, ast.IndexStmt) else None


def _index(statement: Any) -> str:
    """Name the index that a statement makes or drops without a lock; "" for anything else.

    Making one IF NOT EXISTS is something else: it passes over an invalid one that a failed
    attempt left. Dropping one without IF EXISTS is, too: it fails where that attempt left none.
    """
    match statement:
        case ast.IndexStmt(
            concurrent=True,
            if_not_exists=False,
            relation=ast.RangeVar(schemaname=schema),
            idxname=name,
        ):
            return f"{schema}.{name}"
        case ast.DropStmt(
            removeType=enums.ObjectType.OBJECT_INDEX,
            concurrent=True,
            missing_ok=True,
            objects=[[ast.String(sval=schema), ast.String(sval=name)]],
        ):
            return f"{schema}.{name}"
        case _:
            return ""


FORM: Final[tuple[Rule, ...]] = (
    has_plain_bytes,
    opens_with_prose,
    is_split_as_it_is_parsed,
    leaves_transactions_alone,
    limits_its_waits,
    works_concurrently_only_outside_transactions,
)
MIGRATION: Final[tuple[Rule, ...]] = (is_named_by_number, depends_on_the_one_before)
