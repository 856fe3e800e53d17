"""One connection of either kind, with any settings, used from a plain test function."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, LiteralString, ParamSpec, TypeVar

from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow

from connections import Kind, Parameters
from runstore._query import Function

P = ParamSpec("P")
R = TypeVar("R")


class Session:
    """Calls functions on `conn`; `run` and `block` do what its kind needs `await` for."""

    def __init__(self, conn: Any, runner: asyncio.Runner | None) -> None:
        self.conn = conn
        self._runner = runner

    def run(self, result: Any) -> Any:
        """Return what a method of the connection gave, awaited where it must be."""

        async def wait() -> Any:
            return await result

        return result if self._runner is None else self._runner.run(wait())

    @contextmanager
    def block(self, block: Any) -> Generator[Any]:
        """Enter a block of the connection, with `async with` where it must be."""
        if self._runner is None:
            with block as entered:
                yield entered
            return
        entered = self.run(block.__aenter__())
        try:
            yield entered
        except BaseException as error:
            if not self.run(block.__aexit__(type(error), error, error.__traceback__)):
                raise
        else:
            self.run(block.__aexit__(None, None, None))

    def __call__(self, function: Function[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = self.run(function(self.conn, *args, **kwargs))
        return result

    def execute(self, sql: LiteralString, parameters: Parameters | None = None) -> list[TupleRow]:
        cursor = self.run(self.conn.execute(sql, parameters))
        rows: list[TupleRow] = self.run(cursor.fetchall()) if cursor.description else []
        return rows


@contextmanager
def open_session(
    kind: Kind,
    dsn: str,
    *,
    blocking: type[Connection[Any]] = Connection,
    in_asyncio: type[AsyncConnection[Any]] = AsyncConnection,
    **settings: Any,
) -> Generator[Session]:
    """Open a connection with these settings of psycopg's, and with autocommit if they say none."""
    settings = {"autocommit": True, **settings}
    if kind == "blocking":
        with blocking.connect(dsn, **settings) as conn:
            yield Session(conn, None)
        return
    with asyncio.Runner() as runner:
        session = Session(runner.run(in_asyncio.connect(dsn, **settings)), runner)
        with session.block(session.conn):
            yield session
