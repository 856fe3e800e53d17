"""One server, one template database that the real migrations made, and its clones.

The tests use a clone as an application does: their DSNs log in as members of `runstore_writer`,
which `scripts/roles.sql` has made. A test marked `owner` is the schema's owner instead: it changes
definitions, or leaves rows behind that no writer could. `Logins.dsn` makes all of these DSNs, for
every role; `Server.dsn` is the superuser's.

With `RUNSTORE_TEST_POOLER` the tests reach their clones through a PgBouncer. Those that would not,
or cannot (which are marked `direct`), are left out then.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import cast

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from browsers import Browser, find_browser
from connections import Caller, Connect, Kind, caller
from databases import fastest_folder, new_database
from deploys import MIGRATIONS, succeed
from logins import Logins, Role, apply_roles, new_logins
from poolers import POOLER, pgbouncer, prepare_nothing
from runstore import embedded
from runstore.embedded import Server


def pytest_configure() -> None:
    # A shell has ignore Ctrl-C what it runs in the background. The tests of it would wait for ever,
    # they or what they start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    server = os.environ.get("RUNSTORE_TEST_DSN") or embedded.find_binaries()
    return f"PostgreSQL: {server}{', through PgBouncer' if POOLER else ''}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not POOLER:
        return
    left_out = [item for item in items if not is_pooled(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = filter(is_pooled, items)


def is_pooled(item: pytest.Item) -> bool:
    """Say whether a test reaches its database through the pooler."""
    direct = item.get_closest_marker("direct")
    return isinstance(item, pytest.Function) and not direct and "entrance" in item.fixturenames


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every account can reach, a server's too, which pytest's own is not."""
    path = Path(tempfile.mkdtemp(prefix="runstore-test-", dir="/tmp"))
    path.chmod(0o751)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sdist, and of the wheel that is built from the sdist alone."""
    folder = tmp_path_factory.mktemp("archives")
    root = str(Path(__file__).parents[1])
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), root]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with embedded.throwaway_server(fastest_folder()) as server:
        yield server


@pytest.fixture(scope="session")
def template(server: Server) -> Iterator[tuple[str, Logins]]:
    """The database that is cloned, migrated as a deploy does it, and this run's logins."""
    with new_database(server, None) as name, new_logins(server, name) as logins:
        succeed("apply", logins.yoyo_url(name), MIGRATIONS)
        apply_roles(server.dsn(name))
        yield name, logins


@pytest.fixture(scope="session")
def logins(template: tuple[str, Logins]) -> Logins:
    """This run's logins in the roles, for any database."""
    return template[1]


@pytest.fixture(scope="session")
def pooled_logins(logins: Logins) -> Iterator[Logins | None]:
    """This run's logins by way of its pooler, or None when it has none."""
    if not POOLER:
        yield None
        return
    passwords = {logins.server.user: logins.server.password, **logins.passwords()}
    with pgbouncer(logins.server, passwords) as pooler:
        yield replace(logins, server=pooler)


@pytest.fixture
def entrance(
    logins: Logins, pooled_logins: Logins | None, monkeypatch: pytest.MonkeyPatch
) -> Logins:
    """The logins as which the test uses its database, by way of the pooler when there is one."""
    if pooled_logins is None:
        return logins
    prepare_nothing(monkeypatch)
    return pooled_logins


@pytest.fixture
def empty_dbname(server: Server) -> Iterator[str]:
    """The name of a new database without our schema."""
    with new_database(server, None) as name:
        yield name


@pytest.fixture
def migrated_dbname(server: Server, template: tuple[str, Logins]) -> Iterator[str]:
    """The name of a new migrated database, for tests that commit or race."""
    with new_database(server, template[0]) as name:
        yield name


@pytest.fixture
def role(request: pytest.FixtureRequest) -> Role:
    """The role as which the test uses its database."""
    return "owner" if request.node.get_closest_marker("owner") else "writer"


@pytest.fixture
def database(entrance: Logins, role: Role, migrated_dbname: str) -> str:
    """The DSN of a new migrated database, for tests that commit or race."""
    return entrance.dsn(role, migrated_dbname)


@pytest.fixture
def other_database(
    server: Server, template: tuple[str, Logins], entrance: Logins, role: Role
) -> Iterator[str]:
    """The DSN of one more migrated database, for tests that move things between two."""
    with new_database(server, template[0]) as name:
        yield entrance.dsn(role, name)


@pytest.fixture
def direct_database(logins: Logins, role: Role, migrated_dbname: str) -> str:
    """The DSN of the same database as `database`, for who needs a session of the server."""
    return logins.dsn(role, migrated_dbname)


@pytest.fixture(scope="module")
def laboratory(server: Server, template: tuple[str, Logins]) -> Iterator[str]:
    """The owner's DSN of a migrated database for a module's tests; who uses it empties it first."""
    name, logins = template
    with new_database(server, name) as dbname:
        yield logins.dsn("owner", dbname)


@pytest.fixture(scope="session")
def shared_dbname(server: Server, template: tuple[str, Logins]) -> Iterator[str]:
    """The name of the migrated database in which every test rolls back."""
    with new_database(server, template[0]) as name:
        # A clone has the privileges on its template's tables, and none on its template itself.
        apply_roles(server.dsn(name))
        yield name


@pytest.fixture(scope="session")
def shared_database(logins: Logins, shared_dbname: str) -> str:
    """The writer's direct DSN of the database in which every test rolls back."""
    return logins.dsn("writer", shared_dbname)


@pytest.fixture(scope="session")
def shared_owner_dsn(logins: Logins, shared_dbname: str) -> str:
    """The owner's DSN of `shared_database`."""
    return logins.dsn("owner", shared_dbname)


@pytest.fixture
def connect(database: str) -> Iterator[Connect]:
    """Opens blocking autocommit connections to `database`."""
    with ExitStack() as stack:

        def connect() -> Connection[TupleRow]:
            return stack.enter_context(psycopg.connect(database, autocommit=True))

        yield connect


@pytest.fixture(params=["blocking", "asyncio"])
def connection_kind(request: pytest.FixtureRequest) -> Kind:
    return cast("Kind", request.param)


@pytest.fixture
def call(
    connection_kind: Kind, entrance: Logins, role: Role, shared_dbname: str
) -> Iterator[Caller]:
    """Calls functions in one transaction that is rolled back."""
    with caller(connection_kind, entrance.dsn(role, shared_dbname), rolled_back=True) as call:
        yield call


@pytest.fixture
def committed_call(connection_kind: Kind, database: str) -> Iterator[Caller]:
    """Calls functions on `database`, each of them committing by itself."""
    with caller(connection_kind, database, rolled_back=False) as call:
        yield call


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    """A real browser; without one in the system the test is skipped."""
    program = find_browser()
    if program is None:
        pytest.skip("Chromium is not installed")
    return Browser(program, tmp_path)
