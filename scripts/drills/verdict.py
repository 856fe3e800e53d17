"""Compare what a database holds with what it had acknowledged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg

from runstore import (
    RunTree,
    get_run_head,
    get_run_tree,
    get_usage,
    iter_run_events,
    verify_usage,
)
from runstore._models import Row
from runstore.run_events import RunEvent
from runstore.usage_logs import find_usage_logs
from workload import PHASES, SUBJECTS, Ledger

Conn = psycopg.Connection[Any]


def violations(conn: Conn, ledger: Ledger) -> list[str]:
    """Return what is lost, doubled, out of order or miscounted; nothing is the only good answer."""
    found: list[str] = []
    logs: dict[UUID, list[RunEvent]] = {}
    for run_id, rows in ledger.rows.items():
        logs[run_id] = list(iter_run_events(conn, run_id))
        found += _of_rows(get_run_tree(conn, run_id), rows)
        found += _of_log(run_id, logs[run_id], ledger.events[run_id])
        if get_run_head(conn, run_id).last_seq != len(logs[run_id]):
            found.append(f"run {run_id}: its head is not the number of its last event")
    for run_id, tail in ledger.tails:
        if tail.result() != logs[run_id]:
            found.append(f"run {run_id}: a tail did not read the log")
    return [*found, *miscounts(conn), *_of_usage(conn, ledger)]


def miscounts(conn: Conn) -> Iterator[str]:
    """Give the counters that disagree with what was logged and what is held."""
    cursor = None
    while True:
        page = verify_usage(conn, cursor=cursor)
        yield from (f"a counter disagrees with the log: {audit}" for audit in page.items)
        cursor = page.next_cursor
        if cursor is None:
            return


def _of_rows(tree: RunTree, kept: dict[Any, dict[str, Any]]) -> Iterator[str]:
    stored = [row for row in _rows(tree) if hasattr(row, "id")]
    counts = Counter(row.id for row in stored)
    yield from (f"row {id} is there {count} times" for id, count in counts.items() if count > 1)
    yield from (f"row {id} was acknowledged and is lost" for id in kept.keys() - counts.keys())
    yield from (f"row {id} was never written" for id in counts.keys() - kept.keys())
    for row in stored:
        for name, value in kept.get(row.id, {}).items():
            if getattr(row, name) != value:
                yield f"row {row.id}: its {name} is {getattr(row, name)!r}, not {value!r}"


def _rows(node: Any) -> Iterator[Any]:
    """Give every row of a tree, whatever node holds it."""
    if isinstance(node, list):
        for each in node:
            yield from _rows(each)
    elif isinstance(node, Row):
        yield node
        for name in type(node).model_fields:
            yield from _rows(getattr(node, name))


def _of_log(
    run_id: UUID, log: list[RunEvent], acknowledged: list[tuple[str, int, int | None]]
) -> Iterator[str]:
    if [event.seq for event in log] != list(range(1, len(log) + 1)):
        yield f"run {run_id}: its log has a gap or a double"
    stored: dict[tuple[str, int], int] = {}
    for event in log:
        if event.type.startswith("run."):
            continue
        payload: Any = event.payload
        key = (payload["writer"], payload["n"])
        if key in stored:
            yield f"run {run_id}: event {key} is there twice"
        stored[key] = event.seq
    told = {(writer, number): seq for writer, number, seq in acknowledged}
    yield from (f"run {run_id}: event {key} is lost" for key in told.keys() - stored.keys())
    yield from (f"run {run_id}: event {key} was not sent" for key in stored.keys() - told.keys())
    for key, seq in told.items():
        if seq is not None and stored.get(key, seq) != seq:
            yield f"run {run_id}: event {key} is number {stored[key]}, and {seq} was told"
    # What the library writes by itself: one of each for a status, one for each phase.
    counts = Counter(event.type for event in log if event.type.startswith("run."))
    for type, count in counts.items():
        if count != (len(PHASES) if type == "run.phase_changed" else 1):
            yield f"run {run_id}: {count} events {type}"
    if log[-1].type != "run.completed":
        yield f"run {run_id}: its log does not end with its end"


def _of_usage(conn: Conn, ledger: Ledger) -> Iterator[str]:
    used = Counter[str]()
    for id, (subject, amounts) in ledger.settled.items():
        used[subject] += amounts["tokens"]
        logged = {row.meter: row.amount for row in find_usage_logs(conn, id)}
        if logged != amounts:
            yield f"reservation {id}: {logged} is logged, {amounts} was acknowledged"
    for subject in SUBJECTS:
        for quota in get_usage(conn, subject):
            if quota.held:
                yield f"{subject}: {quota.held} is held, and nothing is open"
            # A day may have ended meanwhile.
            if quota.period == "total" and quota.used != used[subject]:
                yield f"{subject}: {quota.used} is counted, {used[subject]} was acknowledged"
