"""The roles of `scripts/roles.sql`, and the logins that a test run has in them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

import psycopg
from psycopg import sql

from runstore.embedded import Server

Role = Literal["owner", "migrator", "writer", "janitor", "reader"]

ROLES: Final = Path(__file__).parents[1] / "scripts" / "roles.sql"

_LOGINS: Final[tuple[Role, ...]] = ("migrator", "writer", "janitor", "reader")


def apply_roles(dsn: str) -> None:
    """Run `scripts/roles.sql` on a database."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(ROLES.read_bytes())


@dataclass(frozen=True)
class Logins:
    """Makes every DSN of the suite but those of the server's superuser, which `Server.dsn` makes.

    A login is a member of its role and has no rights of its own. Those of `scripts/roles.sql`
    have no password and get none from a test: a running server may be somebody's.
    """

    server: Server
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12), repr=False)

    def name(self, role: Role) -> str:
        return f"runstore_test_{os.getpid()}_{role}"

    def dsn(self, role: Role, dbname: str) -> str:
        """Return the DSN with which a role uses a database."""
        return self._server(role).dsn(dbname)

    def yoyo_url(self, dbname: str) -> str:
        """Return the URL with which yoyo migrates a database, as a deploy does."""
        as_owner = replace(self._server("migrator"), options=self._options())
        return as_owner.yoyo_url(dbname).replace("+psycopg:", "+atomic:", 1)

    def _server(self, role: Role) -> Server:
        if role == "owner":
            # Nobody logs in as the owner. A superuser may become it.
            return replace(self.server, options=self._options())
        return replace(self.server, user=self.name(role), password=self.password)

    def _options(self) -> str:
        return f"{self.server.options} -c role=runstore_owner".strip()


@contextmanager
def new_logins(server: Server, dbname: str) -> Generator[Logins]:
    """Make the roles, by way of this database, and logins in them that are dropped afterwards."""
    apply_roles(server.dsn(dbname))
    logins = Logins(server)
    with psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as conn:
        for role in _LOGINS:
            conn.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}").format(
                    sql.Identifier(logins.name(role)),
                    logins.password,
                    sql.Identifier(f"runstore_{role}"),
                )
            )
        try:
            yield logins
        finally:
            for role in _LOGINS:
                conn.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(logins.name(role))))
