"""Event writers: few statements, every event once and in order, and no failure unnoticed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest

from connections import Connect, wait_until_blocked
from runstore import (
    EventWriter,
    InvalidPayload,
    InvalidTransition,
    NewChatRun,
    NewRunEvent,
    NotFound,
    complete_run,
    connect_async,
    create_run,
    get_run_head,
    iter_run_events,
    listen_run_events,
    new_run_id,
    notify_run_events,
    open_pool_async,
    payload_rules,
)
from streams import (
    CONNECTIONS,
    POOLS,
    SOURCES,
    Source,
    Streams,
    Writer,
    streams,
    tokens,
    wait_until,
)

EVERY_SOURCE = pytest.mark.parametrize("source", SOURCES, ids=str)
POOL = pytest.mark.parametrize("source", POOLS, ids=str)
CONNECTION = pytest.mark.parametrize("source", CONNECTIONS, ids=str)

Conn = psycopg.Connection[Any]

# Nothing is due before a test says so.
LATE: dict[str, Any] = {"max_delay": 3600, "max_events": 10_000, "max_bytes": 1 << 30}
HIDDEN = "what no error may hold"


@pytest.fixture
def opened(source: Source, database: str) -> Iterator[Streams]:
    with streams(source, database) as opened:
        yield opened


@pytest.fixture
def conn(connect: Connect) -> Conn:
    return connect()


@pytest.fixture
def run_id(conn: Conn) -> UUID:
    return create_run(conn, NewChatRun()).id


def payloads(conn: Conn, run_id: UUID) -> list[Any]:
    return [event.payload for event in iter_run_events(conn, run_id) if event.type == "token"]


def statements(conn: Conn, run_id: UUID) -> int:
    """The number of appends that the run's log was written with."""
    answer = conn.execute(
        "SELECT count(append_id) FROM runstore.run_events WHERE run_id = %s", (run_id,)
    ).fetchone()
    assert answer
    return int(answer[0])


def expected(count: int) -> list[Any]:
    return [{"n": n} for n in range(count)]


# Order and gathering


@EVERY_SOURCE
def test_events_are_written_in_order_by_few_statements(
    opened: Streams, conn: Conn, run_id: UUID
) -> None:
    with opened.writing(run_id, max_delay=3600, max_events=250) as writer:
        assert (writer.last_seq, writer.unwritten) == (None, 0)
        for event in tokens(1100):
            writer.append(event)

    assert payloads(conn, run_id) == expected(1100)
    assert statements(conn, run_id) == 5
    assert (writer.last_seq, writer.unwritten) == (1100, 0)


@EVERY_SOURCE
def test_a_pair_is_written_as_it_was_given(opened: Streams, conn: Conn, run_id: UUID) -> None:
    payload: Any = {"n": 0}
    with opened.writing(run_id, max_delay=3600) as writer:
        with payload_rules(sanitize=True):
            writer.append(("token", "\0"))
        writer.append(("token", payload))
        payload["n"] = 1
        with pytest.raises(InvalidPayload):
            writer.append(("token", float("nan")))

    assert payloads(conn, run_id) == ["\ufffd", {"n": 0}]


@EVERY_SOURCE
def test_events_are_due_by_their_size(opened: Streams, conn: Conn, run_id: UUID) -> None:
    event = NewRunEvent(type="token", payload="x" * 100)
    with opened.writing(run_id, **(LATE | {"max_bytes": 1000})) as writer:
        for _ in range(30):
            writer.append(event)
    assert statements(conn, run_id) == 3
    assert get_run_head(conn, run_id).last_seq == 30


@EVERY_SOURCE
def test_a_flush_returns_when_all_is_written(opened: Streams, conn: Conn, run_id: UUID) -> None:
    with opened.writing(run_id, **LATE) as writer:
        writer.flush()
        for count in range(1, 4):
            for event in tokens(count):
                writer.append(event)
            assert writer.unwritten == count
            writer.flush()
            assert writer.unwritten == 0
            assert writer.last_seq == get_run_head(conn, run_id).last_seq
    assert [event["n"] for event in payloads(conn, run_id)] == [0, 0, 1, 0, 1, 2]
    assert statements(conn, run_id) == 3


@POOL
def test_a_pools_writer_writes_by_itself_when_events_are_due(
    opened: Streams, conn: Conn, run_id: UUID
) -> None:
    def is_written(count: int) -> bool:
        return payloads(conn, run_id) == expected(count)

    with opened.writing(run_id, max_delay=0.01) as writer:
        for count in range(1, 4):
            writer.append(tokens(1, start=count - 1)[0])
            wait_until(partial(is_written, count))
        assert statements(conn, run_id) == 3
        # It borrows its connection, the pool's only one, for a statement.
        assert opened.execute("SELECT 1") == [(1,)]


