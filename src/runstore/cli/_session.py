"""What all commands have in common: their database, how they answer, and how they fail."""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import click
import orjson
import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import ConnectionPool

from runstore.connections import connect, mend, open_pool

from ._arguments import refuse_what_is_no_text
from ._documents import as_json
from ._failures import Told, details, explain
from ._interrupts import interruptible
from ._statuses import Status
from ._streams import let_go, make_reliable
from ._terminal import inert

DSN_VARIABLES: Final = ("RUNSTORE_DSN", "DATABASE_URL")

_NOT_DIRECT: Final = (
    "--tenant needs a direct connection: a pooler in between keeps the option to itself."
)

_GIVEN: Final = "runstore.given"
_JSON: Final = "runstore.json"

# What psycopg logs, such as a rollback that an end in the middle of a statement left undone, would
# otherwise be printed on standard error, whose one line is the command's own.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Session:
    """One use of the command: its database, and how it answers."""

    dsn: str
    tenant: str | None
    json: bool
    verbose: bool

    def connect(self) -> Connection[Any]:
        """Open a connection to the database, as the tenant that was asked for."""
        try:
            conn = connect(self.dsn, **self._settings())
        except psycopg.OperationalError as error:
            if self.tenant is not None and "unsupported startup parameter" in str(error):
                raise Told(_NOT_DIRECT, Status.UNANSWERED) from None
            raise
        if self.tenant is not None:
            # A pooler may be told to ignore what it does not pass on.
            row = conn.execute("SELECT current_setting('runstore.tenant_id', true)").fetchone()
            if row != (self.tenant,):
                conn.close()
                raise Told(_NOT_DIRECT, Status.UNANSWERED)
        return conn

    def open_pool(self) -> ConnectionPool[Connection[Any]]:
        """Open a pool of one connection, which is made anew where it is lost."""
        self.connect().close()
        return open_pool(self.dsn, max_size=1, **self._settings())

    def _settings(self) -> dict[str, Any]:
        # Nothing is prepared: a command repeats little, and a pooler may stand in between.
        settings: dict[str, Any] = {"pooler": True}
        if self.tenant is not None:
            # From the start, and not by SET: a pooler in transaction mode refuses this, while
            # that would hold for whoever has the session next.
            given = conninfo_to_dict(self.dsn).get("options") or os.environ.get("PGOPTIONS", "")
            tenant = re.sub(r"([\\\s])", r"\\\1", self.tenant)
            settings["options"] = f"{given} -c runstore.tenant_id={tenant}".strip()
        return settings

    def answer(self, document: object) -> None:
        """Print a document as one line of JSON."""
        click.echo(as_json(document))


_DATABASE: Final = "The database, as a URL or in libpq's other form"

_COMMON: Final[dict[str, dict[str, Any]]] = {
    "--dsn": {
        "metavar": "DSN",
        "help": f"{_DATABASE}.",
    },
    "--tenant": {
        "metavar": "NAME",
        "help": "Whose rows are listed, where several tenants share the database.",
    },
    "--json": {"is_flag": True, "help": "Answer in JSON, for machines."},
    "--verbose": {"is_flag": True, "help": "Say more when something fails."},
}

_SHORT: Final = {"--verbose": ("-v",)}


def _option(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(*_SHORT.get(name, ()), name, **{**_COMMON[name], **attributes})


def options_of_all(group: Callable[..., Any]) -> Callable[..., Any]:
    """Give the program the options of all commands on a database, for who names them before one.

    The command gets them as if they stood after it.
    """
    for name in reversed(_COMMON):
        group = _option(name, expose_value=False, callback=_keep)(group)
    return group


def _keep(ctx: click.Context, param: click.Parameter, value: str | bool | None) -> None:
    if value is None or value is False:
        return
    given = [param.opts[-1]] if value is True else [param.opts[-1], str(value)]
    ctx.meta.setdefault(_GIVEN, []).extend(given)


def on_database(
    function: Callable[..., None] | None = None, *, explicit: bool = False
) -> Callable[..., Any]:
    """Give a command the options that all have in common, and its session.

    An `explicit` command takes no DSN from the environment.
    """
    if function is None:
        return functools.partial(on_database, explicit=explicit)

    @_option(
        "--dsn",
        envvar=None if explicit else DSN_VARIABLES,
        show_envvar=True,
        default="",
        help=f"{_DATABASE}." if explicit else f"{_DATABASE}; else PGHOST and its kin say.",
    )
    @_option("--tenant", envvar="RUNSTORE_TENANT", show_envvar=True)
    @_option("--json")
    @_option("--verbose")
    @functools.wraps(function)
    def run(*, dsn: str, tenant: str | None, json: bool, verbose: bool, **values: Any) -> None:
        ctx = click.get_current_context()
        refuse_what_is_no_text(ctx)
        session = Session(dsn, tenant, json, verbose)
        ctx.find_root().obj = session
        try:
            conninfo_to_dict(dsn)
        except psycopg.ProgrammingError:
            # psycopg's error quotes what it could not read, a password among it.
            raise click.BadParameter(
                f"not a connection string of libpq: {mend(dsn)}", param_hint="--dsn"
            ) from None
        function(session, **values)

    return run


class Program(click.Group):
    """A group of commands that fail with one clear line and a documented exit status."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order of their subjects, and not of the alphabet."""
        return list(self.commands)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line, and first of all whether a machine is to be told of it."""
        named = args[: args.index("--")] if "--" in args else args
        ctx.meta[_JSON] = "--json" in named
        with _usage_told(ctx):
            return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is meant, and give it what was named before it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command, [*ctx.meta.get(_GIVEN, ()), *rest]

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; whatever ends it, end it cleanly."""
        make_reliable()
        try:
            with interruptible():
                try:
                    with _usage_told(ctx):
                        return super().invoke(ctx)
                finally:
                    # What is still in the buffer may find that nobody reads it any more.
                    sys.stdout.flush()
        except (click.ClickException, click.exceptions.Exit):
            raise
        except BrokenPipeError:
            let_go()
            raise click.exceptions.Exit(Status.CLOSED) from None
        except (KeyboardInterrupt, click.Abort):
            raise click.exceptions.Exit(Status.INTERRUPTED) from None
        except Exception as error:  # noqa: BLE001 - whatever it is, the user is told in a line.
            status = _report(ctx, error)
            let_go()
            raise click.exceptions.Exit(status) from None


@contextmanager
def _usage_told(ctx: click.Context) -> Generator[None]:
    """Tell machines what is wrong with the command line; to people click tells it."""
    try:
        yield
    except click.ClickException as error:
        if not ctx.meta[_JSON]:
            raise
        _tell(type(error).__name__, inert(error.format_message()), error.exit_code)
        raise click.exceptions.Exit(error.exit_code) from None


def _report(ctx: click.Context, error: Exception) -> Status:
    session: Session | None = ctx.obj
    failure = explain(error, session.dsn if session else "")
    # A text may be made of what is in a file or in the database.
    message = inert(failure.message)
    if ctx.meta[_JSON]:
        _tell(failure.kind, message, failure.status)
    else:
        click.secho(message, err=True, fg="red")
    if session is not None and session.verbose:
        click.echo(inert(details(error)), err=True)
    return failure.status


def _tell(kind: str, message: str, status: int) -> None:
    told = {"error": kind, "message": message, "status": int(status)}
    click.echo(orjson.dumps(told), err=True)
