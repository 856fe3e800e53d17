"""The yoyo backend `postgresql+atomic://`, which a killed deploy cannot break.

yoyo's own `postgresql+psycopg://` commits a migration on one connection and its bookkeeping on
another, and its lock is a row that outlives its process. Here both commit in one transaction,
and the lock ends with its session. The tables are yoyo's own, so that either backend goes on
where the other stopped; only at the same time the two must not run.

This leans on the internals of yoyo 9.0, which `typings/yoyo` spells out.
"""

from __future__ import annotations

import getpass
import hashlib
import logging
import os
import socket
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from psycopg.errors import InsufficientPrivilege, InvalidParameterValue
from yoyo import internalmigrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.exceptions import BadMigration, LockTimeout
from yoyo.migrations import read_sql_migration
from yoyo.scripts.main import InvalidArgument

if TYPE_CHECKING:
    from psycopg import Connection
    from yoyo.connections import DatabaseURI
    from yoyo.migrations import Migration, MigrationList

_LOCK_WAIT: Final = "600"
_POLL_SECONDS: Final = 0.2
_CONNECTION: Final = {"application_name": "yoyo", "connect_timeout": "10"}
# In SQL_ASCII, which the environment may ask for, psycopg reads no text but bytes.
_ENCODING: Final = {"client_encoding": "UTF8"}

_LOG: Final = logging.getLogger("yoyo.migrations")


class MigrationRefused(InvalidArgument):
    """A migration that is not run, and why.

    yoyo reports its own `InvalidArgument` on one line, with exit status 2. It swallows
    `BadMigration` in several places, and would answer success.
    """


