"""One server, one template database that the real migrations made, and its clones."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow
from pytest_postgresql import factories
from pytest_postgresql.executors import NoopExecutor
from pytest_postgresql.janitor import DatabaseJanitor

from browsers import Browser, find_browser
from connections import Caller, Connect, Kind, caller
from runstore import embedded
from runstore.embedded import Server

MIGRATIONS = Path(__file__).parents[1] / "migrations"

# A running server may be shared with other test runs.
NAMES = (f"runstore_{os.getpid()}_{number}" for number in itertools.count())


def pytest_report_header() -> str:
    return f"PostgreSQL: {os.environ.get('RUNSTORE_TEST_DSN') or embedded.find_binaries()}"


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with embedded.throwaway_server() as server:
        yield server


def apply_migrations(
    *, host: str, port: int, user: str, password: str, dbname: str, **_: object
) -> None:
    # yoyo answers success when it finds no migrations.
    assert any(MIGRATIONS.glob("*.sql"))
    url = Server(host, port, user, password).yoyo_url(dbname)
    command = [sys.executable, "-m", "yoyo", "apply", "--batch", "--no-config-file"]
    subprocess.run([*command, "--database", url, str(MIGRATIONS)], check=True)


# The type of `load` names no parameters.
migrated = factories.postgresql_noproc(  # pyright: ignore[reportUnknownMemberType]
    depends_on="server", dbname=next(NAMES), load=[apply_migrations]
)


@contextmanager
def new_database(server: Server, template: str | None) -> Generator[str]:
    """Make a database that is dropped afterwards, with whatever connections it then has."""
    name = next(NAMES)
    with DatabaseJanitor(
        user=server.user,
        host=server.host,
        port=server.port,
        password=server.password,
        dbname=name,
        template_dbname=template,
        maintenance_dbname=server.maintenance_dbname,
    ):
        yield name


@pytest.fixture
def empty_dbname(server: Server) -> Iterator[str]:
    """The name of a new database without our schema."""
    with new_database(server, None) as name:
        yield name


@pytest.fixture
def database(server: Server, migrated: NoopExecutor) -> Iterator[str]:
    """The DSN of a new migrated database, for tests that commit or race."""
    with new_database(server, migrated.template_dbname) as name:
        yield server.dsn(name)


@pytest.fixture(scope="session")
def shared_database(server: Server, migrated: NoopExecutor) -> Iterator[str]:
    """The DSN of the migrated database in which every test rolls back."""
    with new_database(server, migrated.template_dbname) as name:
        yield server.dsn(name)


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
def call(connection_kind: Kind, shared_database: str) -> Iterator[Caller]:
    """Calls functions in one transaction that is rolled back."""
    with caller(connection_kind, shared_database, rolled_back=True) as call:
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
