"""The wire, cut, torn, delayed and frozen at each message of a write, and the write repeated."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, Connection

from connections import Caller, Kind
from contents import Contents
from invariants import broken
from laboratory import Shape, arrange, perform, repeat, said, shape, stored
from runstore import transaction
from sessions import Session, open_session
from wire_proxy import DELAY, Action, At, WireProxy, wire_proxy
from writes import WRITES, Arguments, Write, given

BY_NAME = {write.name: write for write in WRITES}


@dataclass(frozen=True)
class Case:
    """A write, alone or in a block that ends with COMMIT."""

    name: str
    in_block: bool = False

    @property
    def write(self) -> Write:
        return BY_NAME[self.name]

    def __str__(self) -> str:
        return f"{self.name} in a block" if self.in_block else self.name


CASES = [
    Case("create_agent_invocation"),
    Case("append_run_events"),
    Case("append_run_events", in_block=True),
    Case("complete_run", in_block=True),
    Case("publish_report"),
    Case("reserve_usage"),
    Case("settle_usage", in_block=True),
]
# These wait for nobody else, so that all their calls may be frozen at once.
FREEZING = [CASES[0], *CASES[2:5]]
EACH = pytest.mark.parametrize("case", CASES, ids=str)


@pytest.fixture
def proxy(laboratory: str) -> Iterator[WireProxy]:
    with wire_proxy(laboratory) as proxy:
        yield proxy


def count(proxy: WireProxy, observer: Caller, kind: Kind, case: Case) -> tuple[int, Shape]:
    """Return how many messages a case has, and the shape of what it leaves."""
    arguments = arrange(observer, case.write)
    before = stored(observer, case.write)
    with open_session(kind, proxy.dsn) as session:
        proxy.judge = counting = At()
        perform(session, case.write, arguments, in_block=case.in_block)
        proxy.judge = At()
    return len(counting.seen), shape(before, stored(observer, case.write))


def wait_until_gone(observer: Caller) -> None:
    """Return once the server has noticed that the lines are cut, and has undone what it was at."""
    deadline = time.monotonic() + 10
    while observer.execute(
        "SELECT FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'wire'"
    ):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def check_repetition(
    observer: Caller, healthy: Session, call: tuple[Write, Arguments], done: Shape, before: Contents
) -> None:
    """Find all of the write or nothing, and after a repetition all of it, once."""
    write, arguments = call
    left = stored(observer, write)
    assert shape(before, left) in ({}, done)
    assert broken(observer) == {}
    answer = repeat(healthy, write, arguments, happened=left != before)
    after = stored(observer, write)
    assert shape(before, after) == done
    assert left in (before, after)
    assert repeat(healthy, write, arguments, happened=True) == answer
    assert stored(observer, write) == after
    assert broken(observer) == {}


@EACH
@pytest.mark.parametrize("action", ["cut", "tear"])
def test_a_write_whose_wire_is_cut_at_any_message_is_done_once_when_it_is_repeated(  # noqa: PLR0917 - fixtures.
    proxy: WireProxy,
    observer: Caller,
    healthy: Session,
    connection_kind: Kind,
    case: Case,
    action: Action,
) -> None:
    messages, done = count(proxy, observer, connection_kind, case)
    assert messages >= (15 if case.in_block else 8)
    for number in range(1, messages + 1):
        arguments = arrange(observer, case.write)
        before = stored(observer, case.write)
        with open_session(connection_kind, proxy.dsn, application_name="wire") as session:
            proxy.judge = At(number, action)
            start = time.monotonic()
            with pytest.raises(psycopg.OperationalError):
                perform(session, case.write, arguments, in_block=case.in_block)
            assert time.monotonic() - start < 5
            assert session.conn.broken
            proxy.judge = At()
        wait_until_gone(observer)
        check_repetition(observer, healthy, (case.write, arguments), done, before)


@EACH
def test_a_message_that_is_late_delays_the_write_and_nothing_else(
    proxy: WireProxy, observer: Caller, connection_kind: Kind, case: Case
) -> None:
    messages, done = count(proxy, observer, connection_kind, case)
    with open_session(connection_kind, proxy.dsn) as session:
        for number in range(1, messages + 1):
            arguments = arrange(observer, case.write)
            before = stored(observer, case.write)
            proxy.judge = judge = At(number, "delay")
            start = time.monotonic()
            answer = perform(session, case.write, arguments, in_block=case.in_block)
            # A statement that is prepared by now has fewer messages.
            assert time.monotonic() - start > DELAY or len(judge.seen) < number
            proxy.judge = At()
            assert shape(before, stored(observer, case.write)) == done
            assert said(case.write, answer) == repeat(session, case.write, arguments, happened=True)


@dataclass(frozen=True)
class Frozen:
    """A call whose wire freezes at a message, with a wire of its own."""

    case: Case
    number: int
    proxy: WireProxy
    arguments: Arguments

    @property
    def is_frozen(self) -> bool:
        judge = self.proxy.judge
        assert isinstance(judge, At)
        return judge.action == "freeze" and len(judge.seen) >= self.number

    def freeze(self) -> None:
        self.proxy.judge = At(self.number, "freeze")


@contextmanager
def freezing(dsn: str, observer: Caller) -> Generator[list[Frozen]]:
    """Prepare a call for each message at which a wire may freeze; afterwards repeat all of them."""
    with ExitStack() as stack:
        calls: list[Frozen] = []
        for case in FREEZING:
            with wire_proxy(dsn) as proxy:
                messages, _ = count(proxy, observer, "blocking", case)
            calls += [
                Frozen(case, number, stack.enter_context(wire_proxy(dsn)), given())
                for number in range(1, messages + 1)
            ]
        calls = [replace(call, arguments=call.case.write.arrange(observer)) for call in calls]
        yield calls
        for call in calls:
            call.proxy.cut()
        wait_until_gone(observer)
        with open_session("blocking", dsn) as healthy:
            for call in calls:
                args, kwargs = call.arguments
                first = healthy(call.case.write.function, *args, **kwargs)
                assert healthy(call.case.write.function, *args, **kwargs) == first
        assert broken(observer) == {}


def test_a_frozen_wire_ends_when_its_socket_is_shut_down(laboratory: str, observer: Caller) -> None:
    """There is no time-out for an answer in libpq: another thread ends what waits for one."""

    def perform_frozen(call: Frozen, conn: Connection[Any]) -> None:
        call.freeze()
        session = Session(conn, None)
        perform(session, call.case.write, call.arguments, in_block=call.case.in_block)

    with freezing(laboratory, observer) as calls, ExitStack() as stack:
        conns = [
            stack.enter_context(
                Connection[Any].connect(call.proxy.dsn, autocommit=True, application_name="wire")
            )
            for call in calls
        ]
        pool = stack.enter_context(ThreadPoolExecutor(len(calls)))
        waiting = [pool.submit(perform_frozen, *each) for each in zip(calls, conns, strict=True)]
        deadline = time.monotonic() + 30
        for call, conn, future in zip(calls, conns, waiting, strict=True):
            while not call.is_frozen:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            assert not future.done()
            with socket.socket(fileno=os.dup(conn.fileno())) as own:
                own.shutdown(socket.SHUT_RDWR)
        for future in waiting:
            assert isinstance(future.exception(timeout=10), psycopg.OperationalError)


async def test_a_frozen_wire_ends_with_the_task_that_waits_for_it(laboratory: str) -> None:
    """The driver asks the server to cancel, waits 5 seconds for its answer, and closes."""

    async def perform_frozen(call: Frozen, conn: AsyncConnection[Any]) -> None:
        args, kwargs = call.arguments
        call.freeze()
        async with transaction(conn) if call.case.in_block else nullcontext():
            await call.case.write.function(conn, *args, **kwargs)

    async def cancel_frozen(call: Frozen) -> None:
        async with await AsyncConnection[Any].connect(
            call.proxy.dsn, autocommit=True, application_name="wire"
        ) as conn:
            task = asyncio.create_task(perform_frozen(call, conn))
            while not call.is_frozen:  # noqa: ASYNC110 - a thread of the proxy's says so.
                await asyncio.sleep(0.002)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert conn.closed

    with (
        open_session("blocking", laboratory) as observer,
        freezing(laboratory, observer) as calls,
    ):
        async with asyncio.timeout(60):
            await asyncio.gather(*map(cancel_frozen, calls))
