"""New databases on a server, each with a name that no other test run has."""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator
from contextlib import contextmanager

from pytest_postgresql.janitor import DatabaseJanitor

from runstore.embedded import Server

# A running server may be shared with other test runs.
NAMES = (f"runstore_{os.getpid()}_{number}" for number in itertools.count())


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
