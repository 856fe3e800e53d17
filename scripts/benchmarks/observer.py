"""What the server says that a stretch of work cost it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

from psycopg import Connection

SO_FAR: Final = """
SELECT
    sum(calls)::bigint,
    sum(total_exec_time)::float / 1000,
    pg_current_wal_insert_lsn() - '0/0'
FROM pg_stat_statements
INNER JOIN pg_database ON pg_database.oid = pg_stat_statements.dbid
WHERE datname = %s
"""


@dataclass(frozen=True)
class ServerCost:
    """Statements sent, seconds of executing them, and bytes of WAL."""

    statements: int
    execution: float
    wal: int


class Observer:
    """Reads pg_stat_statements for a database, on a connection to another one."""

    def __init__(self, conn: Connection[Any], dbname: str) -> None:
        self._conn = conn
        self._dbname = dbname

    def so_far(self) -> ServerCost:
        """Return the cost of all that was done in the database."""
        row = self._conn.execute(SO_FAR, (self._dbname,)).fetchone()
        assert row
        statements, execution, wal = cast("tuple[int | None, float | None, Any]", row)
        return ServerCost(statements or 0, execution or 0.0, int(wal))


def between(before: ServerCost, after: ServerCost) -> ServerCost:
    return ServerCost(
        after.statements - before.statements,
        after.execution - before.execution,
        after.wal - before.wal,
    )
