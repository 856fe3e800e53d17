"""Ctrl-C, and a signal that asks to end, while a command is at work."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

_MOMENT: Final = 0.01


@contextmanager
def interruptible() -> Generator[None]:
    """Let Ctrl-C and SIGTERM end the block with all that was begun cleaned up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # A shell has what it runs in the background ignore Ctrl-C, and so it stays.
    wanted = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in wanted:
        signal.signal(number, signal.default_int_handler)
    try:
        with _heeded_later():
            yield
    finally:
        for number in wanted:
            signal.signal(number, before[number])


@contextmanager
def _heeded_later() -> Generator[None]:
    """Interrupt once more, a moment later, where the interrupt came up in what cannot raise it.

    Such is a callback of the garbage collection, which a program's imports are full of.
    """
    hook = sys.unraisablehook
    handler = signal.signal(signal.SIGALRM, signal.default_int_handler)

    def heed_later(unraisable: sys.UnraisableHookArgs) -> None:
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            hook(unraisable)
            return
        while True:
            # The moment may be over before this function is.
            with suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, _MOMENT)
                return

    sys.unraisablehook = heed_later
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
