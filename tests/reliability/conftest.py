"""Connections to the database that tests empty themselves: a clone for each takes too long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from connections import Caller, Kind
from sessions import Session, open_session


@pytest.fixture
def observer(laboratory: str) -> Iterator[Caller]:
    with open_session("blocking", laboratory) as observer:
        yield observer


@pytest.fixture
def healthy(laboratory: str, connection_kind: Kind) -> Iterator[Session]:
    """A connection of the kind at hand, on which nothing fails."""
    with open_session(connection_kind, laboratory) as session:
        yield session
