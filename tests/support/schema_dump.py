"""The schema of a database as text, the same on every version of PostgreSQL.

Run as a script it writes `docs/schema.sql`, of a database that the migrations made.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psycopg
from psycopg import sql

from deploys import MIGRATIONS, atomic_url, succeed
from runstore import embedded
from runstore.embedded import Server

FILE = Path(__file__).parents[2] / "docs" / "schema.sql"

_HEADER = """\
-- The schema as the migrations leave it. To be read, not to be run: `yoyo apply` makes it.
-- Written by scripts/dump-schema.

"""
# What stands before and after them names versions, and settings that only some versions have.
_FIRST = "SET row_security = off;\n\n"
_LAST = "\n\n--\n-- PostgreSQL database dump complete\n"


def dump(server: Server, dsn: str) -> str:
    """Return the definition of everything in the schema, without owners and privileges."""
    # The one of the server's own version, where the server is ours.
    program = (server.bindir or embedded.find_binaries()) / "pg_dump"
    options = ("--schema-only", "--no-owner", "--no-privileges", "--schema=runstore")
    done = subprocess.run(
        [program, *options, f"--dbname={dsn}"],
        env={name: value for name, value in os.environ.items() if not name.startswith("PG")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    _, found, rest = done.stdout.partition(_FIRST)
    text, also_found, _ = rest.partition(_LAST)
    assert found
    assert also_found
    return text.strip("\n") + "\n"


def document(server: Server, dsn: str) -> str:
    """Return what `docs/schema.sql` has to hold."""
    return _HEADER + dump(server, dsn)


def write() -> None:
    """Migrate a database of a new server, and write down its schema."""
    with embedded.throwaway_server() as server:
        name = f"runstore_dump_{os.getpid()}"
        database = sql.Identifier(name)
        with psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as conn:
            conn.execute(sql.SQL("CREATE DATABASE {}").format(database))
            try:
                succeed("apply", atomic_url(server, name), MIGRATIONS)
                FILE.write_text(document(server, server.dsn(name)), encoding="utf-8")
            finally:
                conn.execute(sql.SQL("DROP DATABASE {}").format(database))


if __name__ == "__main__":
    write()
