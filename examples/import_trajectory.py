"""Record a trajectory of SWE-agent as a feature run, read it back, and see that nothing is lost.

How a trajectory becomes rows is told in `trajectory_run.py`. To import a file again changes
nothing and finds the first run.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console

from demo_server import DBNAME, default_data_dir, migrated_server
from runstore import RunstoreError, ToolCall, connect, get_run_tree
from swe_agent import InvalidTrajectory, Trajectory, entries_of, parse_trajectory
from terminal import open_console
from trajectory_run import read_trajectory, record_trajectory
from tree_view import Timed, tree_view


def main() -> int:
    """Import the file and return the exit status."""
    options = parse_arguments()
    console = open_console()
    try:
        content = options.file.read_bytes()
        trajectory = parse_trajectory(content)
        key = f"sha256:{hashlib.sha256(content).hexdigest()}"
        with database(options, console) as dsn, connect(dsn) as conn:
            run_id = record_trajectory(conn, trajectory, key)
            tree = get_run_tree(conn, run_id)
            stored = read_trajectory(conn, run_id)
    except KeyboardInterrupt:
        sys.exit("Interrupted: nothing of the file was recorded, or all of it.")
    except (OSError, InvalidTrajectory, RunstoreError) as error:
        sys.exit(f"{options.file} cannot be imported: {error}")
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        sys.exit("The database lacks the schema: apply the migrations first.")
    except psycopg.OperationalError as error:
        sys.exit(f"The database cannot be reached: {error}")
    console.print(tree_view(tree, execution_seconds))
    console.print(f"Recorded {tree.run.created_at.astimezone():%Y-%m-%d %H:%M:%S}")
    return report_differences(trajectory, stored, console)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="import-trajectory", description=__doc__)
    parser.add_argument("file", type=Path, help="a .traj file of SWE-agent")
    parser.add_argument(
        "--database",
        metavar="DSN",
        type=checked_dsn,
        # Not shown as the default in the help: it may hold a password.
        default=os.environ.get("DATABASE_URL"),
        help="a migrated database (default: $DATABASE_URL, else the demonstration's own)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=default_data_dir(),
        help="where the demonstration's PostgreSQL keeps its data (default: %(default)s)",
    )
    return parser.parse_args()


def checked_dsn(text: str) -> str:
    """Return a DSN that libpq can read. What it says of another one may quote the password."""
    try:
        conninfo_to_dict(text)
    except psycopg.ProgrammingError:
        raise argparse.ArgumentTypeError("is not a DSN") from None
    return text


@contextmanager
def database(options: argparse.Namespace, console: Console) -> Generator[str]:
    """Give the DSN of the database to use."""
    if options.database:
        yield options.database
    else:
        with migrated_server(options.data_dir, console) as server:
            yield server.dsn(DBNAME)


def execution_seconds(row: Timed) -> float | None:
    """Return how long a tool worked when the trajectory was made; of the rest nothing is known."""
    seconds = row.metadata.get("execution_time") if isinstance(row, ToolCall) else None
    return seconds if isinstance(seconds, float) else None


def report_differences(given: Trajectory, stored: Trajectory, console: Console) -> int:
    """Say whether what was read back is what was given, and return the exit status for that."""
    if stored == given:
        console.print(
            f"Every thought, action and observation of {len(entries_of(given))} turns reads back"
            " equal, and so does everything else in the file."
        )
        return 0
    fields = [name for name in given if stored.get(name) != given[name]]
    console.print(f"NOT equal to what the file says: {', '.join(fields)}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
