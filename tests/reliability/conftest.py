"""A database that tests empty themselves, since a clone for each would take too long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_postgresql.executors import NoopExecutor

from conftest import new_database
from connections import Caller, Kind
from runstore.embedded import Server
from sessions import Session, open_session


@pytest.fixture(scope="module")
def laboratory(server: Server, migrated: NoopExecutor) -> Iterator[str]:
    """The DSN of a migrated database; who uses it empties it first."""
    with new_database(server, migrated.template_dbname) as name:
        yield server.dsn(name)


@pytest.fixture
def observer(laboratory: str) -> Iterator[Caller]:
    with open_session("blocking", laboratory) as observer:
        yield observer


@pytest.fixture
def healthy(laboratory: str, connection_kind: Kind) -> Iterator[Session]:
    """A connection of the kind at hand, on which nothing fails."""
    with open_session(connection_kind, laboratory) as session:
        yield session
