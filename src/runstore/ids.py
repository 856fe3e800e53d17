"""Ids that carry their run.

A run id is a UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, the version, 26 random
bits, and 48 zero bits. The id of anything that belongs to the run is the run's first 80
bits and 48 random ones, so it is a UUIDv7 as well, and its run is a mask away. The SQL
functions `runstore.new_run_id()`, `new_child_id(run_id)` and `run_of(id)` do the same.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from typing import Final
from uuid import UUID, SafeUUID

from .errors import InvalidPayload

_CHILD_BITS: Final = 48
_RUN_MASK: Final = (1 << 128) - (1 << _CHILD_BITS)
_TICKS: Final = 1 << 26  # the random bits of a run id, which count up within a millisecond


class _Clock:
    """Pairs of (millisecond, tick) that one process never repeats."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        """Return milliseconds and tick as one number, larger than any before it."""
        now = time.time_ns() // 1_000_000
        with self._lock:
            # A new millisecond starts at a random tick. Within one, and while the clock of
            # the machine stands or goes back, ticks count up and overflow into the next.
            self._last = max(self._last + 1, now * _TICKS + secrets.randbelow(_TICKS))
            return self._last

    def after_fork(self) -> None:
        """Drop a lock that a thread of the parent may have held, and leave the parent's ticks.

        Within the millisecond of the fork both would count up from the same one.
        """
        self._lock = threading.Lock()
        self._last += secrets.randbelow(_TICKS)


_clock: Final = _Clock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_clock.after_fork)


def new_run_id() -> UUID:
    """Return a new run id.

    One process gives every id once, in ascending order. Ids of two processes clash with a
    probability of 2**-26 for each pair made in the same millisecond; the database refuses
    the second one as a `Conflict`.
    """
    milliseconds, tick = divmod(_clock.next(), _TICKS)
    return _uuid(
        milliseconds << 80
        | 0x7 << 76
        | tick >> 14 << 64
        | 0b10 << 62
        | (tick & 0x3FFF) << _CHILD_BITS
    )


def new_child_id(run_id: UUID) -> UUID:
    """Return a new id for something that belongs to this run.

    Any id of the run may be given: `new_child_id(step_id)` is a sibling of the step.
    """
    run = _number(run_id) & _RUN_MASK
    return _uuid(run | int.from_bytes(os.urandom(_CHILD_BITS // 8), "big"))


def run_of(id: UUID) -> UUID:
    """Return the run to which an id belongs. A run's own id is its own run."""
    return _uuid(_number(id) & _RUN_MASK)


def _uuid(number: int) -> UUID:
    # What UUID(int=number) does, without its tests of what else it could have been given.
    made = object.__new__(UUID)
    _set(made, "int", number)
    _set(made, "is_safe", SafeUUID.unknown)
    return made


_set: Final = object.__setattr__


def is_run(id: UUID) -> bool:
    """Say whether an id is a run's own."""
    return not id.int & ~_RUN_MASK


def of_run(run_id: UUID, id: UUID | None, path: str) -> UUID | None:
    """Return an id as it is. Raises `InvalidPayload` when it belongs to another run."""
    if id is not None and run_of(id) != run_id:
        raise InvalidPayload(path, "belongs to another run")
    return id


def _number(id: UUID) -> int:
    if not isinstance(id, UUID):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidPayload("id", f"must be a UUID, not {type(id).__name__}")
    return id.int
