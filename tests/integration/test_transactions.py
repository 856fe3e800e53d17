from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest

from connections import Caller, Kind
from factories import create_run, new_feature_run
from runstore import (
    Conflict,
    InvalidPayload,
    InvalidTransition,
    NotFound,
    RunstoreError,
    TransactionAborted,
    complete_feature_run,
    create_feature_run,
    get_run,
    list_runs,
    new_run_id,
    transaction,
)
from sessions import Session, open_session


@pytest.fixture
def session(connection_kind: Kind, database: str) -> Iterator[Session]:
    with open_session(connection_kind, database) as session:
        yield session


@pytest.fixture
def observer(database: str) -> Iterator[Caller]:
    """Sees what is committed."""
    with open_session("blocking", database) as observer:
        yield observer


def names(call: Caller) -> set[str | None]:
    return {run.name for run in call(list_runs).items}


def break_a_rule(session: Session) -> None:
    """Make the server refuse a statement, which ends a transaction, and take no notice."""
    with pytest.raises(psycopg.errors.DivisionByZero):
        session.run(session.conn.execute("SELECT 1 / 0"))


def test_what_happens_in_a_block_commits_together(session: Session, observer: Caller) -> None:
    with session.block(transaction(session.conn)):
        run = create_run(session, name="first")
        create_run(session, name="second")
        session(complete_feature_run, run.id)
        assert names(observer) == set()
    assert names(observer) == {"first", "second"}
    assert observer(get_run, run.id).status == "completed"


def test_an_error_undoes_the_block_and_goes_on(session: Session, observer: Caller) -> None:
    def fail() -> None:
        with session.block(transaction(session.conn)):
            create_run(session, name="first")
            session(get_run, new_run_id())

    with pytest.raises(NotFound):
        fail()
    assert names(observer) == set()
    create_run(session, name="afterwards")
    assert names(observer) == {"afterwards"}


def test_an_error_that_is_not_the_databases_undoes_the_block_too(
    session: Session, observer: Caller
) -> None:
    def fail() -> None:
        with session.block(transaction(session.conn)):
            create_run(session, name="first")
            raise KeyError("the application's own")

    with pytest.raises(KeyError, match="the application's own"):
        fail()
    assert names(observer) == set()


def test_a_block_may_be_left_with_nothing_written(session: Session, observer: Caller) -> None:
    with session.block(transaction(session.conn)):
        create_run(session, name="first")
        raise psycopg.Rollback
    assert names(observer) == set()


def test_a_block_within_a_block_is_a_savepoint(session: Session, observer: Caller) -> None:
    def fail() -> None:
        with session.block(transaction(session.conn)):
            create_run(session, name="inner")
            session(get_run, new_run_id())

    with session.block(transaction(session.conn)):
        create_run(session, name="before")
        with pytest.raises(NotFound):
            fail()
        with session.block(transaction(session.conn)):
            create_run(session, name="kept")
        create_run(session, name="after")
        assert names(observer) == set()
    assert names(observer) == {"before", "kept", "after"}


def test_a_swallowed_error_is_not_a_commit(session: Session, observer: Caller) -> None:
    def swallow() -> None:
        with session.block(transaction(session.conn)):
            create_run(session, name="first")
            break_a_rule(session)

    with pytest.raises(TransactionAborted) as raised:
        swallow()
    assert isinstance(raised.value, RunstoreError)
    assert "nothing was written" in str(raised.value)
    assert names(observer) == set()
    create_run(session, name="afterwards")
    assert names(observer) == {"afterwards"}


def test_a_swallowed_error_undoes_its_savepoint_alone(session: Session, observer: Caller) -> None:
    def swallow() -> None:
        with session.block(transaction(session.conn)):
            create_run(session, name="inner")
            break_a_rule(session)

    with session.block(transaction(session.conn)):
        create_run(session, name="outer")
        with pytest.raises(TransactionAborted):
            swallow()
        create_run(session, name="after")
    assert names(observer) == {"outer", "after"}


def test_an_error_that_ends_no_transaction_may_be_swallowed(
    session: Session, observer: Caller
) -> None:
    data = new_feature_run(name="first")
    with session.block(transaction(session.conn)):
        session(create_feature_run, data)
        with pytest.raises(NotFound):
            session(get_run, new_run_id())
        with pytest.raises(Conflict):
            session(create_feature_run, new_feature_run(id=data.id, name="other"))
        session(complete_feature_run, data.id)
        with pytest.raises(InvalidTransition):
            session(complete_feature_run, data.id, output="another")
        with pytest.raises(InvalidPayload):
            session(list_runs, page_size=0)
    assert names(observer) == {"first"}
    assert observer(get_run, data.id).status == "completed"


def test_times_within_a_transaction_are_true(session: Session) -> None:
    with session.block(transaction(session.conn)):
        first, second = create_run(session), create_run(session)
        state = session(complete_feature_run, first.id)
    assert first.created_at < second.created_at < state.updated_at


@pytest.mark.parametrize(
    "isolation",
    [
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    ],
)
def test_a_stricter_isolation_is_the_callers_to_choose(
    session: Session, observer: Caller, isolation: LiteralString
) -> None:
    data = new_feature_run(name="first")
    with session.block(transaction(session.conn)):
        session.execute(isolation)
        session(create_feature_run, data)
        assert session(create_feature_run, data).id == data.id
        session(complete_feature_run, data.id)
    assert observer(get_run, data.id).status == "completed"
