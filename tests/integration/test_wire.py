"""Statements that go past psycopg's cursors: the same for a caller, whatever happens meanwhile."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import Notify

from connections import Connect, Kind, wait_until_blocked
from creates import CREATES
from factories import create_run, new_feature_run
from runstore import (
    NotFound,
    RunstoreError,
    complete_feature_run,
    create_feature_run,
    get_run,
    list_runs,
    new_run_id,
    update_feature_run_phase,
)
from sessions import Session, open_session

OURS = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'runstore%%'"


@pytest.fixture
def session(connection_kind: Kind, database: str) -> Iterator[Session]:
    with open_session(connection_kind, database) as session:
        yield session


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


def test_times_follow_the_sessions_zone(session: Session) -> None:
    run = create_run(session)
    for zone, hours in (("Asia/Tokyo", 9), ("UTC", 0)):
        session.execute("SELECT set_config('timezone', %s, false)", (zone,))
        found = session(get_run, run.id)
        offset = found.created_at.utcoffset()
        assert offset is not None
        assert offset.total_seconds() == hours * 3600
        assert found == run


def test_an_encoding_that_was_changed_is_refused(session: Session) -> None:
    run = create_run(session)
    session(get_run, run.id)
    session.execute("SET client_encoding = 'LATIN1'")
    with pytest.raises(RunstoreError, match="client_encoding is LATIN1"):
        session(get_run, run.id)
    session.execute("RESET client_encoding")
    assert session(get_run, run.id).id == run.id


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
