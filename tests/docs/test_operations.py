"""What docs/operations.md says of statements, errors and exit statuses is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg
import psycopg_pool
import pytest

from runstore import RunstoreError, errors, is_retryable
from runstore.cli._statuses import MEANINGS
from runstore.embedded import Server

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
BLOCKS: list[Any] = re.findall(r"^```sql\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
QUERIES = [block for block in BLOCKS if block.startswith("-- ")]
SETTINGS = [block for block in BLOCKS if block.startswith("ALTER ROLE")]
STATES: list[tuple[str, str, str]] = re.findall(
    r"^\| (?:`(\w{5})`)? \| `(\w+)` \| (\w+) \|", TEXT, re.MULTILINE
)


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_nothing_is_reported_when_all_is_well(
    query: Any, server: Server, migrated_dbname: str
) -> None:
    with psycopg.connect(server.dsn(migrated_dbname), autocommit=True) as conn:
        assert conn.execute(query).fetchall() == []


def test_the_limits_of_a_role_can_be_set(server: Server, migrated_dbname: str) -> None:
    with psycopg.connect(server.dsn(migrated_dbname)) as conn:
        for settings in SETTINGS:
            conn.execute(settings)
        conn.rollback()
    assert SETTINGS


def test_every_error_of_the_library_is_explained() -> None:
    explained = re.findall(r"^\| `(\w+)` \| ", TEXT, re.MULTILINE)
    public = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, RunstoreError)
    }
    assert public - {"RunstoreError"} <= set(explained)


@pytest.mark.parametrize(("state", "name", "again"), STATES)
def test_an_error_of_the_driver_is_what_is_said_of_it(state: str, name: str, again: str) -> None:
    error: type[psycopg.Error]
    if state:
        error = psycopg.errors.lookup(state)
        assert error.__name__ == name
    else:
        error = getattr(psycopg, name, None) or getattr(psycopg_pool, name)
    assert is_retryable(error()).value == again


def test_every_exit_status_is_explained() -> None:
    explained = dict(re.findall(r"^\| (\d+) \| (.*) \|$", TEXT, re.MULTILINE))
    assert explained == {str(status.value): meaning for status, meaning in MEANINGS.items()}