class AtomicPostgresqlBackend(PostgresqlPsycopgBackend):
    """A migration and its bookkeeping in one transaction, under a lock that dies with its process.

    Beside libpq's parameters its URL takes `lock_wait`: how many seconds a deploy waits for
    another one to finish, 600 unless told.
    """

    # Of the catalogue, and not of information_schema, which hides what a role cannot read: the
    # bookkeeping would seem to be missing, where reading it must be refused.
    list_tables_sql = (
        "SELECT pg_class.relname FROM pg_catalog.pg_class"
        " JOIN pg_catalog.pg_namespace ON pg_namespace.oid = pg_class.relnamespace"
        " WHERE pg_namespace.nspname = :schema"
    )

    _found_migrations = False
    _lock_wait = 0.0

    def connect(self, dburi: DatabaseURI) -> Connection[Any]:
        """Connect, and keep what libpq would not understand to ourselves."""
        args = dict(dburi.args)
        self._lock_wait = _seconds(args.pop("lock_wait", _LOCK_WAIT))
        # libpq takes an empty name for the user's, and only without one asks PGDATABASE and the
        # service.
        database = dburi.database or None
        args = {**_CONNECTION, **args, **_ENCODING}
        return super().connect(dburi._replace(database=database, args=args))

    def init_connection(self, connection: Connection[Any]) -> None:
        """Let the server notice within half a second that we died, in mid-statement too."""
        super().init_connection(connection)
        # A server on Windows has no way to notice, and refuses.
        with suppress(InvalidParameterValue):
            connection.execute(
                "SELECT set_config('client_connection_check_interval', '500ms', false)"
                " WHERE current_setting('client_connection_check_interval') = '0'"
            )

    def init_database(self) -> None:
        """Refuse a database that cannot hold what the migrations make, or their record.

        yoyo would create its lock's table, and probe for transactional DDL.
        """
        try:
            self._refuse_other_encodings()
            self._refuse_no_schema()
        except BaseException:
            self.connection.close()
            raise

    def _refuse_other_encodings(self) -> None:
        row = self.execute("SELECT current_setting('server_encoding')").fetchone()
        if row and row[0] != "UTF8":
            raise MigrationRefused(
                f"the database's encoding is {row[0]}, and has to be UTF8: make another one, by"
                " CREATE DATABASE ... TEMPLATE template0 ENCODING 'UTF8'"
            )

    def _refuse_no_schema(self) -> None:
        # Asking makes the temporary schema, where that is the only one, and not all roles may.
        with suppress(InsufficientPrivilege):
            row = self.execute("SELECT current_schema()").fetchone()
            if row and row[0] and not row[0].startswith("pg_temp_"):
                return
        row = self.execute("SELECT current_setting('search_path'), current_user").fetchone()
        path, role = row or ("", "")
        raise MigrationRefused(
            f"there is no schema for yoyo's tables: of the search path ({path}) none exists that"
            f" {role} may use; create one, or name another in the URL:"
            " ?options=-csearch_path%3Dops"
        )

    @contextmanager
    def lock(self, timeout: float | None = None) -> Generator[None]:
        """Hold the lock of this bookkeeping; `timeout` seconds override the URL's `lock_wait`.

        Raises yoyo's `LockTimeout`.
        """
        if self._is_locked:
            yield
            return
        key = self._lock_key()
        self._acquire(key, self._lock_wait if timeout is None else timeout)
        self._is_locked = True
        try:
            yield
        finally:
            self._is_locked = False
            # Where the connection is lost, the lock is gone with it.
            with suppress(self.DatabaseError):
                self.execute("SELECT pg_advisory_unlock(:key)", {"key": key})

    def break_lock(self) -> None:
        """Say who holds the lock: it ends with its session, and nothing else ends it."""
        pid = self._lock_holder(self._lock_key())
        if pid is not None:
            raise MigrationRefused(
                f"server process {pid} holds the migration lock until its session ends;"
                f" to end it: SELECT pg_terminate_backend({pid})"
            )

    def _lock_key(self) -> int:
        """Return the number that stands for the bookkeeping; a lock is of one database already."""
        row = self.execute("SELECT current_schema()").fetchone()
        name = f"yoyo {row and row[0]} {self.migration_table}"
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)

    def _acquire(self, key: int, wait: float) -> None:
        deadline = time.monotonic() + wait
        waiting = False
        # A session that waits in pg_advisory_lock() has a snapshot, and CREATE INDEX
        # CONCURRENTLY, in the deploy that it waits for, waits for all snapshots to end.
        while not self._try(key):
            holder = self._lock_holder(key)
            if time.monotonic() >= deadline:
                raise LockTimeout(
                    f"another deploy holds the migration lock (server process {holder});"
                    f" waited {wait:g} s"
                )
            if not waiting:
                waiting = True
                _LOG.warning("Waiting up to %g s for server process %s", wait, holder)
            time.sleep(_POLL_SECONDS)

    def _try(self, key: int) -> bool:
        row = self.execute("SELECT pg_try_advisory_lock(:key)", {"key": key}).fetchone()
        return bool(row and row[0])

    def _lock_holder(self, key: int) -> int | None:
        row = self.execute(
            "SELECT pg_locks.pid FROM pg_catalog.pg_locks JOIN pg_catalog.pg_database"
            " ON pg_database.oid = pg_locks.database AND datname = current_database()"
            " WHERE locktype = 'advisory' AND granted AND objsubid = 1"
            " AND (classid::bigint << 32) | objid::bigint = :key",
            {"key": key},
        ).fetchone()
        return row and row[0]

    def ensure_internal_schema_updated(self) -> None:
        """Create or upgrade yoyo's tables, and look only once whether they need it."""
        if not self._internal_schema_updated:
            super().ensure_internal_schema_updated()
            self._internal_schema_updated = True

    def get_applied_migration_hashes(self) -> list[str]:
        """Read the bookkeeping, without making it where it does not exist yet."""
        if internalmigrations.get_current_version(self) == 0:
            return []
        return super().get_applied_migration_hashes()

    def to_apply(self, migrations: MigrationList) -> MigrationList:
        """Choose what is not applied yet. Raises `MigrationRefused` where nothing was found."""
        self._refuse_none(migrations)
        return super().to_apply(migrations)

    def to_rollback(self, migrations: MigrationList) -> MigrationList:
        """Choose what is applied. Raises `MigrationRefused` where nothing was found."""
        self._refuse_none(migrations)
        return super().to_rollback(migrations)

    def _refuse_none(self, migrations: MigrationList) -> None:
        # `yoyo reapply` asks again, for what it has rolled back: that may well be nothing.
        self._found_migrations = self._found_migrations or len(migrations) > 0
        if not self._found_migrations:
            raise MigrationRefused("no migrations found: is the source folder the right one?")

    def apply_one(self, migration: Migration, force: bool = False, mark: bool = True) -> None:
        """Apply a migration and record it. `mark` is False for a hook that runs every time."""
        _LOG.info("Applying %s", migration.id)
        _load(migration)
        self.ensure_internal_schema_updated()
        if migration.use_transactions:
            with self.transaction():
                # Recorded first, because the file may change the role or the search path.
                self._record_apply(migration, mark=mark)
                migration.process_steps(self, "apply", force=force)
        else:
            # A death between the two leaves a migration to be applied again. Such a file is
            # written to bear that.
            migration.process_steps(self, "apply", force=force)
            self._forget_settings()
            with self.transaction():
                self._record_apply(migration, mark=mark)
        self._forget_settings()

    def rollback_migrations(self, migrations: MigrationList, force: bool = False) -> None:
        """Roll back migrations, none of them when one lacks its way back."""
        for migration in migrations:
            _refuse_without_way_back(migration)
        super().rollback_migrations(migrations, force=force)

    def rollback_one(self, migration: Migration, force: bool = False) -> None:
        """Roll back a migration and record it."""
        _LOG.info("Rolling back %s", migration.id)
        _load(migration)
        _refuse_without_way_back(migration)
        self.ensure_internal_schema_updated()
        if migration.use_transactions:
            with self.transaction():
                self._record_rollback(migration)
                migration.process_steps(self, "rollback", force=force)
        else:
            # A death between the two leaves a migration to be applied again, not one that
            # is recorded and half there.
            with self.transaction():
                self._record_rollback(migration)
            migration.process_steps(self, "rollback", force=force)
        self._forget_settings()

    def _record_apply(self, migration: Migration, *, mark: bool) -> None:
        self.log_migration(migration, "apply")
        if mark:
            # Not `mark_one`, which tells the log that it is done.
            self.execute(
                self.format_sql(self.mark_migration_sql),
                {"migration_hash": migration.hash, "migration_id": migration.id, "when": _now()},
            )

    def _record_rollback(self, migration: Migration) -> None:
        self.log_migration(migration, "rollback")
        self.unmark_one(migration, log=False)

    @contextmanager
    def disable_transactions(self) -> Generator[None]:
        """Run statements one by one, which is what an autocommit connection does."""
        yield

    def _forget_settings(self) -> None:
        """Undo what a file has SET, so that the next one finds what it would find alone."""
        self.execute("RESET ROLE")
        self.execute("RESET ALL")
        self.init_connection(self.connection)

    def get_log_data(
        self, migration: Migration | None = None, operation: str = "apply"
    ) -> dict[str, Any]:
        """Describe an operation for the log, on machines without names too."""
        return {
            "id": str(uuid.uuid4()),
            "migration_id": migration and migration.id,
            "migration_hash": migration and migration.hash,
            "username": _username(),
            # Not the domain's name, which a name server may be slow to tell.
            "hostname": socket.gethostname(),
            "created_at_utc": _now(),
            "operation": operation,
        }


def _seconds(lock_wait: str) -> float:
    with suppress(ValueError):
        seconds = float(lock_wait)
        # NaN is a float, and no wait.
        if seconds >= 0:
            return seconds
    raise InvalidArgument(f"lock_wait must be a number of seconds, not {lock_wait!r}")


def _load(migration: Migration) -> None:
    try:
        migration.load()
    except BadMigration as error:
        raise MigrationRefused(f"{migration.id} cannot be read: {error}") from error


def _refuse_without_way_back(migration: Migration) -> None:
    if not migration.is_raw_sql():
        return
    path = Path(migration.path).with_suffix(".rollback.sql")
    _, _, statements = read_sql_migration(str(path))
    if not statements:
        raise MigrationRefused(
            f"{migration.id} cannot be rolled back: {path.name} is missing or empty"
        )


def _username() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a user id that has no name.
        return str(os.getuid())


def _now() -> datetime:
    """Return the time as yoyo's tables hold it: UTC, and without saying so."""
    return datetime.now(UTC).replace(tzinfo=None)
