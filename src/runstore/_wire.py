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
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import AsyncConnection, Connection, errors
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import execute, send
from psycopg.pq import DiagnosticField, ExecStatus, Format, TransactionStatus

from ._adapters import ADAPTERS, refuse_other_encodings
from ._sql import number_placeholders

if TYPE_CHECKING:
    from psycopg import abc
    from psycopg.abc import Buffer, PQGen
    from psycopg.pq.abc import PGresult

    from ._query import Rows, Statement

    _Values = Sequence[Buffer | None]

SLOT: Final = "_runstore_wire"

# A statement is prepared for as many combinations of types; the rest goes without.
_MOST_PREPARED: Final = 8

_IDLE: Final = TransactionStatus.IDLE
_IN_TRANSACTION: Final = TransactionStatus.INTRANS
_ROWS: Final = ExecStatus.TUPLES_OK
_BINARY: Final = Format.BINARY
_UTF8: Final = b"UTF8"

# Somebody deallocated it: a caller, a pooler, or psycopg together with its own.
_UNKNOWN: Final = b"26000"
# Behind a pooler another client has prepared the same text, whose name is the same.
_PREPARED_ALREADY: Final = b"42P05"
# Among others, a column of the result has got another type.
_NOT_SUPPORTED: Final = b"0A000"


@dataclass(slots=True, eq=False)
class _Known:
    """What is known of a statement on a connection.

    `names` and `formats` are those of its parameters by number. `prepared` is the name under which
    it is prepared for these types of parameters. It is empty after the first use: a statement that
    is used once is not worth a round trip.
    """

    text: bytes
    names: tuple[str, ...]
    formats: Sequence[PyFormat]
    prepared: dict[tuple[int, ...] | None, bytes] = field(
        default_factory=dict[tuple[int, ...] | None, bytes]
    )


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
        self._statements: dict[str, _Known] = {}

    def exchange(self, statement: Statement[Any]) -> PQGen[Rows | None]:
        """Send a statement and read its rows; None says that a cursor has to do it.

        A generator of psycopg's, for the `wait` of a connection of either kind.
        """
        to_prepare = (
            statement.prepare is not False and self.connection.prepare_threshold is not None
        )
        known = self._statements.get(statement.sql.text) or self._know(statement.sql.text)
        if known is None or not self._may_go(to_prepare):
            return None
        pgconn = self._pgconn
        if pgconn.parameter_status(b"client_encoding") != _UTF8:
            refuse_other_encodings(self.connection)
        if pgconn.parameter_status(b"TimeZone") != self._zone:
            self._follow_time_zone()
        transformer, parameters = self._transformer, statement.parameters
        try:
            given = [parameters[name] for name in known.names]
        except KeyError as missing:
            raise psycopg.ProgrammingError(f"query parameter missing: {missing}") from None
        values = transformer.dump_sequence(given, known.formats)
        name = known.prepared.get(transformer.types, b"") if to_prepare else b""
        if not name and to_prepare:
            name = yield from self._prepare_at_second_use(known)
        if name:
            pgconn.send_query_prepared(name, values, transformer.formats, _BINARY)
        else:
            self._send_as_it_is(known, values)
        if statement.meanwhile is not None:
            yield from send(pgconn)
            statement.meanwhile()
        result = _last((yield from execute(pgconn)))
        if result.status != _ROWS:
            result = yield from self._repeat(known, name, values, result)
        transformer.set_pgresult(result)
        rows: Rows = transformer.load_rows(0, result.ntuples, tuple)
        transformer.set_pgresult(None)
        return rows

    def _know(self, text: str) -> _Known | None:
        numbered = number_placeholders(text)
        if not numbered.plain:
            # A cursor says what psycopg has against it.
            return None
        formats = [PyFormat(format) for format in numbered.formats]
        known = _Known(numbered.text.encode(), numbered.names, formats)
        return self._statements.setdefault(text, known)

    def _may_go(self, to_prepare: bool) -> bool:
        pgconn = self._pgconn
        if pgconn.pipeline_status:
            return False
        status = pgconn.transaction_status
        if status == _IDLE:
            return self.connection.autocommit
        return status == _IN_TRANSACTION and not to_prepare

    def _follow_time_zone(self) -> None:
        # A loader of times keeps the session's time zone for good.
        self._transformer = Transformer(self)
        self._zone = self._pgconn.parameter_status(b"TimeZone")

    def _send_as_it_is(self, known: _Known, values: _Values) -> None:
        types, formats = self._transformer.types, self._transformer.formats
        self._pgconn.send_query_params(known.text, values, types, formats, _BINARY)

    def _prepare_at_second_use(self, known: _Known) -> PQGen[bytes]:
        """Prepare a statement at its second use; no name says that it is the first."""
        types = self._transformer.types
        if types in known.prepared:
            known.prepared[types] = yield from self._prepare(known.text, types)
        elif len(known.prepared) < _MOST_PREPARED:
            known.prepared[types] = b""
        return known.prepared.get(types, b"")

    def _repeat(
        self, known: _Known, name: bytes, values: _Values, failed: PGresult
    ) -> PQGen[PGresult]:
        """Send as it is what failed as a prepared statement before it did anything.

        Raises every other failure.
        """
        state = failed.error_field(DiagnosticField.SQLSTATE)
        if not name or state not in (_UNKNOWN, _NOT_SUPPORTED):
            raise _failure(failed)
        known.prepared[self._transformer.types] = b""
        if state == _NOT_SUPPORTED:
            self._pgconn.send_query_params(b"DEALLOCATE " + name, None)
            yield from self._result()
        self._send_as_it_is(known, values)
        result = yield from self._result()
        if result.status != _ROWS:
            raise _failure(result)
        return result

    def _prepare(self, text: bytes, types: tuple[int, ...] | None) -> PQGen[bytes]:
        # Of the text, so that one name never stands for two statements behind a pooler.
        digest = hashlib.blake2s(text + repr(types).encode(), digest_size=12)
        name = b"runstore_" + digest.hexdigest().encode()
        self._pgconn.send_prepare(name, text, types)
        result = yield from self._result()
        if result.status != ExecStatus.COMMAND_OK and (
            result.error_field(DiagnosticField.SQLSTATE) != _PREPARED_ALREADY
        ):
            raise _failure(result)
        return name

    def _result(self) -> PQGen[PGresult]:
        return _last((yield from execute(self._pgconn)))


def wire_of(connection: Connection[Any] | AsyncConnection[Any]) -> Wire:
    """Return what is kept on a connection."""
    wire: Wire | None = connection.__dict__.get(SLOT)
    return connection.__dict__.setdefault(SLOT, Wire(connection)) if wire is None else wire


def _last(results: list[PGresult]) -> PGresult:
    if not results:
        raise psycopg.InternalError("the server answered nothing")
    return results[-1]


def _failure(result: PGresult) -> psycopg.Error:
    if result.status == ExecStatus.FATAL_ERROR:
        return errors.error_from_result(result)
    return psycopg.ProgrammingError("the statement answers no rows")