@CONNECTION
def test_a_connections_writer_writes_in_its_callers_calls_only(
    opened: Streams, conn: Conn, run_id: UUID
) -> None:
    with opened.writing(run_id, max_delay=0.1) as writer:
        given = time.monotonic()
        writer.append(tokens(1)[0])
        wait_until(lambda: time.monotonic() > given + 0.15)
        assert payloads(conn, run_id) == []
        # By now the first is due.
        writer.append(tokens(1, start=1)[0])
        assert payloads(conn, run_id) == expected(2)
        writer.append(tokens(1, start=2)[0])
    assert payloads(conn, run_id) == expected(3)
    assert statements(conn, run_id) == 2


def test_a_connections_writer_stays_out_of_its_callers_transactions(
    connect: Connect, conn: Conn, run_id: UUID
) -> None:
    own = connect()
    with EventWriter(own, run_id, max_delay=0) as writer:
        writer.append(tokens(1)[0])
        with own.transaction(force_rollback=True):
            own.execute("SELECT 1")
        with own.transaction(force_rollback=True):
            # What is written inside a transaction is the transaction's.
            writer.append(tokens(1, start=1)[0])
        writer.append(tokens(1, start=2)[0])
    assert payloads(conn, run_id) == [{"n": 0}, {"n": 2}]


@EVERY_SOURCE
def test_a_writer_tells_its_notifier(
    opened: Streams, database: str, direct_database: str, conn: Conn, run_id: UUID
) -> None:
    heard = threading.Event()
    with (
        listen_run_events(direct_database) as listener,
        listener.waking(run_id, heard.set),
        notify_run_events(database) as notifier,
    ):
        wait_until(lambda: listener.connected)
        heard.clear()
        with opened.writing(run_id, notifier=notifier) as writer:
            writer.append(tokens(1)[0])
        assert heard.wait(30)


@POOL
def test_what_waits_is_bounded(opened: Streams, connect: Connect, conn: Conn, run_id: UUID) -> None:
    observer = connect()

    def append_all(writer: Writer) -> None:
        for event in tokens(100):
            writer.append(event)

    with ThreadPoolExecutor(1) as threads, opened.writing(run_id, max_events=10) as writer:
        with conn.transaction():
            conn.execute("SELECT FROM runstore.run_heads WHERE run_id = %s FOR UPDATE", (run_id,))
            appending = threads.submit(append_all, writer)
            wait_until_blocked(observer)
            wait_until(lambda: writer.unwritten >= 10)
            # One statement is under way, and as many events wait as the next one takes.
            assert writer.unwritten <= 20
            assert not appending.done()
        appending.result()
    assert payloads(observer, run_id) == expected(100)


# Failures


@EVERY_SOURCE
def test_an_event_that_cannot_be_stored_is_not_taken(
    opened: Streams, conn: Conn, run_id: UUID
) -> None:
    bad_events: list[Any] = [NewRunEvent(type="run.completed"), "not an event"]
    with opened.writing(run_id, **LATE) as writer:
        writer.append(tokens(1)[0])
        for bad in bad_events:
            with pytest.raises(InvalidPayload):
                writer.append(bad)
        writer.append(tokens(1, start=1)[0])
    assert payloads(conn, run_id) == expected(2)


def everything(error: BaseException) -> str:
    """All that a traceback would say of an error."""
    return " ".join([str(error), repr(error), *getattr(error, "__notes__", ())])


@EVERY_SOURCE
def test_the_error_of_a_failed_write_is_raised_by_the_next_call_and_at_the_end(
    opened: Streams, conn: Conn, run_id: UUID
) -> None:
    raised: list[InvalidTransition] = []

    def write() -> None:
        with opened.writing(run_id, **LATE) as writer:
            writer.append(tokens(1)[0])
            writer.flush()
            complete_run(conn, run_id)
            for _ in range(3):
                writer.append(NewRunEvent(type="token", payload=HIDDEN))
            for call in (writer.flush, partial(writer.append, tokens(1)[0]), writer.flush):
                with pytest.raises(InvalidTransition) as failure:
                    call()
                raised.append(failure.value)
            assert (writer.last_seq, writer.unwritten) == (1, 3)

    with pytest.raises(InvalidTransition) as at_end:
        write()

    error = at_end.value
    assert [failure is error for failure in raised] == [True] * 3
    assert error.status == "completed"
    assert error.__notes__ == [f"events of run {run_id} that are not known to be written: 3"]
    assert HIDDEN not in everything(error)
    assert payloads(conn, run_id) == expected(1)


@EVERY_SOURCE
def test_a_write_that_fails_at_the_end_is_an_error(
    opened: Streams, conn: Conn, run_id: UUID
) -> None:
    def write() -> None:
        with opened.writing(run_id, **LATE) as writer:
            writer.append(tokens(1)[0])
            complete_run(conn, run_id)

    with pytest.raises(InvalidTransition) as error:
        write()
    assert error.value.__notes__ == [f"events of run {run_id} that are not known to be written: 1"]


@POOL
def test_a_failure_behind_the_callers_back_surfaces(opened: Streams) -> None:
    def write() -> None:
        with opened.writing(new_run_id(), max_delay=0.001) as writer:

            def is_refused() -> bool:
                try:
                    writer.append(tokens(1)[0])
                except NotFound:
                    return True
                return False

            wait_until(is_refused)

    with pytest.raises(NotFound):
        write()


