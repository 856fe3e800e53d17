"""What the database holds, and since when: the proof of what a call wrote."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from connections import Caller

Contents = dict[str, list[dict[str, Any]]]


def clock(call: Caller) -> datetime:
    """Return the time by the database's clock."""
    time: datetime = call.execute("SELECT clock_timestamp()")[0][0]
    return time


def contents(call: Caller) -> Contents:
    """Return every row of every table, by the table's name."""
    tables = call.execute(
        "SELECT relname::text FROM pg_class"
        " WHERE relnamespace = 'runstore'::regnamespace AND relkind = 'r' ORDER BY relname"
    )
    assert tables
    rows: Contents = {name: [] for (name,) in tables}
    # One statement, and so one snapshot. The names are the catalogue's own.
    parts = [f"SELECT '{name}', to_jsonb(t) FROM runstore.{name} AS t" for name in rows]
    query: Any = f"{' UNION ALL '.join(parts)} ORDER BY 1, 2"
    for name, row in call.execute(query):
        rows[name].append(row)
    return rows


def changes(before: Contents, after: Contents) -> dict[str, list[dict[str, Any]]]:
    """Return the rows that are new or changed, by the table's name, where there are any.

    Fails when a row is gone, unless another has its key.
    """
    changed: Contents = {}
    for table, rows in after.items():
        keys = [_key(row) for row in rows]
        assert all(_key(row) in keys for row in before[table])
        different = [row for row in rows if row not in before[table]]
        if different:
            changed[table] = different
    return changed


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in ("run_id", "id", "seq"))
