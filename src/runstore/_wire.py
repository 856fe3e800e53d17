"""Statements sent by libpq's own calls, past psycopg's cursors.

A cursor reads the text of a query, looks up how to encode and decode, asks whether to prepare, and
keeps the results for any way to fetch them: more than half of what a call costs its client. The
text of a statement of ours never changes, and its rows are read in one way. What was found out
about it once is kept on the connection, for whoever holds the connection's lock.

Only what a cursor would do with the same outcome goes this way. A pipeline, a connection without
autocommit that has to begin a transaction, and a prepared statement in an open transaction do not:
a statement that the server has forgotten would end the caller's transaction, while alone it is
sent again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import AsyncConnection, Connection, errors
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import execute
from psycopg.pq import DiagnosticField, ExecStatus, Format, PipelineStatus, TransactionStatus

from ._adapters import ADAPTERS, refuse_other_encodings
from ._sql import number_placeholders

if TYPE_CHECKING:
    from psycopg import abc
    from psycopg.abc import Buffer, PQGen
    from psycopg.pq.abc import PGresult

    from ._query import Rows, Statement

    _Values = Sequence[Buffer | None]

_SLOT: Final = "_runstore_wire"

# As many statements are prepared on a connection; the rest goes without.
_MOST_PREPARED: Final = 500

_NO_PIPELINE: Final = PipelineStatus.OFF
_IDLE: Final = TransactionStatus.IDLE
_IN_TRANSACTION: Final = TransactionStatus.INTRANS
_ROWS: Final = ExecStatus.TUPLES_OK
_BINARY: Final = Format.BINARY

# Somebody deallocated it: a caller, a pooler, or psycopg together with its own.
_UNKNOWN: Final = b"26000"
# Behind a pooler another client has prepared the same text, whose name is the same.
_PREPARED_ALREADY: Final = b"42P05"
# Among others, a column of the result has got another type.
_NOT_SUPPORTED: Final = b"0A000"


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    """A query as libpq takes it: numbered placeholders, and whose value each of them is."""

    sent: bytes
    names: tuple[str, ...]
    formats: Sequence[PyFormat]

    def pick(self, parameters: Mapping[str, Any]) -> list[Any]:
        """Return the values in the order of the numbers."""
        try:
            return [parameters[name] for name in self.names]
        except KeyError as missing:
            raise psycopg.ProgrammingError(f"query parameter missing: {missing}") from None


_TEXTS: Final[dict[str, _Text | None]] = {}


def _text_of(text: str) -> _Text | None:
    """Return the text to send; None when it holds what psycopg refuses, and says why."""
    try:
        return _TEXTS[text]
    except KeyError:
        pass
    numbered = number_placeholders(text)
    formats = [PyFormat(format) for format in numbered.formats]
    made = _Text(numbered.text.encode(), numbered.names, formats) if numbered.plain else None
    return _TEXTS.setdefault(text, made)


class Wire:
    """What is known of a connection from one call to the next.

    Nobody but who holds the connection's lock may use it.
    """

    adapters = ADAPTERS

    def __init__(self, connection: Connection[Any] | AsyncConnection[Any]) -> None:
        self.connection = connection
        self._pgconn = connection.pgconn
        self._zone: bytes | None = None
        self._transformer: abc.Transformer = Transformer(self)
        # The name under which a text is prepared for these types of parameters. It is empty
        # after the first use: a statement that is used once is not worth a round trip.
        self._prepared: dict[tuple[_Text, tuple[int, ...] | None], bytes] = {}

    def exchange(self, statement: Statement[Any]) -> PQGen[Rows | None]:
        """Send a statement and read its rows; None says that a cursor has to do it.

        A generator of psycopg's, for the `wait` of a connection of either kind.
        """
        to_prepare = (
            statement.prepare is not False and self.connection.prepare_threshold is not None
        )
        text = _text_of(statement.sql.text)
        if text is None or not self._may_go(to_prepare):
            return None
        refuse_other_encodings(self.connection)
        transformer = self._transformer_of_now()
        values = transformer.dump_sequence(text.pick(statement.parameters), text.formats)
        if to_prepare:
            result = yield from self._by_name(text, values)
        else:
            result = yield from self._as_it_is(text, values)
        if result.status != _ROWS:
            raise _failure(result)
        transformer.set_pgresult(result)
        rows: Rows = transformer.load_rows(0, result.ntuples, tuple)
        transformer.set_pgresult(None)
        return rows

    def _may_go(self, to_prepare: bool) -> bool:
        pgconn = self._pgconn
        status = pgconn.transaction_status
        if pgconn.pipeline_status != _NO_PIPELINE:
            return False
        if status == _IDLE:
            return self.connection.autocommit
        return status == _IN_TRANSACTION and not to_prepare

    def _transformer_of_now(self) -> abc.Transformer:
        # A loader of times keeps the session's time zone for good.
        zone = self._pgconn.parameter_status(b"TimeZone")
        if zone != self._zone:
            self._transformer, self._zone = Transformer(self), zone
        return self._transformer

    def _as_it_is(self, text: _Text, values: _Values) -> PQGen[PGresult]:
        types, formats = self._transformer.types, self._transformer.formats
        self._pgconn.send_query_params(text.sent, values, types, formats, _BINARY)
        return (yield from self._result())

    def _by_name(self, text: _Text, values: _Values) -> PQGen[PGresult]:
        types, formats = self._transformer.types, self._transformer.formats
        key = text, types
        name = self._prepared.get(key)
        if name is None:
            if len(self._prepared) < _MOST_PREPARED:
                self._prepared[key] = b""
        elif not name:
            name = self._prepared[key] = yield from self._prepare(text, types)
        if name:
            self._pgconn.send_query_prepared(name, values, formats, _BINARY)
            result = yield from self._result()
            if result.status == _ROWS or not (yield from self._is_gone(name, result)):
                return result
            self._prepared[key] = b""
        return (yield from self._as_it_is(text, values))

    def _result(self) -> PQGen[PGresult]:
        results: list[PGresult] = yield from execute(self._pgconn)
        if not results:
            raise psycopg.InternalError("the server answered nothing")
        return results[-1]

    def _prepare(self, text: _Text, types: tuple[int, ...] | None) -> PQGen[bytes]:
        # Of the text, so that one name never stands for two statements behind a pooler.
        digest = hashlib.blake2s(text.sent + repr(types).encode(), digest_size=12)
        name = b"runstore_" + digest.hexdigest().encode()
        self._pgconn.send_prepare(name, text.sent, types)
        result = yield from self._result()
        if result.status != ExecStatus.COMMAND_OK and _sqlstate(result) != _PREPARED_ALREADY:
            raise _failure(result)
        return name

    def _is_gone(self, name: bytes, result: PGresult) -> PQGen[bool]:
        """Say whether the statement failed as a prepared one, before it did anything."""
        state = _sqlstate(result)
        if state == _NOT_SUPPORTED:
            self._pgconn.send_query_params(b"DEALLOCATE " + name, None)
            yield from self._result()
        return state in (_UNKNOWN, _NOT_SUPPORTED)


def wire_of(connection: Connection[Any] | AsyncConnection[Any]) -> Wire:
    """Return what is kept on a connection."""
    wire: Wire | None = connection.__dict__.get(_SLOT)
    return connection.__dict__.setdefault(_SLOT, Wire(connection)) if wire is None else wire


def _sqlstate(result: PGresult) -> bytes | None:
    return result.error_field(DiagnosticField.SQLSTATE)


def _failure(result: PGresult) -> psycopg.Error:
    if result.status == ExecStatus.FATAL_ERROR:
        return errors.error_from_result(result)
    return psycopg.ProgrammingError("the statement answers no rows")
