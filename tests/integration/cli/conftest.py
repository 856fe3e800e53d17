"""What the tests of the commands record before they look at it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection

import runstore


@pytest.fixture
def conn(database: str) -> Iterator[Connection[Any]]:
    """A connection to `database`, with the settings that the library recommends."""
    with runstore.connect(database) as conn:
        yield conn
