"""From an error to one clear line and an exit status."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from runstore.errors import NotFound, RunstoreError

from ._statuses import Status

UNMIGRATED: Final = (
    errors.InvalidSchemaName,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.UndefinedTable,
)


# What the commands call what the library has another word for.
_WORDS: Final = {"call to action": "question"}

_NO_DSN: Final = "(No DSN was given, by --dsn, RUNSTORE_DSN or DATABASE_URL.)"


class Told(Exception):
    """Something that a command cannot do; its text is meant for the user."""

    def __init__(self, message: str, status: Status) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, as a user is told it. It holds no payload and no password."""

    status: Status
    kind: str
    message: str


def explain(error: BaseException, dsn: str) -> Failure:
    """Say what an error means to the user of the command."""
    status, message = _explain(error, dsn)
    return Failure(status, type(error).__name__, message)


def _explain(error: BaseException, dsn: str) -> tuple[Status, str]:
    if isinstance(error, NotFound):
        return Status.ABSENT, _sentence(_worded(error))
    if isinstance(error, UNMIGRATED):
        return Status.UNMIGRATED, (
            "The database lacks the schema that this version needs:"
            " `runstore check` says what is missing, `runstore migrate` applies it."
        )
    if isinstance(error, psycopg.Error):
        verb = "did not answer" if error.sqlstate is None else "refused"
        nowhere = "" if dsn or error.sqlstate else f" {_NO_DSN}"
        return Status.UNANSWERED, f"The database {verb}: {_reason(error, dsn)}{nowhere}"
    if isinstance(error, OSError):
        name = f" {error.filename}" if error.filename else " a file"
        return Status.REFUSED, f"Cannot use{name}: {error.strerror or error}."
    if isinstance(error, RunstoreError | Told):
        status = error.status if isinstance(error, Told) else Status.REFUSED
        return status, _sentence(_worded(error))
    return Status.BROKEN, f"A fault of runstore itself ({type(error).__name__})."


def _worded(error: Exception) -> str:
    text, entity = str(error), getattr(error, "entity", "")
    word = _WORDS.get(entity)
    return word + text.removeprefix(entity) if word and text.startswith(entity) else text


def details(error: BaseException) -> str:
    """Say more of an error: where it came up, and what the server said of it.

    Neither the message of an error that the database raised, whose DETAIL may quote a row, nor
    the values of variables are in it.
    """
    lines = [
        f"  {_place(frame.filename)}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    lines.append(f"  {type(error).__module__}.{type(error).__qualname__}")
    if isinstance(error, psycopg.Error) and error.sqlstate:
        said = (error.diag.message_primary, error.diag.message_hint)
        lines.append(f"  SQLSTATE {error.sqlstate}: {'; '.join(filter(None, said))}")
    return "\n".join(lines)


def _place(filename: str) -> str:
    parts = Path(filename).parts
    return "/".join(parts[-3:])


def _sentence(text: str) -> str:
    line = " ".join(text.split())
    return f"{line[:1].upper()}{line[1:]}{'' if line.endswith(('.', '!', '?')) else '.'}"


def _reason(error: psycopg.Error, dsn: str) -> str:
    if error.sqlstate is None and _misread(conninfo_to_dict(dsn)):
        return "its DSN is malformed"
    # The server's own sentence: the whole text has a DETAIL, which may quote a row.
    lines = [line.strip() for line in str(error.diag.message_primary or error).splitlines()]
    # libpq's advice stands on a line of its own.
    return ". ".join(line.removesuffix(".") for line in lines if line)


def _misread(parameters: dict[str, Any]) -> bool:
    """Say whether pieces of a password may have been read as host, port or database.

    That is what a URL's password does whose reserved characters are not percent-encoded; the
    error would quote the pieces.
    """
    port = str(parameters.get("port") or "")
    names = f"{parameters.get('host')} {parameters.get('dbname')}"
    return "@" in names or (not port.replace(",", "").isdecimal() and port != "")
