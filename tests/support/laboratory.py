"""Calls of public writes on connections that may fail, and what they leave in the database."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import nullcontext
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from connections import Caller
from contents import Contents, contents
from runstore import NotFound, StaleWrite, transaction
from runstore._models import Row
from sessions import Session
from writes import Arguments, Write

# What a call left: how many rows of each table came, and how many went.
Shape = dict[str, tuple[int, int]]


def arrange(observer: Caller, write: Write) -> Arguments:
    """Empty the database and make what a write needs."""
    empty(observer)
    return write.arrange(observer)


def empty(observer: Caller) -> None:
    """Delete all rows, in one statement."""
    roots = (
        "run_holds",
        "run_segments",
        "runs",
        "usage_reservations",
        "usage_logs",
        "quotas",
        "prices",
    )
    deletes = (f"_{table} AS (DELETE FROM runstore.{table})" for table in roots)
    statement: Any = f"WITH {', '.join(deletes)} SELECT"
    observer.execute(statement)


def put_back(observer: Caller, rows: Contents) -> None:
    """Make the database hold these rows again, and no others."""
    empty(observer)
    # One statement, so that no row looks for the one that it refers to before that is there.
    inserts = [
        f"_{table} AS (INSERT INTO runstore.{table}"
        f" SELECT * FROM jsonb_populate_recordset(NULL::runstore.{table}, %({table})s))"
        for table, each in rows.items()
        if each
    ]
    statement: Any = f"WITH {', '.join(inserts)} SELECT"
    observer.execute(statement, {table: Jsonb(each) for table, each in rows.items() if each})


def perform(session: Session, write: Write, arguments: Arguments, *, in_block: bool) -> Any:
    args, kwargs = arguments
    block = session.block(transaction(session.conn)) if in_block else nullcontext()
    with block:
        return session(write.function, *args, **kwargs)


def stored(observer: Caller, write: Write) -> Contents:
    """Return what is stored, but for what a second call moves on all the same."""
    rows = contents(observer)
    # A counter in which nothing is counted is as good as none; calls make some before they count.
    rows["usage_counters"] = [
        row for row in rows["usage_counters"] if row["used"] or row["held"] or row["carried"]
    ]
    return {
        table: [{k: v for k, v in row.items() if k not in write.moving} for row in each]
        for table, each in rows.items()
    }


def await_rollback(observer: Caller) -> None:
    """Return when no transaction is open, but the caller's own.

    The server takes a moment to notice that a connection is gone, and to give its locks back:
    until then, a call that passes over what is locked does nothing.
    """
    deadline = time.monotonic() + 10
    while observer.execute(
        """
        SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend'
        AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
        """
    ):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def shape(before: Contents, after: Contents) -> Shape:
    shapes: Shape = {}
    for table, rows in after.items():
        was, now = (Counter(map(repr, each)) for each in (before[table], rows))
        if was != now:
            shapes[table] = ((now - was).total(), (was - now).total())
    return shapes


def said(write: Write, answer: Any) -> Any:
    """Return an answer but for what a second call moves on all the same."""
    if not write.moving:
        return answer
    rows: list[Any] = [answer] if isinstance(answer, Row) else answer
    return [{k: v for k, v in row if k not in write.moving} for row in rows]


def repeat(session: Session, write: Write, arguments: Arguments, *, happened: bool) -> Any:
    """Call a write again, on a healthy connection; `happened` says whether it has been done."""
    if happened and write.repeated == "NotFound":
        with pytest.raises(NotFound):
            perform(session, write, arguments, in_block=False)
        return None
    if happened and write.repeated == "StaleWrite":
        with pytest.raises(StaleWrite) as raised:
            perform(session, write, arguments, in_block=False)
        # The number that it found is the one that was answered.
        return raised.value.found
    answer = perform(session, write, arguments, in_block=False)
    if happened and write.repeated == "nothing":
        assert answer == []
    return said(write, answer)
