"""The standard streams, as every command may rely on them."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, Literal, TextIO


def make_reliable() -> None:
    """Make of the standard streams what every command expects.

    - Each is there. A shell's `<&-` or `>&-` leaves none: what is read then is empty, what is told
      is told to nobody, and an answer is an error, since nobody can get it.
    - A write writes all or raises. With PYTHONUNBUFFERED a stream stands on a file that may write
      less than it is given, and whose count nobody would read; what must be seen at once is
      flushed by who writes it.
    - Any text can be printed. A payload may hold what the terminal's encoding lacks; UTF-8 lacks
      nothing but surrogates.
    """
    # In the order of their numbers: what is opened gets the lowest that is free.
    if sys.stdin is None:
        sys.stdin = _nothing("r")
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(_Closed(), encoding="utf-8", write_through=True)
    if sys.stderr is None:
        sys.stderr = _nothing("w")
    sys.stdout, sys.stderr = _whole(sys.stdout), _whole(sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def let_go() -> None:
    """Write what is left of an answer; if that is not possible, nowhere.

    The interpreter would try once more as it ends, complain, and end with a status of its own.
    """
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class _Closed(io.RawIOBase):
    """Standard output, where there is none."""

    @property
    def name(self) -> str:
        return "standard output"

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if data:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), self.name)
        return 0


def _nothing(mode: Literal["r", "w"]) -> TextIO:
    # It stays open, as a standard stream does, whose place it has.
    return open(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8", closefd=False)


def _whole(stream: TextIO) -> TextIO:
    raw: object = getattr(stream, "buffer", None)
    if not isinstance(raw, io.FileIO):
        return stream
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=stream.encoding, errors=stream.errors)
