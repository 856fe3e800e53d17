"""Payload rules: how large a payload may be, and whether what cannot be stored is replaced.

A payload is a JSON document or a text of any length: an input, an output, an event's payload, the
content of a section. The rules of a block apply to what is made and called in it, those of the
process to everything else.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Final

from .errors import InvalidPayload

MAX_BYTES: Final = 1 << 20

# jsonb has no room for more.
_MOST_BYTES: Final = (1 << 28) - 1


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for a payload."""

    max_bytes: int = MAX_BYTES
    sanitize: bool = False


class _Process:
    """The rules of the process. Not a context variable: a new thread starts without any."""

    rules = Rules()


_block: Final[ContextVar[Rules | None]] = ContextVar("runstore_payload_rules", default=None)


def current_rules() -> Rules:
    """Return the rules that hold here."""
    return _block.get() or _Process.rules


def set_payload_rules(*, max_bytes: int = MAX_BYTES, sanitize: bool = False) -> None:
    """Set the rules of the process, for all of its threads; they are what it starts with.

    See `payload_rules` for what they say. Rules of a block go before them.
    """
    _Process.rules = _rules(Rules(), max_bytes, sanitize)


@contextmanager
def payload_rules(*, max_bytes: int | None = None, sanitize: bool | None = None) -> Generator[None]:
    """Take payloads by other rules in a block; what is None is as it was.

    `max_bytes` is the most that one payload may have, as UTF-8 and as compact JSON; it is 1 MiB
    unless the process says otherwise.

    With `sanitize` what cannot be stored is replaced and not refused: a NUL character and half of
    a surrogate pair by U+FFFD, NaN and infinities by null, integers beyond 64 bits by their
    digits as a text. The two halves of a pair become the character that they are. It applies to
    keys of documents, and to names too. What is wrong in another way is refused as ever.

    The block is of its thread or task, and of the tasks that are made in it.
    """
    token = _block.set(_rules(current_rules(), max_bytes, sanitize))
    try:
        yield
    finally:
        _block.reset(token)


def _rules(base: Rules, max_bytes: int | None, sanitize: bool | None) -> Rules:
    if max_bytes is not None:
        if type(max_bytes) is not int or not 1 <= max_bytes <= _MOST_BYTES:
            raise InvalidPayload("max_bytes", f"must be from 1 to {_MOST_BYTES}")
        base = replace(base, max_bytes=max_bytes)
    if sanitize is not None:
        base = replace(base, sanitize=bool(sanitize))
    return base
