from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from runstore import _sql
from runstore._sql import Sql, directory, load, parse
from runstore.testing import NamedQuery, find_queries
from runstore.testing._calls import bound_statements
from samples import runstore_samples

pytestmark = pytest.mark.once

FILES = sorted(directory("sql").glob("*.sql"))
QUERIES = [query for query in find_queries(directory("sql"), "runstore") if query.define]

TWO = """-- Notes: what somebody wrote.

-- name: get_note :one
-- Read a note. No row: it does not exist.
SELECT body
FROM notes
WHERE id = %(id)s
    AND author = %(author)s;

-- name: list_notes :many
-- List notes of 100%% of all authors.
SELECT body
FROM notes
WHERE id = ANY(%(ids)b);
"""


def parsed(tmp_path: Path, text: str) -> Mapping[str, Sql]:
    path = tmp_path / "notes.sql"
    path.write_text(text, encoding="utf-8")
    return parse(path)


# The loader


def test_a_file_gives_its_queries_in_their_order(tmp_path: Path) -> None:
    queries = parsed(tmp_path, TWO)
    assert [(name, query.name, query.kind) for name, query in queries.items()] == [
        ("get_note", "get_note", "one"),
        ("list_notes", "list_notes", "many"),
    ]


def test_what_is_sent_starts_with_its_name_and_ends_without_a_semicolon(tmp_path: Path) -> None:
    queries = parsed(tmp_path, TWO)
    assert queries["get_note"].text == (
        "-- name: get_note\n-- Read a note. No row: it does not exist.\n"
        "SELECT body\nFROM notes\nWHERE id = %(id)s\n    AND author = %(author)s"
    )


def test_placeholders_are_those_of_the_text_and_of_binary_ones(tmp_path: Path) -> None:
    queries = parsed(tmp_path, TWO)
    assert queries["get_note"].placeholders == {"id", "author"}
    assert queries["list_notes"].placeholders == {"ids"}


def test_a_file_without_queries_gives_none(tmp_path: Path) -> None:
    assert parsed(tmp_path, "-- Notes: nothing yet.\n") == {}


@pytest.mark.parametrize("kind", ["one", "maybe", "many", "value", "count"])
def test_a_query_has_a_kind(tmp_path: Path, kind: str) -> None:
    assert parsed(tmp_path, f"-- name: get_note :{kind}\nSELECT 1;\n")["get_note"].kind == kind


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"notes\.sql.*get_note"):
        parsed(tmp_path, "-- name: get_note :few\nSELECT 1;\n")


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"notes\.sql.*get_note"):
        parsed(tmp_path, TWO + TWO)


def test_queries_are_found_by_their_entity() -> None:
    assert load("tool_calls") == parse(directory("sql") / "tool_calls.sql")


def test_a_wheels_own_folder_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "project" / "src" / "runstore"
    (tmp_path / "project" / "sql").mkdir(parents=True)
    monkeypatch.setattr(_sql, "_PACKAGE", package)
    assert directory("sql") == tmp_path / "project" / "sql"
    (package / "sql").mkdir(parents=True)
    assert directory("sql") == package / "sql"
    with pytest.raises(FileNotFoundError, match="migrations/"):
        directory("migrations")


# The files


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_header_is_one_that_the_loader_reads(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    like_headers = re.compile(r"^\s*--.*(?:\bname\s*:|\s:[a-z]+$)", re.MULTILINE | re.IGNORECASE)
    assert len(like_headers.findall(text)) == len(parse(file)) > 0
    # Prose comes before the first of them, and no statement.
    prose = text.partition("-- name:")[0].strip().splitlines()
    assert prose
    assert all(line.startswith("--") for line in prose)


def functions(module: ModuleType) -> list[str]:
    """Return the functions of a module that send one statement, in their order."""
    return [
        name.removeprefix("_")
        for name, value in vars(module).items()
        if getattr(value, "__module__", "") == module.__name__
        and "Statement"
        in getattr(getattr(value, "bind", None), "__annotations__", {}).get("return", "")
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_queries_and_functions_have_one_order(file: Path) -> None:
    module = importlib.import_module(f"runstore.{file.stem}")
    assert functions(module) == list(parse(file))


@pytest.mark.parametrize("query", QUERIES, ids=str)
def test_a_function_binds_the_placeholders_of_its_query(query: NamedQuery) -> None:
    assert query.define
    for statement in bound_statements(query.define, runstore_samples()):
        assert statement.sql == query.sql
        assert statement.parameters.keys() == statement.sql.placeholders
