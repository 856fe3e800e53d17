"""Run yoyo again and again, in forks of one process.

A script. Each line that it reads is a request in JSON: yoyo's arguments, the file that takes what
it prints, and after how many statements it dies by SIGKILL, if it does. Each line that it answers
is the exit status of such a fork, negative for the signal that ended it. It forks because a new
yoyo takes half a second to be imported and to parse our migrations.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import psycopg
import yoyo.connections
import yoyo.migrations
from yoyo.backends.base import get_backend_class
from yoyo.scripts.main import main, make_argparser


def remember_files(folder: str) -> None:
    """Let the forks find the files of a folder parsed."""
    read = yoyo.migrations.read_sql_migration
    parsed = functools.cache(read)

    def remembered(path: str) -> tuple[dict[str, str], str, list[str]]:
        if Path(path).parent != Path(folder):
            return read(path)
        directives, comment, statements = parsed(path)
        # yoyo reverses the statements of a rollback in place.
        return directives, comment, list(statements)

    for file in Path(folder).glob("*.sql"):
        parsed(str(file))
    yoyo.migrations.read_sql_migration = remembered


def remember_backends(*schemes: str) -> None:
    """Let the forks find these backends without a look into every installed package."""
    found = functools.cache(get_backend_class)
    for scheme in schemes:
        found(scheme)
    connections: Any = yoyo.connections
    connections.get_backend_class = found


def die_after(statements: int) -> None:
    """Kill this process where it would send one statement more, savepoints not counted."""
    execute = psycopg.Cursor.execute
    sent = 0

    def counted(self: psycopg.Cursor[Any], query: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal sent
        if not str(query).startswith("SAVEPOINT"):
            if sent == statements:
                os.kill(os.getpid(), signal.SIGKILL)
            sent += 1
        return execute(self, query, *arguments, **options)

    psycopg.Cursor.execute = counted  # type: ignore[method-assign]  # What it is for.


def be_yoyo(arguments: list[str], output: str, statements: int | None) -> int:
    """Do in a fork what the command would do, and answer its exit status."""
    file = os.open(output, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(file, stream.fileno())
    if statements is not None:
        die_after(statements)
    try:
        return main(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except Exception:  # noqa: BLE001  # As the interpreter does it.
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def serve(folder: str) -> None:
    """Answer one line for each line."""
    remember_files(folder)
    remember_backends("postgresql+atomic", "postgresql+psycopg")
    # What yoyo imports late, each fork would have to import.
    make_argparser()
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(be_yoyo(**request))
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(*sys.argv[1:])
