"""Files that commands write: each appears when it is whole."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import IO, Final

import click

from ._failures import Told
from ._statuses import Status

STANDARD_OUTPUT: Final = Path("-")

html_option = click.option(
    "--html",
    metavar="FILE",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help='Write a page for a browser into this file instead, or to "-"; the extra "html" draws it.',
)


@contextmanager
def written(output: Path | None) -> Generator[IO[bytes]]:
    """Give the file to write to; one of a name gets that name when the block has succeeded."""
    if output in (None, STANDARD_OUTPUT):
        yield sys.stdout.buffer
        return
    draft = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with _opened(draft, output) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(output)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


def _opened(draft: Path, output: Path) -> IO[bytes]:
    try:
        return draft.open("xb")
    except OSError as error:
        # Nobody asked for the draft.
        error.filename = str(output)
        raise


def drawn() -> ModuleType:
    """Return the module that draws pages, which is imported by who asks for one alone."""
    try:
        return importlib.import_module("runstore.pages")
    except ModuleNotFoundError as error:
        raise Told(
            f"A page needs {error.name}: pip install 'runstore[html]'", Status.REFUSED
        ) from None


def write_page(page: str, path: Path) -> None:
    """Write a page, and say so where it is a file."""
    with written(path) as file:
        file.write(page.encode())
    if path != STANDARD_OUTPUT:
        click.echo(f"Written: {path}", err=True)
