"""The commands, statements and examples of docs/tenants.md do what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from databases import new_database
from deploys import IDS, MIGRATIONS, applied
from logins import Logins, apply_roles
from runstore.embedded import Server

TEXT = (Path(__file__).parents[2] / "docs" / "tenants.md").read_text(encoding="utf-8")


def block(language: str, containing: str = "") -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    [text] = [each for each in found if containing in each]
    return str(text)


def run(command: list[str], folder: Path, **variables: str) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def secured(server: Server, template: tuple[str, Logins], tmp_path: Path) -> Iterator[str]:
    """The name of a database whose tenants are kept apart as the document says."""
    dbname, logins = template
    # A checkout has the folders elsewhere. The wheel's test uses the wheel's.
    settings = block("ini").replace("package:runstore:migrations", str(MIGRATIONS))
    (tmp_path / "yoyo.ini").write_text(settings)
    with new_database(server, dbname) as name:
        run(["yoyo", "apply"], tmp_path, MIGRATION_URL=logins.yoyo_url(name))
        apply_roles(server.dsn(name))
        yield name


def test_the_example_runs_with_row_security(secured: str, logins: Logins, tmp_path: Path) -> None:
    url = logins.dsn("writer", secured)
    run([sys.executable, "-c", block("python")], tmp_path, DATABASE_URL=url)
    run(["runstore", "check"], tmp_path, DATABASE_URL=url)


def test_the_statement_tells_who_is_held_to_it(
    server: Server, secured: str, logins: Logins
) -> None:
    question = block("sql", "row_security_active").encode()
    for dsn, held in [(logins.dsn("writer", secured), True), (server.dsn(secured), False)]:
        with psycopg.connect(dsn) as conn:
            assert conn.execute(question).fetchone() == (held,)


def test_a_sweeper_sees_every_tenant(server: Server, secured: str) -> None:
    with psycopg.connect(server.dsn(secured), autocommit=True) as conn:
        conn.execute("SET runstore.tenant_id = 'acme'")
        conn.execute(
            "INSERT INTO runstore.runs (id, kind, status)"
            " VALUES (runstore.new_run_id(), 'chat', 'pending')"
        )
        with conn.transaction(force_rollback=True):
            conn.execute(block("sql", "sweeper").encode())
            conn.execute("SET LOCAL ROLE sweeper")
            conn.execute("RESET runstore.tenant_id")
            assert len(conn.execute("SELECT id FROM runstore.runs").fetchall()) == 1
            conn.execute("RESET ROLE")
            conn.execute("SET LOCAL ROLE runstore_writer")
            assert conn.execute("SELECT id FROM runstore.runs").fetchall() == []


def test_the_way_back(server: Server, secured: str, logins: Logins, tmp_path: Path) -> None:
    command = ["bash", "-euc", block("sh")]
    run(command, tmp_path, MIGRATION_URL=logins.yoyo_url(secured))

    with psycopg.connect(server.dsn(secured)) as conn:
        assert applied(conn) == IDS
