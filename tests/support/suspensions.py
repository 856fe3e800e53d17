"""A coroutine's suspensions, counted, and its task cancelled at one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any


class Suspensions:
    """Awaits a coroutine and cancels its task at the `cancel_at`th suspension; 0: at none.

    `count` says how often it was suspended so far.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], cancel_at: int = 0) -> None:
        self._coroutine = coroutine
        self._cancel_at = cancel_at
        self.count = 0

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._coroutine.__await__()
        resume: partial[Any] = partial(next, steps)
        while True:
            try:
                awaited = resume()
            except StopIteration as stop:
                return stop.value
            self.count += 1
            if self.count == self._cancel_at:
                task = asyncio.current_task()
                assert task is not None
                # It hears so at once, when it is to wait for what is awaited.
                task.cancel()
            try:
                value = yield awaited
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's.
                resume = partial(steps.throw, error)
            else:
                resume = partial(steps.send, value)
