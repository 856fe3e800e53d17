"""Run notifications: hints that a run's log has grown, which wake its tails before they look.

A payload is the ids of runs as PostgreSQL writes them, with a comma between two of them. Who
sends them is in `run_notifiers`, who hears them in `run_listeners`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, Connection

from . import _sql
from ._query import Statement, query
from .connections import connect, connect_async
from .errors import InvalidPayload

_SQL: Final = _sql.load("run_notifications")

LISTEN: Final = "LISTEN runstore_run_events"
UNLISTEN: Final = "UNLISTEN runstore_run_events"

# 37 bytes for an id; PostgreSQL takes a payload of less than 8,000.
_RUNS_PER_PAYLOAD: Final = 200

Source = str | Connection[Any] | AsyncConnection[Any]
"""A connection of its own for a notifier or a listener, or the DSN to open one with."""


@query
def send_run_notifications(run_ids: Collection[UUID]) -> Statement[int]:
    """Wake the tails of runs, and return how many notifications that took.

    One statement for any number of runs. Only for what is committed, and never in a transaction
    that writes: a commit with a notification waits for every other such commit of the cluster.
    """
    ids = [str(run_id) for run_id in run_ids]
    payloads = [
        ",".join(ids[start : start + _RUNS_PER_PAYLOAD])
        for start in range(0, len(ids), _RUNS_PER_PAYLOAD)
    ]
    return Statement(
        _SQL["send_run_notifications"], {"payloads": payloads}, lambda rows: rows[0][0]
    )


def open_own(source: Source) -> Connection[Any]:
    """Return a blocking connection of its own for a `with` block."""
    if isinstance(source, str):
        return connect(source)
    if isinstance(source, AsyncConnection):
        raise TypeError("an asyncio connection needs async with")
    _check(source)
    return source


async def open_own_async(source: Source) -> AsyncConnection[Any]:
    """Return an asyncio connection of its own for an `async with` block."""
    if isinstance(source, str):
        return await connect_async(source)
    if isinstance(source, Connection):
        raise TypeError("a blocking connection needs with, not async with")
    _check(source)
    return source


def _check(source: object) -> None:
    if not isinstance(source, Connection | AsyncConnection):
        kind = type(source).__name__
        raise InvalidPayload("source", f"must be a connection of psycopg or a DSN, not a {kind}")
    # In a transaction nothing is sent or heard before its end.
    if not source.autocommit:
        raise psycopg.ProgrammingError("notifications need a connection in autocommit")
