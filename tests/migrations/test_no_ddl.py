"""The library uses the schema and never makes it: that is what deploys are for."""

from __future__ import annotations

import os
import pkgutil
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pglast
import psycopg
import pytest
from pglast import ast

import runstore
from factories import new_agent_invocation, new_feature_run
from runstore import _sql
from runstore.embedded import Server

DATA_STATEMENTS = (ast.SelectStmt, ast.InsertStmt, ast.UpdateStmt, ast.DeleteStmt)
PLACEHOLDER = re.compile(r"%\(\w+\)[sbt]")
FILES = sorted(_sql.directory("sql").glob("*.sql"))

# What a program does when it starts: import everything there is.
IMPORT_ALL = """
import contextlib, importlib, sys
for name in sys.argv[1:]:
    # An integration may need what is not installed.
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module(name)
assert "runstore.cli" in sys.modules
"""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_named_query_reads_or_writes_rows(file: Path) -> None:
    for name, sql in _sql.parse(file).items():
        text = PLACEHOLDER.sub("NULL", sql.text).replace("%%", "%")
        kinds = [type(statement.stmt) for statement in pglast.parse_sql(text)]
        assert len(kinds) == 1, name
        assert kinds[0] in DATA_STATEMENTS, name


def test_importing_the_library_opens_no_connection() -> None:
    modules = [
        module.name
        for module in pkgutil.walk_packages(runstore.__path__, "runstore.")
        if not module.name.endswith("__main__")
    ]
    with (
        # The path of a socket must be short.
        tempfile.TemporaryDirectory(prefix="runstore-", dir="/tmp") as folder,
        socket.socket(socket.AF_UNIX) as server,
    ):
        server.bind(f"{folder}/.s.PGSQL.5432")
        server.listen()
        server.setblocking(False)

        def run(program: str, *arguments: str) -> None:
            subprocess.run(
                [sys.executable, "-c", program, *arguments],
                env={**os.environ, "PGHOST": folder, "PGPORT": "5432"},
                check=True,
            )

        run(IMPORT_ALL, *modules)
        with pytest.raises(BlockingIOError):
            server.accept()

        # So it can be told: this one does what the import must not do.
        run("import psycopg\ntry: psycopg.connect(connect_timeout=1)\nexcept Exception: pass")
        server.accept()[0].close()


def test_using_the_library_changes_no_definition(
    server: Server, migrated_dbname: str, database: str
) -> None:
    with psycopg.connect(server.dsn(migrated_dbname), autocommit=True) as conn:
        conn.execute("""
            CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql
            AS $$ BEGIN RAISE 'DDL: %', tg_tag; END $$
        """)
        conn.execute("CREATE EVENT TRIGGER refuse ON ddl_command_start EXECUTE FUNCTION refuse()")
        with pytest.raises(psycopg.errors.RaiseException, match="DDL: CREATE TABLE"):
            conn.execute("CREATE TABLE t ()")

    with runstore.open_pool(database, min_size=1) as pool, pool.connection() as conn:
        assert runstore.check_schema(conn).ok
        run = runstore.create_feature_run(conn, new_feature_run())
        call = runstore.create_agent_invocation(conn, new_agent_invocation(run.id))
        assert [node.invocation.id for node in runstore.get_run_tree(conn, run.id).invocations] == [
            call.id
        ]
        runstore.fail_feature_run(conn, run.id)
