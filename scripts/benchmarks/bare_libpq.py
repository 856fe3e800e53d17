"""A statement of the library sent by libpq itself, with its parameters encoded beforehand.

What it costs is what no client in Python can go below.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

from psycopg import Connection
from psycopg.pq import ExecStatus

from runstore._arrays import Array, elements_of

NUMBERS: Final = itertools.count()
PLACEHOLDER: Final = re.compile(r"%\((\w+)\)[sb]")


def bare_call(
    conn: Connection[Any], statement: str, parameters: Mapping[str, Any]
) -> Callable[[], None]:
    """Prepare a statement, and return what sends it."""
    names = list(dict.fromkeys(PLACEHOLDER.findall(statement)))
    numbered = PLACEHOLDER.sub(lambda found: f"${names.index(found[1]) + 1}", statement)
    name = f"bare_{next(NUMBERS)}".encode()
    prepared = conn.pgconn.prepare(name, numbered.replace("%%", "%").encode())
    assert prepared.status == ExecStatus.COMMAND_OK, prepared.error_message
    # Of a None psycopg makes a NULL, which its annotation does not say.
    given: list[Any] = [as_text(parameters[name]) for name in names]

    def call() -> None:
        result = conn.pgconn.exec_prepared(name, given)
        assert result.status == ExecStatus.TUPLES_OK, result.error_message

    return call


def as_text(value: object) -> bytes | None:
    """Return a parameter as PostgreSQL's text."""
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, Array):
        value = elements_of(value)
    if isinstance(value, list):
        elements = map(as_text, cast("list[object]", value))
        return b"{" + b",".join(map(_quoted, elements)) + b"}"
    return str(value).encode()


def _quoted(element: bytes | None) -> bytes:
    if element is None:
        return b"NULL"
    return b'"' + element.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
