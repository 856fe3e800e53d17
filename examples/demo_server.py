"""The PostgreSQL of the demonstrations: started on a folder, with the schema applied.

A program of your own needs none of this: it connects to your PostgreSQL, to which your
deployment has applied the migrations with the command that is printed here.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql
from rich.console import Console

from runstore.embedded import Server, persistent_server
from terminal import print_verbatim

DBNAME: Final = "runstore"
MIGRATIONS: Final = Path(__file__).resolve().parents[1] / "migrations"


def default_data_dir() -> Path:
    """Return the folder that holds the demonstrations' database, unless the user names one."""
    chosen = Path(os.environ.get("XDG_DATA_HOME", ""))
    if chosen.is_absolute():
        home = chosen
    elif os.geteuid() == 0:
        # Root's PostgreSQL runs as another account, which cannot enter root's home.
        home = Path("/var/lib")
    else:
        home = Path.home() / ".local" / "share"
    return home / "runstore-demo"


@contextmanager
def migrated_server(data_dir: Path, console: Console) -> Generator[Server]:
    """Run PostgreSQL on a folder for as long as the block lasts, with the newest schema."""
    print_verbatim(console, f"PostgreSQL keeps its data in {data_dir.resolve()}")
    with ExitStack() as stack:
        try:
            server = stack.enter_context(persistent_server(data_dir))
        except (OSError, RuntimeError) as error:
            sys.exit(f"{error}\n--data-dir chooses another folder.")
        create_database(server)
        apply_migrations(server, console)
        yield server


def create_database(server: Server) -> None:
    """Create our database where it does not exist yet."""
    with psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as conn:
        found = conn.execute("SELECT FROM pg_database WHERE datname = %s", [DBNAME])
        if found.rowcount == 0:
            conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DBNAME)))


def apply_migrations(server: Server, console: Console) -> None:
    """Bring the schema up to date with plain yoyo, as a deployment does."""
    command = ["yoyo", "apply", "--batch", "--no-config-file"]
    command += ["--database", server.yoyo_url(DBNAME), str(MIGRATIONS)]
    print_verbatim(console, f"$ python -m {shlex.join(command)}")
    # Ctrl-C at the terminal is for us alone; the interrupt ends it.
    subprocess.run([sys.executable, "-m", *command], check=True, process_group=0)


def psql_command(server: Server) -> str:
    """Return the command line with which a person looks around in our database."""
    bindir = str(server.bindir) if server.bindir else None
    program = shutil.which("psql", path=bindir) or shutil.which("psql") or "psql"
    return shlex.join([program, server.dsn(DBNAME)])
