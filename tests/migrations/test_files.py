"""The files of `migrations/` keep their rules, and a file that breaks one is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploys import MIGRATIONS, SETS, write
from migration_hashes import LIST, changes, hashes, listed
from migration_rules import problems

TIMEOUTS = "SET LOCAL lock_timeout = '2s';\nSET LOCAL statement_timeout = '1min';\n"
FIRST = f"-- Create a.\n\n{TIMEOUTS}\nCREATE TABLE runstore.a (id bigint);\n"
SECOND = (
    f"-- Create b.\n--\n-- depends: runstore-0001-create-a\n\n{TIMEOUTS}\n"
    "CREATE TABLE runstore.b (id bigint);\n"
)
INDEX = (
    "-- transactional: false\n-- Index b.\n-- depends: runstore-0002-create-b\n\n"
    "DROP INDEX CONCURRENTLY IF EXISTS runstore.b_id_idx;\n"
    "CREATE INDEX CONCURRENTLY b_id_idx ON runstore.b (id);\n"
)
# To yoyo, such a column begins a block that no semicolon ends.
MERGED = SECOND.replace("(id", "(begin")
BACK = f"-- Drop it.\n\n{TIMEOUTS}\nDROP TABLE runstore.b;\n"
BACK_INDEX = "-- Drop the index.\n\nDROP INDEX CONCURRENTLY IF EXISTS runstore.b_id_idx;\n"


def test_every_migration_keeps_the_rules() -> None:
    assert problems(MIGRATIONS) == []


@pytest.mark.parametrize("folder", SETS, ids=lambda folder: folder.name)
def test_every_migration_of_an_optional_set_keeps_the_rules(folder: Path) -> None:
    assert problems(folder, MIGRATIONS) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose migrations keep the rules."""
    write(tmp_path, "runstore-0001-create-a", FIRST, BACK)
    write(tmp_path, "runstore-0002-create-b", SECOND, BACK)
    write(tmp_path, "runstore-0003-index-b", INDEX, BACK_INDEX)
    return tmp_path


def test_migrations_that_keep_the_rules_pass(folder: Path) -> None:
    assert problems(folder) == []


@pytest.mark.parametrize(
    ("id", "sql", "problem"),
    [
        ("runstore-0002-create-b", SECOND.replace("Create", "Cr\u00e9er"), "is not ASCII"),
        ("runstore-0002-create-b", SECOND.replace("\n", "\r\n"), "has a tab or a carriage return"),
        ("runstore-0002-create-b", SECOND + "\n", "does not end with one line feed"),
        ("runstore-0002-create-b", SECOND.removeprefix("-- Create b.\n"), "does not say"),
        ("runstore-0002-create-b", f"{SECOND}SELEC 1;\n", "syntax error"),
        ("runstore-0002-create-b", f"{SECOND}-- Done.\n", "3 statements for PostgreSQL and 4 for"),
        ("runstore-0002-create-b", f"{MERGED}SELECT 1;\n", "4 statements for PostgreSQL and 3 for"),
        ("runstore-0002-create-b", f"{SECOND}COMMIT;\n", "begins or ends a transaction"),
        ("runstore-0002-create-b", SECOND.replace("-0001-", "-0000-"), "does not depend on"),
        ("runstore-0002-create-b", SECOND.replace("-- depends", "-- Depends"), "does not depend"),
        ("runstore-0002-create-b", SECOND.replace("LOCAL lock", "lock"), "does not start with SET"),
        ("runstore-0002-create-b", SECOND.replace("statement_t", "lock_t"), "does not start with"),
        (
            "runstore-0002-create-b",
            f"{SECOND}CREATE INDEX CONCURRENTLY b_id_idx ON runstore.b (id);\n",
            "works CONCURRENTLY",
        ),
        ("runstore-0003-index-b", INDEX.replace("IF EXISTS ", ""), "of one index"),
        ("runstore-0003-index-b", INDEX.replace("b_id_idx ON", "c ON"), "of one index"),
        ("runstore-0003-index-b", INDEX.replace("Y b_id", "Y IF NOT EXISTS b_id"), "of one index"),
        (
            "runstore-0003-index-b",
            f"{INDEX}CREATE INDEX CONCURRENTLY c ON runstore.b (id);\n",
            "of one index",
        ),
        (
            "runstore-0003-index-b",
            f"-- Index b.\n{INDEX.replace('-- Index b.', '--')}",
            "does not start with '-- transactional: false'",
        ),
        ("runstore-0003-index-b.rollback", BACK, "is not the one statement"),
        (
            "runstore-0003-index-b.rollback",
            BACK_INDEX.replace("runstore.", ""),
            "is not the one statement",
        ),
        ("runstore-0002-create-b.rollback", "-- Nothing.\n", "has no statements"),
        ("runstore-0003-Index", FIRST, "is not named runstore-NNNN-verb-object"),
        ("runstore-0005-create-c", FIRST, "is number 4 of the chain"),
        ("runstore-0004-create-c", FIRST, "runstore-0004-create-c.rollback.sql: is missing"),
        ("runstore-0004-create-c.rollback", BACK, "belongs to no migration"),
    ],
)
def test_a_broken_rule_is_found(folder: Path, id: str, sql: str, problem: str) -> None:
    (folder / f"{id}.sql").write_text(sql, encoding="utf-8", newline="")

    found = problems(folder)

    assert any(id in line and problem in line for line in found), found


@pytest.mark.parametrize(
    ("id", "depends", "problem"),
    [
        ("runstore-0001-create-b", "runstore-0001-create-a", "is not named runstore-extra-NNNN"),
        ("runstore-extra-0002-create-b", "runstore-0001-create-a", "is number 1 of the chain"),
        ("runstore-extra-0001-create-b", "", "on which migration of the base"),
        ("runstore-extra-0001-create-b", "runstore-0009-create-z", "does not depend on None"),
        ("runstore-extra-0001-create-b", "runstore-0002-create-b runstore-0001-create-a", None),
    ],
)
def test_an_optional_set_depends_on_its_base(
    folder: Path, id: str, depends: str, problem: str | None
) -> None:
    optional = folder / "extra"
    optional.mkdir()
    depends = f"-- depends: {depends}\n" if depends else ""
    write(optional, id, f"-- Create b.\n{depends}{TIMEOUTS}CREATE TABLE b (id bigint);\n", BACK)

    found = problems(optional, folder)

    assert problems(folder) == []
    assert any(problem in line for line in found) if problem else found == []


def test_a_file_that_is_no_migration_is_found(folder: Path) -> None:
    (folder / "notes.txt").write_text("Notes.")

    assert problems(folder) == ["notes.txt: belongs to no migration"]


def test_an_empty_folder_is_not_a_success(tmp_path: Path) -> None:
    assert problems(tmp_path) == [f"{tmp_path.name}: holds no migrations"]


def test_no_listed_migration_has_changed_and_every_one_is_listed() -> None:
    assert changes(listed(LIST), hashes(MIGRATIONS)) == []


def test_a_changed_a_missing_and_an_unlisted_migration_are_found(folder: Path) -> None:
    before = hashes(folder)
    write(folder, "runstore-0001-create-a", FIRST + "\n")
    (folder / "runstore-0002-create-b.sql").unlink()
    write(folder, "runstore-0004-create-c", FIRST)

    assert changes(before, hashes(folder)) == [
        "runstore-0001-create-a.sql has changed",
        "runstore-0002-create-b.sql is gone",
        "runstore-0004-create-c.sql is not listed: run scripts/record-migrations",
    ]
