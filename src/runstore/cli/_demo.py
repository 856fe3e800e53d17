"""`runstore demo`: a few small runs to look at, in a database of one's own or for the moment."""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import click
import psycopg

from runstore.connections import connect
from runstore.embedded import Server, persistent_server, throwaway_server

from ._demo_runs import DemoRuns, record_demo
from ._failures import Told
from ._schema import apply_migrations
from ._session import Session, on_database
from ._statuses import Status
from ._terminal import progress, stderr

_DATABASE: Final = "runstore_demo"
_PACE: Final = 0.05


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the data of the demonstration's own PostgreSQL in this folder.",
)
@click.option("--stop", is_flag=True, help="Stop that PostgreSQL at once, instead of at Enter.")
@click.option(
    "--pace",
    type=click.FloatRange(0, 10),
    default=_PACE,
    show_default=True,
    help="Seconds that a step of the scripted agents takes.",
)
@on_database(explicit=True)
def demo(session: Session, *, data_dir: Path | None, stop: bool, pace: float) -> None:
    """Record a few small runs, to try the commands on.

    Into the database that --dsn names; a variable of the environment is not enough to write into.
    Without it a PostgreSQL is started for the moment, which the extra "embedded" brings. No model
    is called.
    """
    if session.dsn:
        _record(session, session.dsn, pace, stays=True)
        return
    with _server(data_dir) as server:
        dsn = server.dsn(_DATABASE)
        _create_database(server)
        apply_migrations(dsn)
        _record(session, dsn, pace, stays=not stop)
        if not stop:
            console = stderr()
            console.print("\nPostgreSQL runs until Enter or Ctrl-C. In another terminal:")
            console.print(f"  export RUNSTORE_DSN='{dsn}'", soft_wrap=True)
            _wait_for_enter()


def _wait_for_enter() -> None:
    """Wait for Enter, or for Ctrl-C; where nobody can press a key, for Ctrl-C alone."""
    with suppress(KeyboardInterrupt):
        if not sys.stdin.readline():
            signal.pause()


def _record(session: Session, dsn: str, pace: float, *, stays: bool) -> None:
    with connect(dsn) as conn, progress("Recording", total=3) as bar:
        made = record_demo(conn, pace, bar.advance)
    if session.json:
        session.answer({name: str(id) for name, id in made.named().items()})
        return
    click.echo("Recorded a pipeline, a chat, and a run that waits for an answer.")
    if stays:
        for line in _to_try(made):
            click.echo(line)


def _to_try(made: DemoRuns) -> Generator[str]:
    yield "To try:"
    yield "  runstore runs"
    yield f"  runstore show {made.pipeline}"
    yield f"  runstore events {made.chat}"
    yield f"  runstore report {made.report}"
    yield f"  runstore usage {made.subject}"
    yield "  runstore pending"
    yield f"  runstore answer {made.question} yes"
    yield f"  runstore export {made.pipeline} -o run.jsonl"


@contextmanager
def _server(data_dir: Path | None) -> Generator[Server]:
    made = throwaway_server(own=True) if data_dir is None else persistent_server(data_dir)
    with ExitStack() as stack:
        try:
            server = stack.enter_context(made)
        except (OSError, RuntimeError) as error:
            message = f"no PostgreSQL could be started: {error}"
            raise Told(message, Status.UNANSWERED) from None
        yield server


def _create_database(server: Server) -> None:
    with psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as conn:
        found = conn.execute("SELECT FROM pg_database WHERE datname = %s", [_DATABASE])
        if found.rowcount == 0:
            conn.execute(f"CREATE DATABASE {_DATABASE}")
