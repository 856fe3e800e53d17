"""The command `runstore`, as it is installed and as `python -m runstore`."""

import os
import signal
from types import FrameType

_INTERRUPTED = 130


def main() -> None:
    """Run the command. Ctrl-C ends it without a word while it is being imported, too."""
    # A shell has what it runs in the background ignore Ctrl-C, and so it stays.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    from .cli import main as command  # noqa: PLC0415

    command(prog_name="runstore")


def _end(number: int, frame: FrameType | None) -> None:
    # Before a command has begun, and after it has ended, there is nothing to clean up; an exception
    # could come up anywhere in what is imported, and some of that would swallow it.
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
