"""Connections of either kind that are lost at a chosen round trip.

All that psycopg sends goes through a connection's `wait`, and what the library sends through it or,
in an event loop, through the wire that is kept on the connection.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast

import psycopg
from psycopg import AsyncConnection, Connection

from connections import Kind
from runstore._wire import SLOT, Wire
from sessions import Session, open_session

Side = Literal["before", "after"]
SIDES: tuple[Side, ...] = ("before", "after")


@dataclass
class Fault:
    """Loses a connection at its `trip`th round trip, before the server has it or after it did it.

    At trip 0 it loses none; `trips` counts them.
    """

    trip: int = 0
    side: Side = "before"
    trips: int = 0

    def before(self, conn: Any, steps: Any) -> None:
        self.trips += 1
        if self.side == "before":
            self._lose(conn, steps)

    def after(self, conn: Any, steps: Any) -> None:
        if self.side == "after":
            self._lose(conn, steps)

    def _lose(self, conn: Any, steps: Any) -> None:
        if self.trips == self.trip:
            steps.close()
            conn.pgconn.finish()
            raise psycopg.OperationalError("the connection is lost")


class BlockingFaulty(Connection[Any]):
    fault = Fault()

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        fault = self.fault
        fault.before(self, gen)
        answer = super().wait(gen, *args, **kwargs)
        fault.after(self, gen)
        return answer


class FaultyWire(Wire):
    def exchange(self, statement: Any) -> Generator[Any, Any, Any]:
        fault: Fault = cast("AsyncioFaulty", self.connection).fault
        steps = super().exchange(statement)
        fault.before(self.connection, steps)
        rows = yield from steps
        fault.after(self.connection, steps)
        return rows


class AsyncioFaulty(AsyncConnection[Any]):
    fault = Fault()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        vars(self)[SLOT] = FaultyWire(self)

    async def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        fault = self.fault
        fault.before(self, gen)
        answer = await super().wait(gen, *args, **kwargs)
        fault.after(self, gen)
        return answer


def faulty(kind: Kind, fault: Fault) -> type[Any]:
    """Make a class of connections, all of which the fault is about to meet."""
    base = BlockingFaulty if kind == "blocking" else AsyncioFaulty
    return type("Faulty", (base,), {"fault": fault})


@contextmanager
def open_faulty(kind: Kind, dsn: str, fault: Fault) -> Generator[Session]:
    """Open a connection that the fault is about to meet."""
    with open_session(kind, dsn, blocking=BlockingFaulty, in_asyncio=AsyncioFaulty) as session:
        session.conn.fault = fault
        yield session
