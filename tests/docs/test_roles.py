"""The commands and statements of docs/roles.md do what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from deploys import MIGRATIONS
from logins import Logins
from privileges import needed
from runstore.embedded import Server

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "roles.md").read_text(encoding="utf-8")
STATEMENTS = re.findall(r"^```sql\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def conn(server: Server, migrated_dbname: str) -> Iterator[Connection[Any]]:
    """A superuser's connection, in a transaction that is rolled back."""
    with (
        psycopg.connect(server.dsn(migrated_dbname), autocommit=True) as conn,
        conn.transaction(force_rollback=True),
    ):
        yield conn


@pytest.mark.parametrize("statement", STATEMENTS, ids=range(len(STATEMENTS)))
def test_a_statement_runs(statement: str, conn: Connection[Any], migrated_dbname: str) -> None:
    conn.execute(statement.replace("DATABASE runstore", f"DATABASE {migrated_dbname}").encode())


def test_the_last_statement_lists_what_each_role_may_do(conn: Connection[Any]) -> None:
    may = {(role, table): acts for role, table, acts in conn.execute(STATEMENTS[-1].encode())}

    assert may["runstore_writer", "run_events"] == "INSERT, SELECT"
    assert may["runstore_writer", "tool_calls"] == "INSERT, SELECT, UPDATE"
    assert {acts for (role, _), acts in may.items() if role == "runstore_reader"} == {"SELECT"}


def test_what_is_append_only_is_named(conn: Connection[Any]) -> None:
    [sentence] = re.findall(r"neither change nor delete: (.*?)\. Of", TEXT, re.DOTALL)
    changed = {privilege.table for privilege in needed()["writer"] if privilege.act != "INSERT"}
    rows = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'runstore'")

    assert set(re.findall(r"`(\w+)`", sentence)) == {row[0] for row in rows} - changed


def test_the_roles_of_the_first_table_are_those_of_the_file() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    made = re.findall(
        r"^ +\('(\w+)', '(?:NO)?LOGIN", (ROOT / "scripts" / "roles.sql").read_text(), re.MULTILINE
    )

    assert listed == made


def test_the_commands_make_a_database_that_can_be_used(
    server: Server, logins: Logins, empty_dbname: str, tmp_path: Path
) -> None:
    bindir = str(server.bindir or "")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:{bindir}"
    if not shutil.which("psql", path=path):
        pytest.skip("there is no psql")
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    (tmp_path / "yoyo.ini").write_text(
        f"[DEFAULT]\nsources = {MIGRATIONS}\ndatabase = %(MIGRATION_URL)s\nbatch_mode = on\n"
    )
    [commands] = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)

    done = subprocess.run(
        ["/usr/bin/env", "bash", "-euc", commands],
        cwd=tmp_path,
        env={
            "PATH": path,
            "ADMIN_URL": server.dsn(empty_dbname),
            "MIGRATION_URL": logins.yoyo_url(empty_dbname),
            "DATABASE_URL": logins.dsn("writer", empty_dbname),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "of this version" in done.stdout
