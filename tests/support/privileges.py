"""What each role has to be allowed, read from the statements of `sql/`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pglast
from pglast import visitors

from logins import Role
from runstore import _sql

# The statements of retention. Every other one that writes is the writer's.
JANITORS: Final = {
    "adopt_runs",
    "blank_answers",
    "blank_run",
    "blank_run_events",
    "blank_usage_logs",
    "blank_usage_reservations",
    "delete_ended_reservations",
    "delete_finished_runs",
    "delete_old_usage_logs",
    "delete_past_counters",
    "delete_run",
    "delete_run_children",
    "delete_run_events",
    "delete_subject_quota",
}

_PLACEHOLDER: Final = re.compile(r"%\(\w+\)[sbt]")


@dataclass(frozen=True)
class Privilege:
    """One privilege on a table. UPDATE is of one column."""

    table: str
    act: str
    column: str | None = None


# Whoever locks a row needs UPDATE on some column of it.
LOCKED: Final[dict[Role, set[Privilege]]] = {
    "janitor": {
        Privilege("run_heads", "UPDATE", "heartbeat_at"),
        Privilege("quotas", "UPDATE", "updated_at"),
    }
}


def needed() -> dict[Role, set[Privilege]]:
    """Return what the roles that write need, beyond SELECT on everything."""
    privileges: dict[Role, set[Privilege]] = defaultdict(set)
    for role, locked in LOCKED.items():
        privileges[role].update(locked)
    for file in sorted(_sql.directory("sql").glob("*.sql")):
        for name, sql in _sql.parse(file).items():
            privileges["janitor" if name in JANITORS else "writer"].update(_of(sql.text))
    return privileges


def _of(text: str) -> set[Privilege]:
    writes = _Writes()
    writes(pglast.parse_sql(_PLACEHOLDER.sub("NULL", text).replace("%%", "%")))
    return writes.found


class _Writes(visitors.Visitor):
    """Collects what a statement and its common table expressions write."""

    def __init__(self) -> None:
        self.found: set[Privilege] = set()

    def visit_InsertStmt(self, _: Any, node: Any) -> None:  # noqa: N802 - pglast's.
        table = node.relation.relname
        self.found.add(Privilege(table, "INSERT"))
        conflict = node.onConflictClause
        self.found |= set(_updates(table, (conflict and conflict.targetList) or ()))

    def visit_UpdateStmt(self, _: Any, node: Any) -> None:  # noqa: N802
        self.found |= set(_updates(node.relation.relname, node.targetList))

    def visit_DeleteStmt(self, _: Any, node: Any) -> None:  # noqa: N802
        self.found.add(Privilege(node.relation.relname, "DELETE"))


def _updates(table: str, targets: Any) -> Iterator[Privilege]:
    return (Privilege(table, "UPDATE", target.name) for target in targets)
