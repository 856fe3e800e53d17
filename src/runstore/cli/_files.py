"""Files that commands write: each appears when it is whole."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import IO

import click

from ._failures import Told
from ._statuses import Status

html_option = click.option(
    "--html",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help='Write a page for a browser into this file instead; the extra "html" draws it.',
)


@contextmanager
def written(output: Path | None) -> Generator[IO[bytes]]:
    """Give the file to write to; one of a name gets that name when the block has succeeded."""
    if output is None:
        yield sys.stdout.buffer
        return
    draft = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(output)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


def drawn() -> ModuleType:
    """Return the module that draws pages, which is imported by who asks for one alone."""
    try:
        return importlib.import_module("runstore.pages")
    except ModuleNotFoundError as error:
        raise Told(
            f"A page needs {error.name}: pip install 'runstore[html]'", Status.REFUSED
        ) from None


def write_page(page: str, path: Path) -> None:
    """Write a page, and say so."""
    with written(path) as file:
        file.write(page.encode())
    click.echo(f"Written: {path}", err=True)
