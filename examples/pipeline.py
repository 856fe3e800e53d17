"""Record a pipeline and a chat that really run, and show what the database then knows of them.

One command on a fresh machine: it starts a PostgreSQL, applies the migrations, lets scripts in
the place of agents plan, build and verify a small module, streams a chat, and reads everything
back. No model is called. The pipeline itself is in `pipeline_run.py`, the chat in `chat.py`.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from psycopg import Connection
from rich.console import Console
from rich.table import Table

from abandon import abandon_run
from chat import close_interrupted_chats, run_chat
from demo_server import DBNAME, default_data_dir, migrated_server, psql_command
from pipeline_run import NAME, run_pipeline, sandbox_of
from runstore import StalledRun, connect, get_run_tree, list_runs, list_stalled_runs
from terminal import open_console, print_verbatim
from tree_view import recorded_seconds, tree_view

EARLIER_RUNS: Final = 10


def main() -> int:
    """Run the demonstration and return its exit status."""
    options = parse_arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        # As on Ctrl-C, everything that was begun is closed on the way out.
        signal.signal(number, signal.default_int_handler)
    console = open_console()
    try:
        with migrated_server(options.data_dir, console) as server:
            open_connection = partial(connect, server.dsn(DBNAME))
            with open_connection() as conn:
                close_interrupted_runs(conn, console)
                close_interrupted_chats(conn)
                show_earlier_runs(conn, console)
            report = partial(print_verbatim, console)
            run_id = run_pipeline(
                open_connection, patience=timedelta(seconds=options.patience), report=report
            )
            with open_connection() as conn:
                console.print(tree_view(get_run_tree(conn, run_id)))
            run_chat(open_connection, report=report)
            print_verbatim(console, f"To look around: {psql_command(server)}")
            if options.keep:
                wait_for_enter(console)
            else:
                console.print("The server stops now; with --keep it waits for you.")
    except KeyboardInterrupt:
        # Not on the console: the interrupt may have left it in the middle of a line.
        print("Interrupted.", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=default_data_dir(),
        help="where PostgreSQL keeps its data (default: %(default)s)",
    )
    parser.add_argument(
        "--patience",
        type=int,
        default=3,
        metavar="SECONDS",
        help="how long the run waits for a person's answer (default: %(default)s)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the server running until Enter or Ctrl-C"
    )
    return parser.parse_args()


def close_interrupted_runs(conn: Connection[Any], console: Console) -> None:
    """Close the runs whose demonstration was killed."""
    for run in stalled_runs(conn):
        if run.name == NAME:
            print_verbatim(
                console,
                f"An earlier run was interrupted in its phase {run.phase}:"
                f" closing its open tool calls and the run {run.id}.",
            )
            abandon_run(conn, run.id, "its demonstration was killed")
            sandbox_of(run.id).remove()


def stalled_runs(conn: Connection[Any]) -> Iterator[StalledRun]:
    """List the runs that nobody works on any more."""
    # The server started a moment ago and no worker is older than it: no silence is too short.
    page = list_stalled_runs(conn, silent_for=timedelta(0))
    yield from page.items
    while page.next_cursor:
        page = list_stalled_runs(conn, silent_for=timedelta(0), cursor=page.next_cursor)
        yield from page.items


def show_earlier_runs(conn: Connection[Any], console: Console) -> None:
    """Print a table of the newest runs in the database."""
    runs = list_runs(conn, kind="feature", page_size=EARLIER_RUNS)
    if not runs.items:
        console.print("The database holds no runs yet.")
        return
    table = Table("started", "name", "phase", "status", "seconds", "id", title="Earlier runs")
    for run in runs.items:
        seconds = recorded_seconds(run)
        table.add_row(
            f"{run.created_at.astimezone():%Y-%m-%d %H:%M:%S}",
            run.name,
            run.phase,
            run.status,
            "" if seconds is None else f"{seconds:.3f}",
            str(run.id),
        )
    console.print(table)
    if runs.next_cursor:
        console.print("There are older ones too.")


def wait_for_enter(console: Console) -> None:
    """Wait for Enter, or for Ctrl-C; where nobody can press a key, for Ctrl-C alone."""
    console.print("The server runs until Enter or Ctrl-C.")
    with suppress(KeyboardInterrupt):
        if not sys.stdin.readline():
            signal.pause()


if __name__ == "__main__":
    sys.exit(main())
