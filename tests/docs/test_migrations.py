"""The examples of docs/migrations.md do what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from catalogue_rules import names_constraints_for_their_columns, names_indexes_for_their_columns
from deploys import IDS, MIGRATIONS, applied, atomic_url, objects, succeed
from factories import new_feature_run
from migration_rules import problems
from runstore import InvalidPayload, create_feature_run
from runstore.embedded import Server

TEXT = (Path(__file__).parents[2] / "docs" / "migrations.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^`(\S+\.sql)`:\n\n```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [body for found, body in BLOCK.findall(TEXT) if found == language]


@pytest.fixture
def conn(server: Server, empty_dbname: str) -> Iterator[Connection[TupleRow]]:
    with psycopg.connect(server.dsn(empty_dbname), autocommit=True) as conn:
        yield conn


def test_a_deploy_as_it_is_described(
    server: Server, empty_dbname: str, conn: Connection[TupleRow], tmp_path: Path
) -> None:
    [settings] = blocks("ini")
    # A checkout has the folder elsewhere. The wheel's test uses the wheel's.
    assert "package:runstore:migrations" in settings
    settings = settings.replace("package:runstore:migrations", str(MIGRATIONS))
    (tmp_path / "yoyo.ini").write_text(settings)

    done = subprocess.run(
        ["/usr/bin/env", "bash", "-euc", "\n".join(blocks("sh"))],
        cwd=tmp_path,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "MIGRATION_URL": atomic_url(server, empty_dbname),
            "DATABASE_URL": server.dsn(empty_dbname),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert f"The database has all {len(IDS)} migrations of this version." in done.stdout
    assert len(re.findall(r"^A ", done.stdout, re.MULTILINE)) == len(IDS)
    assert applied(conn) == IDS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Our migrations, and after them the document's."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder)

    def in_line(text: str) -> str:
        text = text.replace("runstore-0100-the-one-before", IDS[-1])
        return re.sub(
            r"runstore-01(\d\d)-", lambda match: f"runstore-{len(IDS) + int(match[1]):04}-", text
        )

    files = FILE.findall(TEXT)
    assert len(files) == 8
    for name, body in files:
        (folder / in_line(name)).write_text(in_line(body))
    return folder


def test_the_migrations_of_the_document_keep_the_rules(folder: Path) -> None:
    assert problems(folder) == []


def test_the_migrations_of_the_document_expand_backfill_and_contract(
    server: Server, empty_dbname: str, conn: Connection[TupleRow], folder: Path
) -> None:
    url = atomic_url(server, empty_dbname)
    expand, require, validate, index = (
        f"runstore-{len(IDS) + number:04}" for number in (1, 2, 3, 4)
    )
    succeed("apply", url, "--revision", IDS[-1], folder)
    before = objects(conn)
    create_feature_run(conn, new_feature_run())

    succeed("apply", url, "--revision", expand, folder)
    # What old code sends still works.
    create_feature_run(conn, new_feature_run())
    succeed("apply", url, "--revision", require, folder)
    with pytest.raises(InvalidPayload, match="runs_region_check"):
        create_feature_run(conn, new_feature_run())

    [backfill] = [block.encode() for block in blocks("sql") if block.startswith("UPDATE")]
    assert conn.execute(backfill).rowcount == 2
    assert conn.execute(backfill).rowcount == 0
    succeed("apply", url, "--revision", validate, folder)
    succeed("apply", url, "--revision", index, folder)
    assert conn.execute(
        "SELECT convalidated FROM pg_constraint WHERE conname = 'runs_region_check'"
    ).fetchone() == (True,)
    assert names_constraints_for_their_columns(conn) == set()
    assert names_indexes_for_their_columns(conn) == set()

    succeed("rollback", url, "--revision", expand, folder)
    assert objects(conn) == before
