"""What an event takes of the disk and of the WAL, next to a table of nothing but its data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import Connection
from psycopg.types.json import Jsonb

import runstore
from databases import database
from observer import Observer, between
from payloads import events
from preparation import new_run
from runstore import NewRunEvent
from runstore.embedded import Server

BATCH: Final = 500

# No number of a counter, no time, no foreign key: the least that can be read back in order.
BARE: Final = """
CREATE TABLE public.bare_events (
    run_id uuid,
    seq bigint,
    type text,
    payload jsonb,
    PRIMARY KEY (run_id, seq)
)
"""
BARE_INSERT: Final = """
INSERT INTO public.bare_events (run_id, seq, type, payload)
SELECT %s, seq, type, payload
FROM unnest(%s::bigint[], %s::text[], %s::jsonb[]) AS given (seq, type, payload)
"""

Given = Sequence[tuple[str, dict[str, Any]]]
Write = Callable[[Connection[Any], UUID, int, Given], object]


@dataclass(frozen=True)
class Storage:
    """The bytes of an event: in its table with all indexes, and in the WAL."""

    written: str
    table_bytes: float
    wal_bytes: float


def store(server: Server, count: int) -> Iterator[Storage]:
    """Yield what each way to write so many events takes."""
    ways: list[tuple[str, str, Write, int]] = [
        ("bare table, one a commit", "public.bare_events", bare, 1),
        ("append_run_events, one a commit", "runstore.run_events", append, 1),
        (f"bare table, {BATCH} a commit", "public.bare_events", bare, BATCH),
        (f"append_run_events, {BATCH} a commit", "runstore.run_events", append, BATCH),
        ("import_run_events", "runstore.run_events", bulk, count),
    ]
    with psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True) as admin:
        for name, table, write, batch in ways:
            with (
                database(server, "bench_storage", "relaxed") as dsn,
                runstore.connect(dsn) as conn,
            ):
                wal = _written(conn, Observer(admin, "bench_storage"), write, count, batch)
                size = conn.execute("SELECT pg_total_relation_size(%s::regclass)", (table,))
                row = size.fetchone()
                assert row
                yield Storage(name, row[0] / count, wal / count)


def _written(
    conn: Connection[Any], observer: Observer, write: Write, count: int, batch: int
) -> int:
    conn.execute(BARE)
    run_id = new_run(conn)
    given = events(count)
    # Or the first change of each page would carry a copy of it.
    conn.execute("CHECKPOINT")
    before = observer.so_far()
    for start in range(0, count, batch):
        write(conn, run_id, start + 1, given[start : start + batch])
    return between(before, observer.so_far()).wal


def bare(conn: Connection[Any], run_id: UUID, first: int, given: Given) -> None:
    types, payloads = zip(*given, strict=True)
    numbers = list(range(first, first + len(given)))
    conn.execute(BARE_INSERT, (run_id, numbers, list(types), [Jsonb(one) for one in payloads]))


def append(conn: Connection[Any], run_id: UUID, first: int, given: Given) -> int:
    return runstore.append_run_events(conn, run_id, _new(given), expected_seq=first - 1)


def bulk(conn: Connection[Any], run_id: UUID, first: int, given: Given) -> int:
    return runstore.import_run_events(conn, run_id, _new(given), expected_seq=first - 1)


def _new(given: Given) -> list[NewRunEvent]:
    return [NewRunEvent(type=type, payload=payload) for type, payload in given]


def table(rows: Sequence[Storage]) -> str:
    lines = [
        "| events written | bytes of table and indexes | bytes of WAL |",
        "| --- | ---: | ---: |",
    ]
    lines += [f"| {row.written} | {row.table_bytes:.0f} | {row.wal_bytes:.0f} |" for row in rows]
    return "\n".join(lines)
