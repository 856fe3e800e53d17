"""Databases for migrations to run on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg import Connection

import databases
from deploys import NewDatabase
from runstore.embedded import Server


@pytest.fixture
def new_database(server: Server) -> Iterator[NewDatabase]:
    """Makes empty databases, and answers their names."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(databases.new_database(server, None))


@pytest.fixture
def dbname(empty_dbname: str) -> str:
    return empty_dbname


@pytest.fixture
def conn(server: Server, dbname: str) -> Iterator[Connection[Any]]:
    """An autocommit connection to `dbname`, for looking at what yoyo did."""
    with psycopg.connect(server.dsn(dbname), autocommit=True) as conn:
        yield conn
