"""Every public write that goes batch by batch, failing before and after each of its round trips."""

from __future__ import annotations

import psycopg
import pytest

from batched_writes import BATCHED_WRITES, BatchedWrite, course_of, make_batches_small
from connections import Caller, Kind
from fault_connections import SIDES, Fault, open_faulty
from laboratory import await_rollback, perform
from sessions import Session


@pytest.mark.parametrize("write", BATCHED_WRITES, ids=str)
def test_a_batched_write_that_fails_anywhere_keeps_its_batches_and_is_finished_when_repeated(  # noqa: PLR0917 - fixtures.
    laboratory: str,
    observer: Caller,
    healthy: Session,
    connection_kind: Kind,
    write: BatchedWrite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_batches_small(monkeypatch)
    course = course_of(write, observer, connection_kind, laboratory)
    states = course.states
    assert course.done(states[-1]) == write.counted(course.answer)

    for trip in range(1, len(states)):
        for side in SIDES:
            course.begin_again()
            with (
                open_faulty(connection_kind, laboratory, Fault(trip, side)) as session,
                pytest.raises(psycopg.OperationalError, match="connection is lost"),
            ):
                perform(session, write, course.arguments, in_block=False)

            await_rollback(observer)
            # What was committed by then, and nothing of the batch that was under way.
            left = course.left()
            assert left == states[trip if side == "after" else trip - 1]
            course.finish(left, healthy)
