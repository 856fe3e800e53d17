"""What the library raises, and how errors of the database become it.

Only errors that have a name here are translated; every other error of psycopg
stays what it is. No message holds a payload, the value of a key or a password: a
translated error keeps the constraint's name, and of another one's text goes what may
quote a value, such as the server's DETAIL, which quotes the row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID


class RunstoreError(Exception):
    """Something that runstore refuses or could not do."""


class NotFound(RunstoreError, LookupError):
    """There is no such row.

    `entity` says what is missing ("run", "agent invocation"), `id` which one; it is None
    where only the database knows.
    """

    def __init__(self, entity: str, id: UUID | str | None = None) -> None:
        super().__init__(
            f"{entity} does not exist" if id is None else f"{entity} {id} does not exist"
        )
        self.entity = entity
        self.id = id


class InvalidTransition(RunstoreError):
    """The row's status, which `status` names, does not allow the write."""

    def __init__(self, entity: str, id: UUID | str, status: str) -> None:
        super().__init__(f"{entity} {id} is {status}")
        self.entity = entity
        self.id = id
        self.status = status


class Conflict(RunstoreError):
    """A row with the same key and other content stands in the way.

    `constraint` is the name of the key in the schema.
    """

    def __init__(self, message: str, *, constraint: str | None = None) -> None:
        super().__init__(message)
        self.constraint = constraint


class StaleWrite(RunstoreError):
    """Somebody else has written in the meantime.

    `what` names the number that was compared, `expected` and `found` are its values.
    """

    def __init__(self, what: str, expected: int, found: int) -> None:
        super().__init__(f"{what} is {found}, not {expected} as expected")
        self.what = what
        self.expected = expected
        self.found = found


class MergeConflict(StaleWrite):
    """A branch and its report both changed sections; nothing was merged.

    `slugs` names these sections. `what`, `expected` and `found` are of the first of them: its
    version in the report when the branch copied it, and now; 0 is that of no section.
    """

    def __init__(self, slugs: Sequence[str], expected: int, found: int) -> None:
        super().__init__(f"version of section {slugs[0]}", expected, found)
        self.args = (f"both sides changed: {', '.join(slugs)}",)
        self.slugs = tuple(slugs)


class QuotaExceeded(RunstoreError):
    """A hard quota would be passed; nothing was held or logged.

    `quota` is its id. `limit`, `used`, `held` and `asked` are in the meter's own unit: what may be
    used in a window, what was used and is held in the present one, and what was asked for.
    `resets_at` is when the next window begins; it is None for a total.
    """

    def __init__(
        self,
        quota: UUID,
        *,
        meter: str,
        period: str,
        limit: int,
        used: int,
        held: int,
        asked: int,
        resets_at: datetime | None,
    ) -> None:
        reset = "" if resets_at is None else f", resets at {resets_at.isoformat()}"
        super().__init__(
            f"quota {quota} ({meter}, {period}) would be exceeded: "
            f"limit {limit}, used {used}, held {held}, asked {asked}{reset}"
        )
        self.quota = quota
        self.meter = meter
        self.period = period
        self.limit = limit
        self.used = used
        self.held = held
        self.asked = asked
        self.resets_at = resets_at


