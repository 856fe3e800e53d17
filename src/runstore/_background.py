"""What works beside its caller, for exactly as long as the caller's block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Block(Generic[T]):
    """Enter it with `with`, or with `async with` in asyncio; again only after it was left."""

    def __init__(
        self,
        blocking: Callable[[], AbstractContextManager[T]],
        in_asyncio: Callable[[], AbstractAsyncContextManager[T]],
    ) -> None:
        self._blocking = blocking
        self._in_asyncio = in_asyncio
        self._entered: AbstractContextManager[T] | AbstractAsyncContextManager[T] | None = None

    def __enter__(self) -> T:
        """Make the blocking manager and enter it."""
        self._refuse_second_use()
        self._entered = entered = self._blocking()
        try:
            return entered.__enter__()
        except BaseException:
            self._entered = None
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the blocking manager."""
        entered, self._entered = self._entered, None
        if isinstance(entered, AbstractContextManager):
            entered.__exit__(exc_type, exc, traceback)

    async def __aenter__(self) -> T:
        """Make the asyncio manager and enter it."""
        self._refuse_second_use()
        self._entered = entered = self._in_asyncio()
        try:
            return await entered.__aenter__()
        except BaseException:
            self._entered = None
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the asyncio manager."""
        entered, self._entered = self._entered, None
        if isinstance(entered, AbstractAsyncContextManager):
            await entered.__aexit__(exc_type, exc, traceback)

    def _refuse_second_use(self) -> None:
        if self._entered is not None:
            raise RuntimeError(f"this {type(self).__name__} is in use")


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event like `threading.Event.wait`: True when it is set, False when it was not."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return event.is_set()
