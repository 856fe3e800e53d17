"""Event writers whose connections die, or whose answers are lost: nothing lost, nothing doubled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from connections import Connect
from fault_connections import SIDES, Fault, faulty
from laboratory import await_rollback
from runstore import NewChatRun, create_run, get_run_head, iter_run_events
from sessions import Session
from streams import POOLS, SOURCES, Source, Writer, streams, tokens, wait_until
from wire_proxy import Losing, wire_proxy

POOL = pytest.mark.parametrize("source", POOLS, ids=str)

Conn = psycopg.Connection[Any]


def log(conn: Conn, run_id: UUID) -> list[tuple[int, Any]]:
    return [(event.seq, event.payload) for event in iter_run_events(conn, run_id)]


def expected(count: int) -> list[tuple[int, Any]]:
    return [(n + 1, {"n": n}) for n in range(count)]


def write(writer: Writer, start: int, count: int) -> None:
    for event in tokens(count, start=start):
        writer.append(event)


@POOL
@pytest.mark.direct(reason="it ends sessions by their application's name")
def test_a_writer_whose_connections_are_killed_writes_every_event_once(
    source: Source, database: str, connect: Connect
) -> None:
    conn = connect()
    run_id = create_run(conn, NewChatRun()).id
    kills = 0
    with (
        streams(source, database, application_name="writing") as opened,
        opened.writing(run_id, max_delay=0.001, max_events=5) as writer,
    ):
        for start in range(0, 2000, 20):
            write(writer, start, 20)
            # In the middle of whatever the writer is at.
            kills += conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'writing'"
            ).rowcount

    assert kills >= 20
    assert log(conn, run_id) == expected(2000)
    assert (writer.last_seq, writer.unwritten) == (2000, 0)


@POOL
def test_a_write_whose_answer_is_lost_is_repeated_and_not_doubled(
    source: Source, database: str, connect: Connect
) -> None:
    conn = connect()
    run_id = create_run(conn, NewChatRun()).id
    # Nothing is prepared, so that every append shows the proxy its text.
    judge = Losing("name: append_run_events")
    with (
        wire_proxy(database, judge) as proxy,
        streams(source, proxy.dsn, pooler=True) as opened,
        opened.writing(run_id, max_delay=3600, max_events=10_000) as writer,
    ):
        for round in range(20):
            write(writer, 3 * round, 3)
            # The repetition too, now and then.
            judge.losses = 1 + round % 2
            writer.flush()
            assert writer.last_seq == 3 * round + 3
        assert judge.lost == 30

    assert log(conn, run_id) == expected(60)
    assert get_run_head(conn, run_id).last_seq == 60


@POOL
def test_a_writer_gives_up_when_an_outage_lasts(
    source: Source, database: str, connect: Connect
) -> None:
    conn = connect()
    run_id = create_run(conn, NewChatRun()).id

    judge = Losing("name: append_run_events")

    def keep_writing() -> None:
        with (
            wire_proxy(database, judge) as proxy,
            streams(source, proxy.dsn, pooler=True) as opened,
            opened.writing(run_id, give_up_after=0.5) as writer,
        ):
            judge.losses = 1_000_000
            write(writer, 0, 3)
            wait_until(lambda: judge.lost > 2)

    with pytest.raises(psycopg.OperationalError) as error:
        keep_writing()
    assert error.value.__notes__ == [f"events of run {run_id} that are not known to be written: 3"]
    # The answers are lost and not the events.
    assert log(conn, run_id) == expected(3)


# Lost at each round trip

GIVEN = 8
# When something is written depends on the calls alone.
UNHURRIED: dict[str, Any] = {"max_delay": 3600, "max_events": 2}


def give(writer: Writer) -> None:
    """Give events that are written because they are many, by a flush, and at the block's end."""
    write(writer, 0, 5)
    writer.flush()
    write(writer, 5, 3)


def faults(source: Source, dsn: str, observer: Session) -> Iterator[tuple[Fault, UUID]]:
    """Count the round trips of a writer that `give` uses; make each fault of them, and a run."""
    run_id, fault = observer(create_run, NewChatRun()).id, Fault()
    with streams(source, dsn, faulty(source.kind, fault)) as opened:
        with opened.writing(run_id, **UNHURRIED) as writer:
            give(writer)
        trips = fault.trips
    assert trips >= 5
    for trip in range(1, trips + 1):
        for side in SIDES:
            yield Fault(trip, side), observer(create_run, NewChatRun()).id


@POOL
def test_a_pools_writer_that_fails_anywhere_writes_every_event_once(
    source: Source, laboratory: str, observer: Session
) -> None:
    for fault, run_id in faults(source, laboratory, observer):
        with (
            streams(source, laboratory, faulty(source.kind, fault)) as opened,
            opened.writing(run_id, **UNHURRIED) as writer,
        ):
            give(writer)
        assert fault.trips > fault.trip
        assert (writer.last_seq, writer.unwritten) == (GIVEN, 0)
        assert log(observer.conn, run_id) == expected(GIVEN)


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_a_writer_that_gives_up_anywhere_says_so_and_another_one_gives_the_rest(
    source: Source, laboratory: str, observer: Session
) -> None:
    for fault, run_id in faults(source, laboratory, observer):
        with (
            streams(source, laboratory, faulty(source.kind, fault)) as opened,
            pytest.raises(psycopg.OperationalError, match="connection is lost") as raised,
            opened.writing(run_id, give_up_after=0, **UNHURRIED) as writer,
        ):
            give(writer)

        await_rollback(observer)
        known, unknown = writer.last_seq or 0, writer.unwritten
        assert unknown > 0
        assert raised.value.__notes__ == [
            f"events of run {run_id} that are not known to be written: {unknown}"
        ]
        stored = log(observer.conn, run_id)
        assert stored == expected(len(stored))
        # The last statement may have been done, when its answer was lost.
        assert known <= len(stored) <= known + (0 if fault.side == "before" else min(unknown, 2))

        with streams(source, laboratory) as opened, opened.writing(run_id) as writer:
            write(writer, len(stored), GIVEN - len(stored))
        assert log(observer.conn, run_id) == expected(GIVEN)
