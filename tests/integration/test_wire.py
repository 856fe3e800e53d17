"""Statements that go past psycopg's cursors: the same for a caller, whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection, Connection, Notify
from psycopg.pq import TransactionStatus
from pydantic import JsonValue, TypeAdapter

from connections import Connect, Kind, wait_until_blocked
from creates import CREATES
from factories import create_run, new_feature_run
from runstore import (
    NewRunEvent,
    NotFound,
    Run,
    RunstoreError,
    append_run_events,
    complete_feature_run,
    create_feature_run,
    get_run,
    ingest_run_events,
    iter_run_export,
    list_runs,
    new_run_id,
    read_run_events,
    update_feature_run_phase,
)
from runstore._query import Query
from runstore.queries import Sql, Statement, query
from sessions import Session, open_session

pytestmark = pytest.mark.direct(reason="it looks at what its own session has prepared, and ends it")

NUMBER = Decimal("-12345678901234567890.0123456789")
TINY = Decimal("1e-20")
OURS = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'runstore%%'"


@pytest.fixture
def session(connection_kind: Kind, database: str) -> Iterator[Session]:
    with open_session(connection_kind, database) as session:
        yield session


@contextmanager
def by_itself(_: Session) -> Generator[None]:
    yield


@contextmanager
def in_a_transaction(session: Session) -> Generator[None]:
    """By a cursor that is kept."""
    with session.block(session.conn.transaction()):
        yield


Way = Callable[[Session], AbstractContextManager[None]]
EACH_WAY = pytest.mark.parametrize("way", [by_itself, in_a_transaction])


def count(session: Session, sql: LiteralString) -> int:
    [[number]] = session.execute(sql, ())
    return int(number)


@pytest.mark.owner
def test_a_model_holds_what_its_columns_type_says(session: Session) -> None:
    """Models are made of rows without validation, and are as valid as if they had been."""
    for create in CREATES:
        # Sent as it is, then prepared, then by its name.
        for _ in range(3):
            data: Any = create.most(session)
            session(create.function, data)
            row = create.stored(session, data)
            type(row).model_validate(dict(row), strict=True)
            given = {name: value for name, value in dict(data).items() if name in dict(row)}
            assert given.items() <= dict(row).items()
            if create.table == "runs":
                session(complete_feature_run, data.id)
                session.execute("DELETE FROM runstore.runs")


# What columns of each type may hold at its edges, as SQL says it and as a model does.
VALUES: dict[str, tuple[Any, list[tuple[LiteralString, Any]]]] = {
    "uuid": (
        UUID,
        [
            ("'00000000-0000-0000-0000-000000000000'", UUID(int=0)),
            ("'ffffffff-ffff-ffff-ffff-ffffffffffff'", UUID(int=(1 << 128) - 1)),
        ],
    ),
    "text": (str, [("''", ""), ("E'Zo\\u00eb \\U0001F98A\\n\\x01'", "Zoë 🦊\n\x01")]),
    "jsonb": (
        JsonValue,
        [
            ("'null'", None),
            ("'{}'", {}),
            ("""'[true, 0, -1, 1.5, "ä", {"": []}]'""", [True, 0, -1, 1.5, "ä", {"": []}]),
            ("'18446744073709551615'", (1 << 64) - 1),
        ],
    ),
    "integer": (int, [("-2147483648", -(1 << 31)), ("2147483647", (1 << 31) - 1)]),
    "bigint": (int, [("-9223372036854775808", -(1 << 63)), ("9223372036854775807", (1 << 63) - 1)]),
    "smallint": (int, [("-32768", -(1 << 15)), ("32767", (1 << 15) - 1)]),
    "boolean": (bool, [("true", True), ("false", False)]),
    "numeric": (
        Decimal,
        [("0", Decimal(0)), ("-12345678901234567890.0123456789", NUMBER), ("1e-20", TINY)],
    ),
    "timestamp with time zone": (
        datetime,
        [
            ("'0001-01-02 00:00:00+00'", datetime(1, 1, 2, tzinfo=UTC)),
            (
                "'9999-12-30 23:59:59.999999+00'",
                datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC),
            ),
        ],
    ),
    "uuid[]": (list[UUID], [("'{}'", []), ("ARRAY[gen_random_uuid()]", None)]),
    "text[]": (list[str], [("'{}'", []), ("""'{"",a,"b,{c}"}'""", ["", "a", "b,{c}"])]),
    "bigint[]": (list[int], [("'{-1,9223372036854775807}'", [-1, (1 << 63) - 1])]),
    "timestamp with time zone[]": (
        list[datetime],
        [("""'{"2024-02-29 12:00:00+00"}'""", [datetime(2024, 2, 29, 12, tzinfo=UTC)])],
    ),
    "date": (date, [("'2024-02-29'", date(2024, 2, 29))]),
    "interval": (timedelta, [("'36:00:00.000001'", timedelta(hours=36, microseconds=1))]),
}

TYPES = """
SELECT DISTINCT
    format_type(pg_attribute.atttypid, NULL)