@EVERY_SOURCE
def test_another_exception_leaves_the_block_with_what_waits_written(
    opened: Streams, conn: Conn, run_id: UUID
) -> None:
    def write() -> None:
        with opened.writing(run_id, **LATE) as writer:
            writer.append(tokens(1)[0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as error:
        write()
    assert not hasattr(error.value, "__notes__")
    assert payloads(conn, run_id) == expected(1)


@EVERY_SOURCE
def test_another_exception_is_told_of_a_failed_write(
    opened: Streams, conn: Conn, run_id: UUID
) -> None:
    def write() -> None:
        with opened.writing(run_id, **LATE) as writer:
            writer.append(NewRunEvent(type="token", payload=HIDDEN))
            complete_run(conn, run_id)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as error:
        write()
    assert error.value.__notes__ == [
        f"events of run {run_id} that are not known to be written: 1 (InvalidTransition)"
    ]


@pytest.mark.direct(reason="it ends its own session by its number")
@CONNECTION
def test_a_dead_connection_is_an_error(opened: Streams, conn: Conn, run_id: UUID) -> None:
    [(pid,)] = opened.execute("SELECT pg_backend_pid()")

    def write() -> None:
        with opened.writing(run_id, **LATE) as writer:
            writer.append(NewRunEvent(type="token", payload=HIDDEN))
            conn.execute("SELECT pg_terminate_backend(%s)", (pid,))

    with pytest.raises(psycopg.OperationalError) as error:
        write()
    assert error.value.__notes__ == [f"events of run {run_id} that are not known to be written: 1"]
    assert HIDDEN not in everything(error.value)


@EVERY_SOURCE
def test_a_writer_takes_events_inside_its_block_only_and_has_one(
    opened: Streams, run_id: UUID
) -> None:
    with opened.writing(run_id) as writer:
        pass
    for call in (partial(writer.append, tokens(1)[0]), writer.flush):
        with pytest.raises(RuntimeError, match="inside its block"):
            call()

    block: Any = EventWriter(opened.source, run_id)
    with opened.enter(block):
        pass
    with pytest.raises(RuntimeError, match="once"), opened.enter(block):
        pass


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_delay", -1),
        ("max_delay", float("inf")),
        ("max_events", 0),
        ("max_events", 10_001),
        ("max_bytes", 0),
    ],
)
def test_limits_that_make_no_sense_are_refused(conn: Conn, name: str, value: Any) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(InvalidPayload, match=name):
        EventWriter(conn, new_run_id(), **options)


# Interruptions


async def wait_until_blocked_async(observer: Conn) -> None:
    await asyncio.to_thread(wait_until_blocked, observer)


async def test_an_interrupted_write_is_repeated_and_not_doubled(
    database: str, connect: Connect, run_id: UUID
) -> None:
    holder, observer = connect(), connect()
    async with (
        await connect_async(database) as own,
        EventWriter(own, run_id, max_events=2, max_delay=3600) as writer,
    ):
        await writer.append(tokens(1)[0])
        with holder.transaction():
            holder.execute("SELECT FROM runstore.run_heads WHERE run_id = %s FOR UPDATE", (run_id,))
            appending = asyncio.create_task(writer.append(tokens(1, start=1)[0]))
            await wait_until_blocked_async(observer)
            appending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await appending
        assert writer.unwritten == 2
        await writer.append(tokens(1, start=2)[0])
        await writer.flush()
        assert payloads(observer, run_id) == expected(3)


async def test_an_append_that_is_cancelled_while_it_waits_has_not_taken_its_event(
    database: str, connect: Connect, run_id: UUID
) -> None:
    holder, observer = connect(), connect()
    async with (
        await open_pool_async(database) as pool,
        EventWriter(pool, run_id, max_events=1) as writer,
    ):
        with holder.transaction():
            holder.execute("SELECT FROM runstore.run_heads WHERE run_id = %s FOR UPDATE", (run_id,))
            # One is under way and one waits.
            await writer.append(tokens(1)[0])
            await wait_until_blocked_async(observer)
            await writer.append(tokens(1, start=1)[0])
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await writer.append(NewRunEvent(type="token", payload="not taken"))
        await writer.append(tokens(1, start=2)[0])
    assert payloads(observer, run_id) == expected(3)


async def test_a_writer_whose_exit_is_cancelled_ends_and_says_what_it_does_not_know(
    database: str, connect: Connect, run_id: UUID
) -> None:
    holder, observer = connect(), connect()

    async def write() -> None:
        async with (
            await open_pool_async(database) as pool,
            EventWriter(pool, run_id, **LATE) as writer,
        ):
            await writer.append(tokens(1)[0])

    with holder.transaction():
        holder.execute("SELECT FROM runstore.run_heads WHERE run_id = %s FOR UPDATE", (run_id,))
        writing = asyncio.create_task(write())
        await wait_until_blocked_async(observer)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError) as interruption:
            await writing
    assert interruption.value.__notes__ == [
        f"events of run {run_id} that are not known to be written: 1"
    ]
    assert asyncio.all_tasks() == {asyncio.current_task()}
