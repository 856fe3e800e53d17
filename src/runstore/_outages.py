"""Outages: which errors say that the server is away, and how long to go on trying."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import psycopg
from psycopg_pool import PoolClosed

# The server ends its sessions, does not take new ones yet, or has no room for one. By code and
# not by class of psycopg: a class holds errors that no new connection would cure.
_AWAY: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "53300"})

_LONGEST_PAUSE: Final = 1.0


def is_outage(error: BaseException) -> bool:
    """Tell whether a connection died or could not be had, so that another one may serve."""
    if not isinstance(error, psycopg.OperationalError) or isinstance(error, PoolClosed):
        return False
    # The client's own errors have no code: the connection is lost, none was free in time.
    state = error.sqlstate
    return state is None or state.startswith("08") or state in _AWAY


def pauses() -> Iterator[float]:
    """Give the seconds to wait before each attempt: none before the first, then more and more."""
    yield 0.0
    pause = 0.05
    while True:
        yield pause
        pause = min(2 * pause, _LONGEST_PAUSE)


class Patience:
    """How long an outage may last before its error is raised; 0 bears none."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.end()

    def end(self) -> None:
        """Note that the server answered."""
        self._since: float | None = None
        self._pauses = pauses()

    def pause_after(self, error: Exception) -> float:
        """Return how long to wait before the next attempt.

        Raises the error itself when it is no outage, or when the outage has lasted too long.
        """
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if not is_outage(error) or now - self._since >= self._seconds:
            raise error
        return next(self._pauses)

    def limit(self, timeout: float) -> float:
        """Shorten the time that one attempt may wait for a connection to what is left."""
        spent = 0.0 if self._since is None else time.monotonic() - self._since
        # A pool that has a free connection hands it out only to who would wait at all.
        return min(timeout, max(1.0, self._seconds - spent))
