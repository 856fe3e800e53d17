"""Ids that carry their run.

A run id is a UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, the version, 26 random
bits, and 48 zero bits. The id of anything that belongs to the run is the run's first 80
bits and 48 random ones, so it is a UUIDv7 as well, and its run is a mask away. The SQL
functions `runstore.new_run_id()`, `new_child_id(run_id)` and `run_of(id)` do the same.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from typing import Final
from uuid import UUID, SafeUUID

from .errors import InvalidPayload

_CHILD_BITS: Final = 48
_CHILD_MASK: Final = (1 << _CHILD_BITS) - 1
_RUN_MASK: Final = (1 << 128) - 1 - _CHILD_MASK
_LONE_BITS: Final = 74
_AFTER_VARIANT: Final = (1 << 62) - 1
_DRAWN: Final = 32  # how many ids' random bits are got at once
_TICKS: Final = 1 << 26  # the random bits of a run id, which count up within a millisecond


class _Chance:
    """So many random bits, of which the kernel is asked for many at a time."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        # Taking one of them is a single step, whatever the number of threads.
        self._ready: deque[int] = deque()

    def next(self) -> int:
        """Return bits that nobody else gets."""
        try:
            return self._ready.pop()
        except IndexError:
            drawn = int.from_bytes(os.urandom(_DRAWN * self._bits // 8), "big")
            mask = (1 << self._bits) - 1
            bits = [drawn >> place * self._bits & mask for place in range(_DRAWN)]
            self._ready.extend(bits[1:])
            return bits[0]

    def after_fork(self) -> None:
        """Leave what is ready to the parent."""
        self._ready = deque()


_chance: Final = _Chance(_CHILD_BITS)
_lone_chance: Final = _Chance(_LONE_BITS)


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
            self._last = max(self._last + 1, now * _TICKS + _chance.next() % _TICKS)
            return self._last

    def after_fork(self) -> None:
        """Drop a lock that a thread of the parent may have held, and leave the parent's ticks.

        Within the millisecond of the fork both would count up from the same one.
        """
        self._lock = threading.Lock()
        self._last += _chance.next() % _TICKS


_clock: Final = _Clock()
if hasattr(os, "register_at_fork"):
    # The first one that is registered comes first, and the second one asks it.
    os.register_at_fork(after_in_child=_chance.after_fork)
    os.register_at_fork(after_in_child=_lone_chance.after_fork)
    os.register_at_fork(after_in_child=_clock.after_fork)


def new_run_id() -> UUID:
    """Return a new run id.

    One process gives every id once, in ascending order. Ids of two processes clash with a
    probability of 2**-26 for each pair made in the same millisecond; the database refuses
    the second one as a `Conflict`.
    """
    milliseconds, tick = divmod(_clock.next(), _TICKS)
    return _version_7(milliseconds, tick >> 14, (tick & 0x3FFF) << _CHILD_BITS)


def new_child_id(run_id: UUID) -> UUID:
    """Return a new id for something that belongs to this run.

    Any id of the run may be given: `new_child_id(step_id)` is a sibling of the step.
    """
    if type(run_id) is not UUID:
        run_id = _checked(run_id)
    # Written out like the others: two ids are made for every step and every call of a tool.
    id = _new(UUID)
    _set_int(id, run_id.int & _RUN_MASK | _chance.next())
    _set_is_safe(id, _UNKNOWN)
    return id


def run_of(id: UUID) -> UUID:
    """Return the run to which an id belongs. A run's own id is its own run."""
    if type(id) is not UUID:
        id = _checked(id)
    number = id.int & _RUN_MASK
    # Who asks about many ids mostly asks about those of one run. It is read in one step, and put
    # there whole, whatever the number of threads.
    run_id = _latest[0]
    if run_id.int != number:
        run_id = _new(UUID)
        _set_int(run_id, number)
        _set_is_safe(run_id, _UNKNOWN)
        _latest[0] = run_id
    return run_id


def new_lone_id() -> UUID:
    """Return a new id for something that belongs to no run: 74 of its bits are random."""
    chance = _lone_chance.next()
    return _version_7(time.time_ns() // 1_000_000, chance >> 62, chance & _AFTER_VARIANT)


def _version_7(milliseconds: int, before_variant: int, after_variant: int) -> UUID:
    # UUID's own way leads past the five other forms that it may be made from.
    id = _new(UUID)
    _set_int(id, milliseconds << 80 | _VERSION_7 | before_variant << 64 | after_variant)
    _set_is_safe(id, _UNKNOWN)
    return id


_new: Final = object.__new__
_VERSION_7: Final = 0x7 << 76 | 0b10 << 62
_set_int: Final = UUID.__dict__["int"].__set__
_set_is_safe: Final = UUID.__dict__["is_safe"].__set__
_UNKNOWN: Final = SafeUUID.unknown
_latest: Final = [UUID(int=0)]


def is_run(id: UUID) -> bool:
    """Say whether an id is a run's own."""
    return not id.int & ~_RUN_MASK


def is_of_run(id: object, run_id: object) -> bool:
    """Say whether an id belongs to a run, or is its own; what is no id does not."""
    return type(id) is UUID and type(run_id) is UUID and id.int & _RUN_MASK == run_id.int


def of_run(run_id: UUID, id: UUID | None, path: str) -> UUID | None:
    """Return an id as it is. Raises `InvalidPayload` when it belongs to another run."""
    if id is not None and run_of(id) != run_id:
        raise InvalidPayload(path, "belongs to another run")
    return id


def _checked(id: object) -> UUID:
    if not isinstance(id, UUID):
        raise InvalidPayload("id", f"must be a UUID, not {type(id).__name__}")
    return id
