"""The application of docs/testing.md is proven as the document says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest

from runstore.embedded import Server

DOCUMENT = Path(__file__).parents[2] / "docs" / "testing.md"
BLOCK = re.compile(r'^```\w+ title="(.+?)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.fixture
def database(server: Server, migrated_dbname: str) -> str:
    """The DSN of who makes the application's own schema."""
    return server.dsn(migrated_dbname)


@pytest.fixture
def blocks() -> dict[str, str]:
    return dict(BLOCK.findall(DOCUMENT.read_text(encoding="utf-8")))


def run_tests(
    folder: Path, blocks: Mapping[str, str], database: str
) -> subprocess.CompletedProcess[str]:
    """Write the application's files and run its tests."""
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(blocks["schema.sql"].encode())
    for name, text in blocks.items():
        if "." in name:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    # A project of its own, whose runs no plugin of ours but the named one changes.
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\nfilterwarnings = error\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider"],
        env={
            **os.environ,
            "DATABASE_URL": database,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "COLUMNS": "200",
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_queries_of_the_document_are_proven(
    blocks: dict[str, str], database: str, tmp_path: Path
) -> None:
    done = run_tests(tmp_path, blocks, database)

    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT FROM helpdesk.tickets").rowcount == 0


def test_the_fault_of_the_document_is_found(
    blocks: dict[str, str], database: str, tmp_path: Path
) -> None:
    module = "helpdesk/tickets.py"
    blocks[module] = blocks[module].replace("assignee: str | None", "assignee: str", 1)

    done = run_tests(tmp_path, blocks, database)

    assert done.returncode == 1
    assert "2 failed, 1 passed" in done.stdout
    assert blocks["found"] in done.stdout
    # The reason alone, without a trace through the proof.
    assert "_proof.py" not in done.stdout


def test_a_prover_without_a_database_says_what_to_do(
    blocks: dict[str, str], database: str, tmp_path: Path
) -> None:
    blocks["conftest.py"] = 'pytest_plugins = ["runstore.testing.plugin"]\n'

    done = run_tests(tmp_path, blocks, database)

    assert done.returncode == 1
    assert "override the fixture query_prover" in done.stdout
