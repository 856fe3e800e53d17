"""Run another of our programs: at Ctrl-C it cleans up, says nothing and exits with status 130.

scripts/interruptible.py PROGRAM [ARGUMENT...]
"""

import os
import runpy
import signal
import sys
from pathlib import Path
from types import FrameType

INTERRUPTED = 130


def main() -> None:
    _, program, *arguments = sys.argv
    sys.argv = [program, *arguments]
    # What Python does by itself for a program that it runs, and runpy for a folder alone.
    sys.path[0] = str(Path(program).parent)
    try:
        runpy.run_path(program, run_name="__main__")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, end)


def end(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
