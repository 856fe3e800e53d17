"""What tests do with yoyo: run it as a deploy does, and look at what it left."""

from __future__ import annotations

import atexit
import functools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict

from runstore.embedded import Server

MIGRATIONS = Path(__file__).parents[2] / "migrations"
IDS = sorted(
    path.stem for path in MIGRATIONS.glob("*.sql") if not path.name.endswith(".rollback.sql")
)
# Each folder within is a set of migrations that a deploy may choose.
SETS = sorted(path for path in MIGRATIONS.iterdir() if path.is_dir())

NewDatabase = Callable[[], str]

# Everything in a database that is not PostgreSQL's own.
_OBJECTS = """
    SELECT pg_describe_object(classid, objid, objsubid)
    FROM pg_depend
    WHERE objid >= 16384
    UNION
    SELECT pg_describe_object(classoid, objoid, objsubid) || ': ' || description
    FROM pg_description
    WHERE objoid >= 16384
    UNION
    SELECT pg_describe_object('pg_class'::regclass, attrelid, attnum)
    FROM pg_attribute
    WHERE attrelid >= 16384 AND attnum > 0 AND NOT attisdropped
"""


# Names of what PostgreSQL makes by itself hold numbers, which differ.
_NOT_MADE = ("yoyo", "pg_toast", "RI_ConstraintTrigger")


def stock_url(server: Server, dbname: str) -> str:
    """Name a database for yoyo's own backend."""
    return server.yoyo_url(dbname)


def atomic_url(server: Server, dbname: str) -> str:
    """Name a database for our backend."""
    return server.yoyo_url(dbname).replace("+psycopg:", "+atomic:", 1)


def libpq_variables(server: Server, dbname: str) -> dict[str, str]:
    """Name a database as the environment does where no URL does."""
    given = conninfo_to_dict(server.dsn(dbname))
    given["database"] = given.pop("dbname")
    return {f"PG{name.upper()}": str(value) for name, value in given.items()}


@functools.cache
def _forks() -> subprocess.Popen[str]:
    """Start the process whose forks are yoyo; it ends with ours."""
    script = Path(__file__).with_name("forked_yoyo.py")
    process = subprocess.Popen(
        (sys.executable, script, MIGRATIONS),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(process.communicate)
    return process


def yoyo(
    command: str, url: str, *arguments: str | Path, dies_after: int | None = None
) -> tuple[int, str]:
    """Run a yoyo to its end, and answer its exit status and all that it said.

    It kills itself after so many statements, when a number is given.
    """
    forks = _forks()
    assert forks.stdin
    assert forks.stdout
    options = ["--batch", "--no-config-file", "--database", url]
    with tempfile.NamedTemporaryFile() as output:
        request = {
            "arguments": [command, *options, *map(str, arguments)],
            "output": output.name,
            "statements": dies_after,
        }
        forks.stdin.write(f"{json.dumps(request)}\n")
        forks.stdin.flush()
        return int(forks.stdout.readline()), output.read().decode()


def start_yoyo(command: str, url: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start a yoyo of its own, for those that run at the same time."""
    options = ("--batch", "--no-config-file", "--database", url)
    return subprocess.Popen(
        (sys.executable, "-m", "yoyo", command, *options, *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a yoyo to end, and answer its exit status and all that it said."""
    output, errors = process.communicate(timeout=60)
    return process.returncode, output + errors


def succeed(command: str, url: str, *arguments: str | Path) -> str:
    status, said = yoyo(command, url, *arguments)
    assert status == 0, said
    return said


def write(folder: Path, id: str, sql: str, rollback: str | None = None) -> None:
    """Add a migration to a folder."""
    (folder / f"{id}.sql").write_text(sql)
    if rollback is not None:
        (folder / f"{id}.rollback.sql").write_text(rollback)


def applied(conn: Connection[Any]) -> list[str]:
    """Name the migrations that are recorded as applied."""
    if conn.execute("SELECT to_regclass('_yoyo_migration')").fetchone() == (None,):
        return []
    rows = conn.execute("SELECT migration_id FROM _yoyo_migration ORDER BY migration_id")
    return [row[0] for row in rows]


def log(conn: Connection[Any]) -> list[tuple[str, str]]:
    """Name the operations that were recorded, each with its migration."""
    rows = conn.execute("SELECT operation, migration_id FROM _yoyo_log ORDER BY created_at_utc")
    return [(row[0], row[1]) for row in rows]


def objects(conn: Connection[Any]) -> set[str]:
    """Describe everything that the applied migrations made."""
    described = {row[0] for row in conn.execute(_OBJECTS)}
    return {name for name in described if not any(part in name for part in _NOT_MADE)}


def wait_until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.01)
