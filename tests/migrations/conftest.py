"""Databases for migrations to run on."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg import Connection, sql

from deploys import NewDatabase
from runstore.embedded import Server

NAMES = (f"runstore_migrations_{os.getpid()}_{number}" for number in itertools.count())


@pytest.fixture
def new_database(server: Server) -> Iterator[NewDatabase]:
    """Makes empty databases, and answers their names."""
    with (
        psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as conn,
        ExitStack() as stack,
    ):

        def new_database() -> str:
            name = next(NAMES)
            identifier = sql.Identifier(name)
            conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(identifier))
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier)
            stack.callback(conn.execute, drop)
            return name

        yield new_database


@pytest.fixture
def dbname(new_database: NewDatabase) -> str:
    """The name of an empty database."""
    return new_database()


@pytest.fixture
def conn(server: Server, dbname: str) -> Iterator[Connection[Any]]:
    """An autocommit connection to `dbname`, for looking at what yoyo did."""
    with psycopg.connect(server.dsn(dbname), autocommit=True) as conn:
        yield conn
