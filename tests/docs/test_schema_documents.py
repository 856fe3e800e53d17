"""What is written from the schema and the queries is up to date, and can be used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from runstore import _sql
from runstore.embedded import Server
from runstore.testing import find_queries, prover
from runstore.testing._discovery import queries_of

SCRIPTS = Path(__file__).parents[2] / "scripts" / "schema"

# The version that the pages are written on: plans differ from one to the next.
VERSION = 18

QUERIES = sorted(
    query.name for query in find_queries(_sql.directory("sql"), "runstore") if query.sql
)


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPTS / script), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_pages_are_up_to_date(server: Server) -> None:
    with psycopg.connect(server.dsn(server.maintenance_dbname)) as conn:
        found = conn.info.server_version // 10000
    if found != VERSION:
        pytest.skip(f"the pages are written on PostgreSQL {VERSION}, and this is {found}")

    # On a server of its own: on one that has run for a while, autovacuum has gathered statistics of
    # the catalogue, and its queries may have other plans.
    done = run("document_schema.py", "--check")

    hint = "run scripts/document-schema\n"
    assert done.returncode == 0, hint + done.stdout[:4000] + done.stderr


@pytest.mark.owner
def test_every_query_can_be_pasted_into_psql(database: str) -> None:
    done = run("explain_query.py", *QUERIES, "--dsn", database)

    assert done.returncode == 0, done.stderr
    texts = [f"BEGIN;{text}" for text in done.stdout.split("BEGIN;")[1:]]
    assert len(texts) == len(QUERIES)
    with psycopg.connect(database, autocommit=True) as conn:
        for name, text in zip(QUERIES, texts, strict=True):
            assert text.startswith(f"BEGIN;\nPREPARE {name}"), text
            try:
                # Without parameters several statements go at once.
                conn.execute(text.encode())
            except psycopg.IntegrityError:
                # It is well formed, and a constraint refuses the samples.
                conn.rollback()


def test_a_query_that_does_not_exist_is_not_explained() -> None:
    done = run("explain_query.py", "get_nothing")

    assert done.returncode == 1
    assert done.stderr == "there is no query get_nothing\n"


def test_the_pages_read_the_catalogue_by_proven_queries(
    monkeypatch: pytest.MonkeyPatch, shared_owner_dsn: str
) -> None:
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    queries = queries_of(SCRIPTS / "schema_catalogue.sql", "schema_catalogue")
    with (
        psycopg.connect(shared_owner_dsn, autocommit=True) as conn,
        # Not a table of it is read but the catalogue's own.
        prover(conn, schema="public", rows=1) as made,
    ):
        assert [problem for query in queries for problem in made.problems(query)] == []
