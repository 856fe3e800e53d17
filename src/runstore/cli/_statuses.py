"""What the exit status of the command says."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Status(IntEnum):
    """The exit statuses; `MEANINGS` says in a sentence what each of them means."""

    DONE = 0
    FAULTS = 1
    USAGE = 2
    NEWER = 3
    UNANSWERED = 4
    ABSENT = 5
    REFUSED = 6
    UNMIGRATED = 7
    BROKEN = 70
    INTERRUPTED = 130
    CLOSED = 141


MEANINGS: Final = {
    Status.DONE: "It is done; what was checked is as it should be.",
    Status.FAULTS: "What was checked is not: migrations are missing, or `verify` found faults.",
    Status.USAGE: "The command line is wrong: an option, an id, a DSN.",
    Status.NEWER: "`check`: the database has migrations that this version does not know.",
    Status.UNANSWERED: "The database did not answer, or refused to.",
    Status.ABSENT: "There is no such run, report or question.",
    Status.REFUSED: "It was refused: a conflict, a status that does not allow it, a bad file.",
    Status.UNMIGRATED: "The database lacks the schema that this version needs.",
    Status.BROKEN: "A fault of runstore itself; `--verbose` shows where.",
    Status.INTERRUPTED: "Ctrl-C, or a signal that asks to end.",
    Status.CLOSED: "Whoever read the output closed it, as `| head` does.",
}


def table() -> str:
    """Return the statuses and their meanings, a line each, as the help shows them."""
    return "\n".join(f"  {status.value:>3}  {MEANINGS[status]}" for status in Status)
