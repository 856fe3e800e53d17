"""The server of the measurements, and a fresh database for each of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import psycopg
from psycopg import sql

from runstore.embedded import Server, persistent_server

MIGRATIONS: Final = Path(__file__).resolve().parents[2] / "migrations"
TEMPLATE: Final = "bench_template"

Commits = Literal["durable", "relaxed"]
"""Whether a commit waits for the disk."""

# Autovacuum would come to one contestant's rows and not to another's.
SETTINGS: Final = {
    "autovacuum": "off",
    # All who take part in a workload are connected at once.
    "max_connections": "300",
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "shared_preload_libraries": "pg_stat_statements",
}


@contextmanager
def bench_server() -> Generator[Server]:
    """Start a durable server with a migrated template, in a folder that ends with the block."""
    place = Path(tempfile.mkdtemp(prefix="runstore-bench-", dir="/tmp"))
    # The account that root hands the server to has to reach the data.
    place.chmod(0o755)
    try:
        with persistent_server(place / "data") as server:
            configure(server)
        # Some of the settings count from a start.
        with persistent_server(place / "data") as server:
            make_template(server)
            yield server
    finally:
        shutil.rmtree(place)


def configure(server: Server) -> None:
    with psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as conn:
        for name, value in SETTINGS.items():
            conn.execute(
                sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
            )


def make_template(server: Server) -> None:
    with psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as conn:
        conn.execute("CREATE EXTENSION pg_stat_statements")
        conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    command = [sys.executable, "-m", "yoyo", "apply", "--batch", "--no-config-file"]
    command += ["--database", server.yoyo_url(TEMPLATE), str(MIGRATIONS)]
    subprocess.run(command, check=True, process_group=0)


@contextmanager
def database(server: Server, name: str, commits: Commits) -> Generator[str]:
    """Make a migrated database, and drop it with the block; give its DSN."""
    with psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as conn:
        identifier = sql.Identifier(name)
        conn.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(identifier, sql.Identifier(TEMPLATE))
        )
        waits = sql.Literal("on" if commits == "durable" else "off")
        conn.execute(
            sql.SQL("ALTER DATABASE {} SET synchronous_commit = {}").format(identifier, waits)
        )
        try:
            yield server.dsn(name)
        finally:
            conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))
