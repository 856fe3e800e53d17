"""Durable servers that a drill may crash, and start again at the same address."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier, Literal

from runstore._programs import programs
from runstore.embedded import Server, persistent_server

MIGRATIONS = Path(__file__).parents[2] / "migrations"
DBNAME = "drill"


class Cluster:
    """A cluster in a folder of its own, on which a server runs or not."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        # The server runs as another account when root starts it.
        folder.chmod(0o755)
        self.data_dir = folder / "data"
        self._link = folder / "socket"
        self._running = ExitStack()
        self.server: Server | None = None

    @property
    def address(self) -> str:
        """The host of a connection string that stays true across restarts."""
        return str(self._link)

    def dsn(self, dbname: str = DBNAME, **parameters: str | int) -> str:
        """Return a connection string that stays true across restarts."""
        given = {"host": self.address, "port": 5432, "user": "postgres", "dbname": dbname}
        return make_conninfo("", **(given | parameters))

    def start(self) -> None:
        """Start the server, after a crash with recovery, and return when it answers."""
        self.server = self._running.enter_context(persistent_server(self.data_dir))
        # Each start listens in a folder of its own; a link makes it one place.
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(self.server.host)

    def stop(self) -> None:
        """Stop the server in good order, if it runs."""
        self._running.close()
        self.server = None

    def restart(self) -> None:
        """Stop the server in good order and start it again."""
        self.stop()
        self.start()

    def kill(self, number: signal.Signals) -> None:
        """Send the server's first process a signal that ends it, and wait for its end.

        SIGQUIT is an immediate shutdown; after SIGKILL the sessions find out by themselves.
        """
        os.kill(self._postmaster(), number)
        self.stop()

    def kill_all(self) -> None:
        """End every process of the server at once, as the loss of its machine would."""
        postmaster = self._postmaster()
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as conn:
            # A stopped process starts no others, and one that is connected still answers.
            os.kill(postmaster, signal.SIGSTOP)
            pids = [pid for (pid,) in conn.execute("SELECT pid FROM pg_stat_activity")]
            for pid in (postmaster, *pids):
                os.kill(pid, signal.SIGKILL)
        self.stop()

    def configure(self, **settings: str) -> None:
        """Change settings of the running server; some of them take effect at its next start."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as conn:
            for name, value in settings.items():
                change = SQL("ALTER SYSTEM SET {} = {}")
                conn.execute(change.format(Identifier(name), Literal(value)))
            conn.execute("SELECT pg_reload_conf()")

    def run(self, program: str, *arguments: str | Path) -> None:
        """Run one of PostgreSQL's programs as the account of the server, which must be running."""
        assert self.server is not None
        assert self.server.bindir is not None
        with programs(self.server.bindir, self.data_dir) as own:
            done = own.run(program, *arguments)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()}")

    def back_up(self, copy: Cluster, *options: str) -> None:
        """Make a base backup, the folder of another cluster that does not run yet."""
        assert self.server is not None
        assert self.server.bindir is not None
        copy.data_dir.mkdir(mode=0o700)
        with programs(self.server.bindir, self.data_dir) as own:
            own.hand_over(copy.data_dir)
        target = ("--pgdata", str(copy.data_dir), "--dbname", self.dsn("postgres"))
        self.run("pg_basebackup", *target, "--checkpoint=fast", *options)

    def query(self, statement: LiteralString, dbname: str = "postgres") -> Any:
        """Return the one value that a statement answers."""
        with psycopg.connect(self.dsn(dbname), autocommit=True) as conn:
            row = conn.execute(statement).fetchone()
        return None if row is None else row[0]

    def _postmaster(self) -> int:
        pid_file = self.data_dir / "postmaster.pid"
        return int(pid_file.read_text(encoding="ascii").partition("\n")[0])


@contextmanager
def drill_folder() -> Generator[Path]:
    """Make the folder that holds all that a drill writes, and remove it afterwards."""
    # Not TMPDIR, which may be closed to other accounts and too long for the path of a socket.
    with tempfile.TemporaryDirectory(prefix="runstore-drill-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def running_cluster(folder: Path) -> Generator[Cluster]:
    """Start a new cluster for a block."""
    cluster = Cluster(folder)
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


def create_database(cluster: Cluster) -> None:
    """Make the drills' database and migrate it."""
    assert cluster.server is not None
    with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as conn:
        conn.execute(SQL("CREATE DATABASE {}").format(Identifier(DBNAME)))
    command = [sys.executable, "-m", "yoyo", "apply", "--batch", "--no-config-file"]
    subprocess.run(
        [*command, "--database", cluster.server.yoyo_url(DBNAME), MIGRATIONS],
        check=True,
        process_group=0,
    )
