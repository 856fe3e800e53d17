"""Files that commands write: each appears when it is whole, in the place of what it replaces."""

from __future__ import annotations

import importlib
import os
import stat
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


class _OutputFile(click.Path):
    """The name of a file to write to."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        if not os.fspath(value):
            self.fail("is empty: name a file, or - for standard output.", param, ctx)
        return super().convert(value, param, ctx)


OUTPUT_FILE: Final = _OutputFile(dir_okay=False, allow_dash=True, path_type=Path)

html_option = click.option(
    "--html",
    metavar="FILE",
    type=OUTPUT_FILE,
    help='Write a page for a browser into this file instead, or to "-"; the extra "html" draws it.',
)


@contextmanager
def written(output: Path | None) -> Generator[IO[bytes]]:
    """Give the file to write to; one of a name gets that name when the block has succeeded."""
    if output in (None, STANDARD_OUTPUT):
        yield sys.stdout.buffer
        return
    found = _found(output)
    if found is not None and not stat.S_ISREG(found.st_mode):
        # A device or a pipe is there to be written to, and not to be replaced by a file.
        with output.open("wb") as file:
            yield file
        return
    # A link goes on to name what it names.
    target = Path(os.path.realpath(output))
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with _opened(draft, output, found) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


def _found(output: Path) -> os.stat_result | None:
    try:
        return output.stat()
    except FileNotFoundError:
        return None


def _opened(draft: Path, output: Path, replaced: os.stat_result | None) -> IO[bytes]:
    """Open a draft that no more people can read than what it will replace."""
    mode = 0o666 if replaced is None else stat.S_IMODE(replaced.st_mode)
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        # Nobody asked for the draft.
        error.filename = str(output)
        raise
    if replaced is not None:
        # As far as the system lets us: it is ours then, and nobody else can do more with it.
        with suppress(PermissionError):
            os.fchown(descriptor, replaced.st_uid, replaced.st_gid)
        with suppress(PermissionError):
            os.fchmod(descriptor, mode)
    return os.fdopen(descriptor, "wb")


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
