"""New databases on a server, each with a name that no other test run has."""

from __future__ import annotations

import itertools
import os
from collections.abc import Generator
from contextlib import contextmanager

from psycopg.sql import SQL, Composed, Literal
from pytest_postgresql.janitor import DatabaseJanitor

from runstore._programs import PARENT
from runstore.embedded import Server

# A running server may be shared with other test runs.
NAMES = (f"runstore_{os.getpid()}_{number}" for number in itertools.count())

MEMORY = "/dev/shm"  # noqa: S108 - what is made there is a private folder.
# The server of a worker takes up to 200 MB; its log would be kept below 1 GB.
ROOM = 2 << 30


def fastest_folder() -> str:
    """Return where a server makes and drops databases in the least time.

    A database is some three hundred files, and a disk takes longer for them than most tests last.
    """
    if not os.access(MEMORY, os.W_OK):
        return PARENT
    found = os.statvfs(MEMORY)
    # The server's programs may have to be copied there.
    runs = not found.f_flag & os.ST_NOEXEC
    return MEMORY if runs and found.f_bavail * found.f_frsize >= ROOM else PARENT


class Copier(DatabaseJanitor):
    """Copies files, in half of the time that it takes to log each of their pages."""

    icu_locale: str | None = None

    def _build_create_database_sql(self) -> Composed:
        query = super()._build_create_database_sql() + SQL(" STRATEGY file_copy")
        if self.icu_locale is not None:
            query += SQL(" LOCALE_PROVIDER icu ICU_LOCALE {}").format(Literal(self.icu_locale))
        return query


@contextmanager
def new_database(
    server: Server, template: str | None, *, icu_locale: str | None = None
) -> Generator[str]:
    """Make a database that is dropped afterwards, with whatever connections it then has.

    One with an ICU locale sorts texts as people there do; that takes `template0`.
    """
    name = next(NAMES)
    copier = Copier(
        user=server.user,
        host=server.host,
        port=server.port,
        password=server.password,
        dbname=name,
        template_dbname=template,
        maintenance_dbname=server.maintenance_dbname,
    )
    copier.icu_locale = icu_locale
    with copier:
        yield name
