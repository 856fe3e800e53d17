"""The command `runstore`, which the extra `runstore[cli]` completes."""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from .connections import connect
from .schema import check_schema

try:
    import click
except ModuleNotFoundError:
    raise SystemExit("the command runstore needs click: pip install 'runstore[cli]'") from None

MISSING: Final = 1
UNKNOWN: Final = 3
UNANSWERED: Final = 4


@click.group()
@click.version_option(package_name="runstore")
def main() -> None:
    """Look after the durable record of AI-agent work in plain PostgreSQL."""


@main.command()
@click.option(
    "--dsn",
    envvar="DATABASE_URL",
    show_envvar=True,
    default="",
    help="The database, as a URL or in libpq's other form; else PGHOST and its kin say.",
)
@click.pass_context
def check(ctx: click.Context, dsn: str) -> None:
    r"""Tell whether a database is migrated to what this version expects.

    \b
    Exit status:
      0  It has all migrations of this version, and no others.
      1  Migrations are missing.
      2  The command line is wrong.
      3  None is missing, but there are some that this version does not know.
      4  The database did not answer, or refused to.
    """
    try:
        parameters = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # psycopg's error quotes what it could not read, a password among it.
        raise click.BadParameter("not a connection string of libpq", param_hint="--dsn") from None
    try:
        with connect(dsn) as conn:
            found = check_schema(conn)
    except psycopg.Error as error:
        reason = "its DSN is malformed" if _misread(parameters) else str(error)
        click.echo(f"The database did not answer: {reason}", err=True)
        ctx.exit(UNANSWERED)
    click.echo(found.message)
    if found.missing:
        ctx.exit(MISSING)
    if found.unknown:
        ctx.exit(UNKNOWN)


def _misread(parameters: dict[str, str | int | None]) -> bool:
    """Say whether pieces of a password may have been read as host, port or database.

    That is what a URL's password does whose reserved characters are not percent-encoded; the
    error would quote the pieces.
    """
    port = str(parameters.get("port") or "")
    names = f"{parameters.get('host')} {parameters.get('dbname')}"
    return "@" in names or (not port.replace(",", "").isdecimal() and port != "")
