"""A database that tests empty themselves, since a clone for each would take too long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conftest import new_database
from connections import Caller, Kind
from logins import Logins
from runstore.embedded import Server
from sessions import Session, open_session


@pytest.fixture(scope="module")
def laboratory(server: Server, template: tuple[str, Logins]) -> Iterator[str]:
    """The owner's DSN of a migrated database; who uses it empties it first."""
    name, logins = template
    with new_database(server, name) as dbname:
        yield logins.dsn("owner", dbname)


@pytest.fixture
def observer(laboratory: str) -> Iterator[Caller]:
    with open_session("blocking", laboratory) as observer:
        yield observer


@pytest.fixture
def healthy(laboratory: str, connection_kind: Kind) -> Iterator[Session]:
    """A connection of the kind at hand, on which nothing fails."""
    with open_session(connection_kind, laboratory) as session:
        yield session
