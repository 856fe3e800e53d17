"""The roles of `scripts/roles.sql`, and the logins that a test run has in them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, get_args

import psycopg
from psycopg import sql

from runstore.embedded import Server

Role = Literal["owner", "migrator", "writer", "janitor", "reader"]

ROLES: Final = Path(__file__).parents[2] / "scripts" / "roles.sql"


def apply_roles(dsn: str, script: Path = ROLES) -> None:
    """Run `scripts/roles.sql` on a database."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(script.read_bytes())


@dataclass(frozen=True)
class Logins:
    """Makes every DSN of the suite but those of the server's superuser, which `Server.dsn` makes.

    A login is a member of its role, and may do nothing else. The logins of `scripts/roles.sql`
    have no password and get none from a test: a running server may be somebody's.
    """

    server: Server
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12), repr=False)

    def name(self, role: Role) -> str:
        return f"runstore_test_{os.getpid()}_{role}"

    def passwords(self) -> dict[str, str]:
        """Return the password of each login."""
        return {self.name(role): self.password for role in get_args(Role)}

    def dsn(self, role: Role, dbname: str) -> str:
        """Return the DSN with which a role uses a database."""
        return self._server(role).dsn(dbname)

    def yoyo_url(self, dbname: str) -> str:
        """Return the URL with which yoyo migrates a database, as a deploy does."""
        # A setting of runstore_migrator itself does the same for who logs in by that name.
        options = f"{self.server.options} -c role=runstore_owner".strip()
        as_owner = replace(self._server("migrator"), options=options)
        return as_owner.yoyo_url(dbname).replace("+psycopg:", "+atomic:", 1)

    def _server(self, role: Role) -> Server:
        return replace(self.server, user=self.name(role), password=self.password)


@contextmanager
def new_logins(server: Server, dbname: str) -> Generator[Logins]:
    """Make the roles, by way of this database, and logins in them that are dropped afterwards."""
    apply_roles(server.dsn(dbname))
    logins = Logins(server)
    roles = {role: sql.Identifier(logins.name(role)) for role in get_args(Role)}
    with psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as conn:
        for role, login in roles.items():
            conn.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE {}").format(
                    login,
                    logins.password,
                    sql.Identifier(f"runstore_{role}"),
                )
            )
        # Who provokes deadlocks need not wait a second for each.
        both = sql.SQL(", ").join([roles["writer"], roles["owner"]])
        conn.execute(sql.SQL("GRANT SET ON PARAMETER deadlock_timeout TO {}").format(both))
        try:
            yield logins
        finally:
            conn.execute(sql.SQL("REVOKE SET ON PARAMETER deadlock_timeout FROM {}").format(both))
            conn.execute(sql.SQL("DROP ROLE {}").format(sql.SQL(", ").join(roles.values())))