FROM pg_attribute
INNER JOIN pg_class ON pg_attribute.attrelid = pg_class.oid
WHERE pg_class.relnamespace = 'runstore'::regnamespace
    AND pg_class.relkind IN ('r', 'p', 'v')
    AND pg_attribute.attnum > 0
    AND NOT pg_attribute.attisdropped
"""


def test_every_type_of_a_column_is_read_as_what_its_model_says(session: Session) -> None:
    found = {type for (type,) in session.execute(TYPES)}
    assert found <= VALUES.keys()

    for type, (annotation, values) in VALUES.items():
        adapter: TypeAdapter[Any] = TypeAdapter(annotation, config={"strict": True})
        for literal, value in [*values, ("NULL", None)]:
            read = probe(f"SELECT ({literal})::{type} AS value")
            # As it is, prepared, by its name; and by a cursor.
            rows = [session(read) for _ in range(3)]
            with session.block(session.conn.transaction()):
                rows.append(session(read))
            for row in rows:
                if literal != "NULL":
                    assert adapter.validate_python(row) == row
                assert value is None or (row == value and row.__class__ is value.__class__)
            assert literal != "NULL" or rows == [None] * 4


def probe(text: Any) -> Query[[], Any]:
    @query
    def probe() -> Statement[Any]:
        return Statement(Sql("probe", "one", text), {}, lambda rows: rows[0][0])

    return probe


def test_a_statement_is_prepared_at_its_second_use(session: Session) -> None:
    create_run(session)
    assert count(session, OURS) == 0
    for _ in range(3):
        create_run(session)
        assert count(session, OURS) == 1


def test_a_list_is_never_prepared(session: Session) -> None:
    for _ in range(3):
        session(list_runs)
    assert count(session, OURS) == 0


@pytest.mark.parametrize("forget", ["DEALLOCATE ALL", "DISCARD ALL"])
def test_statements_that_the_server_forgot_are_prepared_anew(
    session: Session, forget: LiteralString
) -> None:
    run = create_run(session)
    for _ in range(3):
        for _ in range(3):
            assert session(get_run, run.id).id == run.id
        assert count(session, OURS) == 1
        session.execute(forget)
        assert count(session, OURS) == 0


def test_a_transaction_does_not_end_because_psycopg_forgot_its_statements(
    session: Session,
) -> None:
    session.conn.prepare_threshold = 0
    run = create_run(session)
    for _ in range(3):
        session(get_run, run.id)
        # After a ROLLBACK psycopg deallocates all statements, and not only its own.
        session.execute("BEGIN")
        session.execute("SELECT 1")
        session.execute("ROLLBACK")
        session.execute("SELECT 1")
        assert count(session, OURS) == 0
        with session.block(session.conn.transaction()):
            assert session(get_run, run.id).id == run.id
            session(update_feature_run_phase, run.id, "next")
        assert session(get_run, run.id).phase == "next"


@pytest.mark.owner
def test_a_result_whose_type_changes_is_read_as_it_is(session: Session, connect: Connect) -> None:
    run = create_run(session, subject_id="someone")
    for type in ("varchar(300)", "text"):
        for _ in range(3):
            assert session(get_run, run.id).subject_id == "someone"
        alter: Any = f"ALTER TABLE runstore.runs ALTER COLUMN subject_id TYPE {type}"
        connect().execute(alter)
    assert session(get_run, run.id).subject_id == "someone"


def test_a_statement_that_was_prepared_under_its_name_already_is_used(session: Session) -> None:
    """Behind a pooler, another client of the server's session may have prepared it."""
    run = create_run(session)
    for _ in range(3):
        session(get_run, run.id)
    del session.conn.__dict__["_runstore_wire"]
    for _ in range(3):
        assert session(get_run, run.id).id == run.id
    assert count(session, OURS) == 1


@EACH_WAY
def test_times_follow_the_sessions_zone(session: Session, way: Way) -> None:
    run = create_run(session)
    for zone, hours in (("Asia/Tokyo", 9), ("UTC", 0), ("Asia/Tokyo", 9)):
        session.execute("SELECT set_config('timezone', %s, false)", (zone,))
        for _ in range(2):
            with way(session):
                found = session(get_run, run.id)
            assert offset_hours(found) == hours
            assert found == run


