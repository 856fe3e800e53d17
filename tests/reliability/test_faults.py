"""Every public write, failing before and after each of its round trips, and then repeated."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from batched_writes import BATCHED_WRITES
from connections import Caller, Kind
from fault_connections import SIDES, Fault, open_faulty
from invariants import broken
from laboratory import arrange, await_rollback, perform, repeat, said, shape, stored
from runstore import NewChatRun, append_run_events, complete_run, create_run, pipeline
from sessions import Session
from writes import EVENTS, WRITERS, WRITES, Write, public_writes

EVERY = pytest.mark.parametrize("write", WRITES, ids=str)


def test_every_public_write_is_here() -> None:
    writes = {write.public_name for write in [*WRITES, *BATCHED_WRITES]}
    assert writes | WRITERS == public_writes()


@EVERY
def test_a_repeated_write_answers_as_the_first(
    laboratory: str, observer: Caller, healthy: Session, write: Write
) -> None:
    arguments = arrange(observer, write)
    before = stored(observer, write)
    first = said(write, perform(healthy, write, arguments, in_block=False))
    after = stored(observer, write)
    assert write.moving or shape(before, after)

    second = repeat(healthy, write, arguments, happened=True)
    assert second == first or not write.answers_again
    assert stored(observer, write) == after
    assert broken(observer) == {}


@EVERY
@pytest.mark.parametrize("in_block", [False, True], ids=["alone", "in a block"])
def test_a_write_that_fails_anywhere_is_done_once_when_it_is_repeated(  # noqa: PLR0917 - fixtures.
    laboratory: str,
    observer: Caller,
    healthy: Session,
    connection_kind: Kind,
    write: Write,
    in_block: bool,
) -> None:
    arguments = arrange(observer, write)
    before, fault = stored(observer, write), Fault()
    with open_faulty(connection_kind, laboratory, fault) as session:
        perform(session, write, arguments, in_block=in_block)
        trips = fault.trips
    done = shape(before, stored(observer, write))
    assert trips >= (3 if in_block else 1)

    for trip in range(1, trips + 1):
        for side in SIDES:
            arguments = arrange(observer, write)
            before, wrong = stored(observer, write), broken(observer)
            with (
                open_faulty(connection_kind, laboratory, Fault(trip, side)) as session,
                pytest.raises(psycopg.OperationalError, match="connection is lost"),
            ):
                perform(session, write, arguments, in_block=in_block)

            await_rollback(observer)
            # All of it was written or nothing, and all of it when the last answer was lost.
            left = stored(observer, write)
            assert shape(before, left) in ({}, done)
            happened = left != before
            last = (trip, side) == (trips, "after")
            assert happened == last or write.moving
            assert broken(observer) == ({} if happened else wrong)

            answer = repeat(healthy, write, arguments, happened=happened)
            after = stored(observer, write)
            assert shape(before, after) == done
            assert not happened or after == left
            again = repeat(healthy, write, arguments, happened=True)
            assert again == answer or not write.answers_again
            assert stored(observer, write) == after
            assert broken(observer) == {}


def test_a_pipeline_that_fails_anywhere_is_done_once_when_it_is_repeated(
    laboratory: str, observer: Caller, healthy: Session, connection_kind: Kind
) -> None:
    def send(session: Session, run: NewChatRun, append_id: UUID) -> Any:
        with session.block(pipeline(session.conn)) as calls:
            replies = [
                session.run(calls.send(create_run, run)),
                session.run(calls.send(append_run_events, run.id, EVENTS, append_id=append_id)),
                session.run(calls.send(complete_run, run.id, output="Hello")),
            ]
        return replies[-1].value

    with open_faulty(connection_kind, laboratory, fault := Fault()) as session:
        send(session, NewChatRun(), uuid4())
        trips = fault.trips
    for trip in range(1, trips + 1):
        for side in SIDES:
            run, append_id = NewChatRun(), uuid4()
            with (
                open_faulty(connection_kind, laboratory, Fault(trip, side)) as session,
                pytest.raises(psycopg.OperationalError),
            ):
                send(session, run, append_id)
            state = send(healthy, run, append_id)
            assert (state.status, state.last_seq) == ("completed", 3)
            assert send(healthy, run, append_id) == state
    assert broken(observer) == {}
