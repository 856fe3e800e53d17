"""`runstore export` and `runstore import`: whole runs, out of one database and into another."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import click

from runstore.run_events import get_run_head
from runstore.run_exports import iter_run_export
from runstore.run_restores import RestoredRun, restore_run

from ._arguments import resolve_run, run_argument
from ._files import OUTPUT_FILE, STANDARD_OUTPUT, written
from ._session import Session, on_database
from ._terminal import Bar, progress, stderr
from ._words import count


@click.command("export")
@run_argument
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=OUTPUT_FILE,
    help="The file to write; it appears when it is whole.  [default: standard output]",
)
@click.option("--usage", is_flag=True, help="With what was logged as used for the run.")
@on_database
def export_run(session: Session, run: str, *, output: Path | None, usage: bool) -> None:
    """Write a whole run as JSON Lines.

    `runstore import` takes it into another database. RUN is an id, the beginning of one, or
    "latest". The files of several runs may be put together into one.
    """
    with session.connect() as conn:
        run_id = resolve_run(conn, run)
        events = get_run_head(conn, run_id).last_seq
        lines = 0
        with (
            written(output) as file,
            progress(f"Exporting {run_id}", total=events or None) as bar,
        ):
            for line in iter_run_export(conn, run_id, usage=usage):
                file.write(line)
                lines += 1
                if line.startswith(b'{"run_events":'):
                    bar.advance()
    if output not in (None, STANDARD_OUTPUT):
        rows = lines - 2
        if session.json:
            session.answer({"run_id": str(run_id), "rows": rows, "output": str(output)})
        else:
            stderr().print(f"Run {run_id}: {count(rows, 'row')} in {output}", soft_wrap=True)


@click.command("import")
@click.argument("file", type=click.File("rb"), default="-")
@on_database
def import_runs(session: Session, file: BinaryIO) -> None:
    """Write exported runs into this database.

    They keep their ids and times. FILE is what `runstore export` wrote, of one run or several;
    "-", or nothing, is standard input. Each run is written whole or not at all, and one that is
    there already with the same content is left as it is, so that an import may be repeated. With
    --json a line for each run.
    """
    if file.isatty():
        raise click.UsageError("Standard input is a terminal: name a FILE, or pipe one in.")
    with session.connect() as conn, progress("Importing", total=_size(file), in_bytes=True) as bar:
        lines = _counted(file, bar)
        found = False
        for first in lines:
            found = True
            _tell(session, restore_run(conn, chain([first], lines)))
        if not found:
            restore_run(conn, [])


def _counted(file: Iterable[bytes], bar: Bar) -> Iterator[bytes]:
    for line in file:
        yield line
        bar.advance(len(line))


def _size(file: BinaryIO) -> int | None:
    with suppress(OSError, ValueError):
        status = os.fstat(file.fileno())
        if file is not sys.stdin.buffer and status.st_size:
            return status.st_size
    return None


def _tell(session: Session, restored: RestoredRun) -> None:
    if session.json:
        session.answer(restored)
    elif restored.created:
        click.echo(f"Run {restored.run_id}: {count(restored.rows, 'row')}.")
    else:
        click.echo(f"Run {restored.run_id} was there already.")
