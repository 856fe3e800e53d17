"""Noticing that nobody reads the output any more, while there is nothing to write."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_CHECK_SECONDS: Final = 0.2


@contextmanager
def until_closed() -> Generator[None]:
    """Raise `BrokenPipeError` in the block, also while it waits, once the reader is gone.

    A program that follows something would find out only when it writes the next time, and stay
    in the meantime. Where the system cannot tell, that is what happens.
    """
    if not hasattr(select, "poll") or threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        yield
        return
    done = threading.Event()
    before = signal.signal(signal.SIGPIPE, _raise)
    thread = threading.Thread(target=_wait, args=(descriptor, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        signal.signal(signal.SIGPIPE, before)


def _wait(descriptor: int, done: threading.Event) -> None:
    poll = select.poll()
    # Errors alone: what is written is no news.
    poll.register(descriptor, 0)
    while not done.wait(_CHECK_SECONDS):
        if any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(0)):
            # A signal, since it ends a wait of the main thread too.
            os.kill(os.getpid(), signal.SIGPIPE)
            return


def _raise(number: int, frame: FrameType | None) -> None:
    raise BrokenPipeError
