"""`runstore check` and `runstore migrate`: the schema of a database."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

import click
from psycopg.conninfo import conninfo_to_dict

from runstore import _sql
from runstore.schema import SchemaCheck, check_schema

from ._failures import UNMIGRATED, Told
from ._session import Session, on_database
from ._statuses import Status
from ._terminal import progress, stderr
from ._words import count

if TYPE_CHECKING:
    from yoyo.backends.base import DatabaseBackend
    from yoyo.migrations import MigrationList

_SCHEME: Final = "postgresql+atomic"


@click.command()
@on_database
def check(session: Session) -> None:
    r"""Tell whether a database has this version's migrations.

    \b
    Exit status:
      0  It has all migrations of this version, and no others.
      1  Migrations are missing.
      2  The command line is wrong.
      3  None is missing, but there are some that this version does not know.
      4  The database did not answer, or refused to.
    """
    with session.connect() as conn:
        found = check_schema(conn)
    if session.json:
        session.answer({"ok": found.ok, "message": found.message, **found.model_dump()})
    else:
        click.echo(found.message)
        if found.missing:
            click.echo("`runstore migrate` applies what is missing, as `yoyo apply` does.")
    raise click.exceptions.Exit(_status(found))


def _status(found: SchemaCheck) -> Status:
    if found.missing:
        return Status.FAULTS
    return Status.NEWER if found.unknown else Status.DONE


@click.command()
@click.option("--dry-run", is_flag=True, help="Print the SQL of what is pending; change nothing.")
@on_database
def migrate(session: Session, *, dry_run: bool) -> None:
    """Apply the migrations that a database lacks.

    It does what `yoyo apply` does. Each commits with its bookkeeping, or not at all; a second
    deploy waits for the first. The role needs the right to create.
    """
    if dry_run:
        _show(session)
        return
    applied = apply_migrations(session.dsn)
    if session.json:
        session.answer({"applied": applied})
    elif applied:
        click.echo(f"Applied {count(len(applied), 'migration')}, up to {applied[-1]}.")
    else:
        click.echo("Nothing was pending.")


def apply_migrations(dsn: str) -> list[str]:
    """Apply what a database lacks, and return the ids of it."""
    applied: list[str] = []
    with _opened(dsn) as (backend, migrations), backend.lock():
        pending = backend.to_apply(migrations)
        with progress("Migrating", total=len(pending)) as bar:
            for migration in pending:
                bar.describe(migration.id)
                backend.apply_one(migration)
                applied.append(migration.id)
                bar.advance()
    return applied


@contextmanager
def _opened(dsn: str) -> Generator[tuple[DatabaseBackend, MigrationList]]:
    # It takes a while to import, and the other commands do without.
    from yoyo import get_backend, read_migrations  # noqa: PLC0415
    from yoyo.exceptions import LockTimeout  # noqa: PLC0415

    from runstore._yoyo_backend import MigrationRefused  # noqa: PLC0415

    # That another deploy is waited for, and for how long, is worth a line.
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        backend = get_backend(yoyo_url(dsn))
        with backend.connection:
            yield backend, read_migrations(str(_sql.directory("migrations")))
    except MigrationRefused as error:
        raise Told(str(error), Status.REFUSED) from None
    except LockTimeout as error:
        raise Told(str(error), Status.UNANSWERED) from None
    except UNMIGRATED as error:
        # What every other command answers to it: to migrate.
        reason = error.diag.message_primary
        raise Told(f"the database refused: {reason}", Status.UNANSWERED) from None


def _show(session: Session) -> None:
    with _opened(session.dsn) as (backend, migrations):
        texts = {
            migration.id: (_sql.directory("migrations") / f"{migration.id}.sql").read_text("utf-8")
            for migration in backend.to_apply(migrations)
        }
    if session.json:
        session.answer({"pending": [{"id": id, "sql": text} for id, text in texts.items()]})
        return
    for text in texts.values():
        click.echo(text)
    if not texts:
        stderr().print("Nothing is pending.")


def yoyo_url(dsn: str) -> str:
    """Return a database's DSN as yoyo understands it, with the backend that is atomic."""
    parameters = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    user, password = parameters.pop("user", ""), parameters.pop("password", "")
    # yoyo decodes a URL's user and query, and not its path.
    login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    arguments = urlencode(parameters, safe="", quote_via=quote)
    return f"{_SCHEME}://{login}{'@' if login else ''}/?{arguments}"