class InvalidPayload(RunstoreError, ValueError):
    """A value cannot be stored.

    `path` names the field (`metadata.user`, `[3].content`), `reason` says what is wrong
    with it. Neither holds the value.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class EventsPurged(RunstoreError):
    """Events of a run have been purged: what is left is not its log."""

    def __init__(self, run_id: UUID, purged_seq: int) -> None:
        super().__init__(f"the events of run {run_id} up to {purged_seq} have been purged")
        self.run_id = run_id
        self.purged_seq = purged_seq


class TransactionAborted(RunstoreError):
    """A statement failed in a transaction and its error was swallowed; nothing was written."""


# What a foreign key of the schema points at. Keys and checks need no table: their names
# follow the pattern <table>_<columns>_<kind>.
FOREIGN_KEYS: Final = {
    "run_heads_run_id_fkey": "run",
    "run_events_run_id_fkey": "run",
    "run_segments_run_id_fkey": "run",
    "sandboxes_run_id_fkey": "run",
    "snapshots_run_id_sandbox_id_fkey": "sandbox",
    "snapshots_run_id_parent_snapshot_id_fkey": "parent snapshot",
    "phase_results_run_id_fkey": "run",
    "agent_invocations_run_id_fkey": "run",
    "agent_invocations_run_id_phase_result_id_fkey": "phase result",
    "agent_invocations_run_id_parent_invocation_id_fkey": "parent invocation",
    "agent_steps_run_id_invocation_id_fkey": "agent invocation",
    "tool_calls_run_id_invocation_id_fkey": "agent invocation",
    "tool_calls_run_id_step_id_fkey": "agent step",
    "memory_records_run_id_fkey": "run",
    "cta_events_run_id_fkey": "run",
    "cta_events_run_id_invocation_id_fkey": "agent invocation",
    "cta_events_run_id_tool_call_id_fkey": "tool call",
    "reports_run_id_fkey": "run",
    "report_sections_run_id_report_id_fkey": "report",
    "report_versions_run_id_report_id_fkey": "report",
    "report_version_sections_run_id_report_id_version_fkey": "report version",
    "branch_reports_run_id_fkey": "run",
    "branch_sections_run_id_branch_id_fkey": "branch report",
    "usage_counters_tenant_id_subject_id_quota_id_fkey": "quota",
}


# Foreign keys whose rows are written together with what they point at: what fails is a delete.
RESTRICTING_KEYS: Final = {
    "run_holds_run_id_fkey": "a hold keeps this run",
    "run_segments_source_run_id_fkey": "a fork reads events of this run",
}


NO_ROOM: Final = "usage_counters_not_null"
"""Stands for the constraints that refuse a change of a counter which has no room for it."""

# What is set to NULL then.
_WITHOUT_ROOM: Final = frozenset({"usage_counters.used", "usage_counters.held"})

NOT_KNOWN: Final = "is not known to the database"
"""Why a name is refused that only the database knows: that of a time zone."""

# A value that the database refuses, by SQLSTATE. The server's own text quotes it.
_REFUSALS: Final = {
    "22001": "is too long for its column",
    "22003": "is a number out of range",
    "22007": "is not a time that the database holds",
    "22008": "is not a time that the database holds",
    "22021": "holds a character that the database cannot store",
    "22023": NOT_KNOWN,
    "22P02": "is not of the type that the database expects",
    "22P03": "is not of the type that the database expects",
    "22P05": "holds a character that the database cannot store",
    "54000": "is larger than the database can hold",
}

# Classes of SQLSTATE whose DETAIL tells of sessions, locks and the system, and never of rows.
_TOLD_IN_FULL: Final = frozenset({"08", "25", "40", "53", "55", "57", "58"})


def translate(error: Exception) -> Exception:
    """Give what to raise for a failed statement: the domain error that it stands for, or itself.

    The caller raises it `from None`: the original's DETAIL quotes the row. An error of psycopg that
    has no name here keeps its class, its SQLSTATE and its `diag`, and loses from its text what may
    quote a value.
    """
    if isinstance(error, UnicodeEncodeError):
        return InvalidPayload("text", "holds a lone surrogate, which UTF-8 cannot encode")
    if not isinstance(error, psycopg.Error):
        return error
    return _named(error) or _without_values(error)


def _named(error: psycopg.Error) -> RunstoreError | None:
    diag, state = error.diag, error.sqlstate
    if diag.schema_name == "runstore" and diag.table_name:
        if state == "23502" and diag.column_name:
            if f"{diag.table_name}.{diag.column_name}" in _WITHOUT_ROOM:
                return Conflict("the room of a hard quota was taken meanwhile", constraint=NO_ROOM)
            return InvalidPayload(diag.column_name, "must not be NULL")
        # A key that is too long for its index names that too, and is no violation.
        if diag.constraint_name and str(state).startswith("23"):
            suffix = diag.constraint_name.removeprefix(f"{diag.table_name}_")
            return _of_constraint(diag.constraint_name, suffix)
    if state in _REFUSALS:
        return InvalidPayload("parameter", _REFUSALS[state])
    if isinstance(error, psycopg.DataError) and state is None:
        # psycopg's own.
        return InvalidPayload(
            "parameter",
            "cannot be sent or read: a NUL character, or a number or a time out of range",
        )
    return None


def _without_values(error: psycopg.Error) -> psycopg.Error:
    state, told = error.sqlstate, error.diag.message_primary
    if state is not None and told is not None:
        if state.startswith("22"):
            told = f"{type(error).__name__} (SQLSTATE {state})"
        elif state[:2] in _TOLD_IN_FULL and error.diag.message_detail:
            told = f"{told}\nDETAIL:  {error.diag.message_detail}"
        error.args = (told,)
    return error


def _of_constraint(name: str, suffix: str) -> RunstoreError | None:
    columns, _, kind = suffix.rpartition("_")
    if kind == "check":
        return InvalidPayload(columns, f"is refused by the constraint {name}")
    if name in RESTRICTING_KEYS:
        return Conflict(RESTRICTING_KEYS[name], constraint=name)
    if kind == "fkey":
        return NotFound(FOREIGN_KEYS.get(name, name))
    if kind in ("key", "pkey"):
        return key_taken(name)
    return None


def key_taken(name: str) -> Conflict:
    """Return what is raised where another row has the same value of a key of the schema."""
    return Conflict(f"another row has the same key: {name}", constraint=name)
