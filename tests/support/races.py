"""Two connections that write at once, the second waiting for the first."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from connections import Connect, wait_until_blocked
from runstore import RunstoreError, transaction

R = TypeVar("R")
Conn = Connection[TupleRow]


def race(
    connect: Connect,
    first: Callable[[Conn], Any],
    second: Callable[[Conn], R],
    *,
    first_gives_up: bool = False,
) -> R:
    """Let the second wait for the first, then the first commit or give up; answer as the second."""
    holder, waiter, observer = connect(), connect(), connect()
    with ThreadPoolExecutor(1) as pool:
        with transaction(holder):
            first(holder)
            waiting = pool.submit(second, waiter)
            wait_until_blocked(observer)
            if first_gives_up:
                raise psycopg.Rollback
        return waiting.result(timeout=10)


def loses(
    connect: Connect, first: Callable[[Conn], Any], second: Callable[[Conn], Any]
) -> RunstoreError:
    with pytest.raises(RunstoreError) as raised:
        race(connect, first, second)
    return raised.value