@EACH_WAY
def test_what_is_read_during_an_export_keeps_no_time_zone(
    session: Session, connection_kind: Kind, way: Way
) -> None:
    run = create_run(session)
    session.execute("SET timezone = 'Asia/Tokyo'")

    async def read_meanwhile(conn: AsyncConnection[Any]) -> None:
        async for _ in iter_run_export(conn, run.id):
            await get_run(conn, run.id)

    if connection_kind == "asyncio":
        session.run(read_meanwhile(session.conn))
    else:
        conn: Connection[Any] = session.conn
        for _ in iter_run_export(conn, run.id):
            get_run(conn, run.id)
    with way(session):
        assert offset_hours(session(get_run, run.id)) == 9


def offset_hours(run: Run) -> float:
    offset = run.created_at.utcoffset()
    assert offset is not None
    return offset / timedelta(hours=1)


@EACH_WAY
def test_an_encoding_that_was_changed_is_refused(session: Session, way: Way) -> None:
    run = create_run(session)
    with way(session):
        session(append_run_events, run.id, [("token", "é")])
    session.execute("SET client_encoding = 'LATIN1'")
    for _ in range(2):
        with pytest.raises(RunstoreError, match="client_encoding is LATIN1"), way(session):
            session(append_run_events, run.id, [("token", "é")])
    session.execute("RESET client_encoding")
    with way(session):
        session(append_run_events, run.id, [("token", "é")])
    events = session(read_run_events, run.id).events
    assert [event.payload for event in events if event.type == "token"] == ["é", "é"]


def test_handlers_hear_what_arrives_with_an_answer(session: Session, connect: Connect) -> None:
    heard: list[str] = []

    def hear(notify: Notify) -> None:
        heard.append(notify.payload)

    session.conn.add_notify_handler(hear)
    session.execute("LISTEN somewhere")
    connect().execute("NOTIFY somewhere, 'something'")
    with pytest.raises(NotFound):
        session(get_run, new_run_id())
    assert heard == ["something"]


def test_a_closed_connection_says_that_it_is_closed(session: Session) -> None:
    create_run(session)
    session.run(session.conn.close())
    with pytest.raises(psycopg.OperationalError, match="the connection is closed"):
        session(get_run, new_run_id())


def test_a_connection_that_the_server_ended_says_so(session: Session, connect: Connect) -> None:
    run = create_run(session)
    pid = session.conn.info.backend_pid
    connect().execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    with pytest.raises(psycopg.OperationalError):
        session(get_run, run.id)
    assert session.conn.broken


def test_an_interrupt_ends_the_statement_and_leaves_the_connection(connect: Connect) -> None:
    conn, holder, observer = connect(), connect(), connect()
    run = create_feature_run(conn, new_feature_run())
    for phase in ("one", "two", "three"):
        update_feature_run_phase(conn, run.id, phase)

    def interrupt() -> None:
        wait_until_blocked(observer)
        os.kill(os.getpid(), signal.SIGINT)

    with holder.transaction():
        update_feature_run_phase(holder, run.id, "held")
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            update_feature_run_phase(conn, run.id, "never")
        thread.join()
    assert get_run(conn, run.id).phase == "held"
    assert update_feature_run_phase(conn, run.id, "next").phase == "next"


@EACH_WAY
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, TimeoutError])
def test_an_interrupt_before_the_answer_is_waited_for_leaves_the_connection(
    session: Session, connect: Connect, way: Way, interruption: type[BaseException]
) -> None:
    """A signal's handler may raise anything, at any moment."""
    run, observer = create_run(session), connect()
    sleep = Sql("sleep", "one", "SELECT 1 FROM pg_sleep(60)")

    def interrupt() -> None:
        wait_until_asleep(observer)
        raise interruption

    @query
    def be_interrupted() -> Statement[int]:
        # In a transaction only what is not prepared goes past the cursors.
        prepare = None if way is by_itself else False
        return Statement(sleep, {}, lambda rows: rows[0][0], prepare=prepare, meanwhile=interrupt)

    # As it is, then prepared, then by its name.
    for _ in range(3):
        with pytest.raises(interruption), way(session):
            session(be_interrupted)
        assert session.conn.info.transaction_status is TransactionStatus.IDLE
        with way(session):
            assert session(get_run, run.id) == run


def wait_until_asleep(observer: Connection[Any]) -> None:
    """Return once the server is at the statement: what is cancelled before goes on."""
    deadline = time.monotonic() + 10
    asleep = (
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    )
    while not observer.execute(asleep).fetchall():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_an_interrupt_of_an_ingest_leaves_the_connection(connect: Connect) -> None:
    class Interrupting(NewRunEvent):
        """An event at whose encoding there is Ctrl-C."""

        @property
        def documents(self) -> Any:
            signal.raise_signal(signal.SIGINT)
            return super().documents

    conn = connect()
    run = create_feature_run(conn, new_feature_run())
    events = [NewRunEvent(type="token"), Interrupting(type="token")]
    with pytest.raises(KeyboardInterrupt):
        ingest_run_events(conn, run.id, events, batch_size=1)
    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert get_run(conn, run.id) == run
