"""A PgBouncer of the test run's own, in transaction mode, and what it asks of its clients.

The suite goes through it when `RUNSTORE_TEST_POOLER` is set: every DSN of the writer leads there,
and every connection prepares nothing, as one must behind a pooler that does not track what is
prepared. Debian's PgBouncer is such a one.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

import runstore
from runstore import _supervisor
from runstore.embedded import Server

POOLER = bool(os.environ.get("RUNSTORE_TEST_POOLER"))
PORT = 6432
SECONDS = 10

# More than any test has open at once, and fewer than a server takes.
SETTINGS = {
    "listen_addr": "",
    "listen_port": PORT,
    "auth_type": "trust",
    "pool_mode": "transaction",
    "max_client_conn": 2000,
    "default_pool_size": 80,
    # A database is dropped with its test.
    "autodb_idle_timeout": 5,
    "log_connections": 0,
    "log_disconnections": 0,
    "log_stats": 0,
}


@contextmanager
def pgbouncer(server: Server, passwords: Mapping[str, str]) -> Generator[Server]:
    """Start a PgBouncer before a server, which ends with the block or with this process."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program, "RUNSTORE_TEST_POOLER is set, and there is no pgbouncer"
    folder = Path(tempfile.mkdtemp(prefix="runstore-pgbouncer-", dir="/tmp"))
    try:
        account = _account(server)
        users = "".join(f'"{name}" "{password}"\n' for name, password in passwords.items())
        (folder / "users").write_text(users, encoding="utf-8")
        settings = {**SETTINGS, "unix_socket_dir": folder, "auth_file": folder / "users"}
        lines = [f"{name} = {value}" for name, value in settings.items()]
        databases = f"[databases]\n* = host={server.host} port={server.port}\n"
        config = folder / "pgbouncer.ini"
        config.write_text(databases + "\n".join(["[pgbouncer]", *lines, ""]), encoding="utf-8")
        for path in (folder, *folder.iterdir()):
            if account:
                os.chown(path, *account)
        command = [sys.executable, "-I", "-S", _supervisor.__file__, str(int(signal.SIGTERM))]
        command += [":".join(map(str, account)) if account else "", str(folder)]
        with (folder / "log").open("wb") as log:
            supervisor = subprocess.Popen(
                [*command, program, str(config)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            pooler = replace(server, host=str(folder), port=PORT)
            _wait_until_it_answers(pooler, folder / "log")
            yield pooler
        finally:
            supervisor.communicate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account(server: Server) -> tuple[int, int] | None:
    """Return an account without privileges that reaches the server, or None to stay who we are."""
    if os.geteuid() != 0:
        return None
    if server.host.startswith("/"):
        owner = Path(server.host).stat()
        if owner.st_uid != 0:
            return owner.st_uid, owner.st_gid
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _wait_until_it_answers(pooler: Server, log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            psycopg.connect(pooler.dsn(pooler.maintenance_dbname)).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, log.read_text(errors="replace")
            time.sleep(0.02)
        else:
            return


def prepare_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let connections be opened with what `pooler=True` says, unless the test says otherwise."""
    connects: tuple[Any, ...] = (psycopg.Connection.connect, psycopg.AsyncConnection.connect)
    for connect in connects:
        monkeypatch.setitem(connect.__func__.__kwdefaults__, "prepare_threshold", None)
    for opens in (
        runstore.connect,
        runstore.connect_async,
        runstore.open_pool,
        runstore.open_pool_async,
    ):
        defaults: Any = opens.__kwdefaults__
        monkeypatch.setitem(defaults, "pooler", True)
