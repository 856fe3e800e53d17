import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from typing import Any, Final

import psycopg
import pytest
from psycopg import AsyncConnection, Connection
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from connections import Caller, Connect, Kind, wait_until_blocked
from gate_lines import line, wait_for_line, waiting
from runstore import (
    Conflict,
    InvalidPayload,
    NewReservation,
    QuotaExceeded,
    QuotaGate,
    Reservation,
    get_usage,
    open_pool,
    open_pool_async,
    reserve_usage,
    set_quota,
    transaction,
    verify_usage,
)
from statements import statements
from usage_factories import (
    SUBJECT,
    disagreements,
    make_quota,
    new_quota,
    new_reservation,
    pass_time,
)


def outcome(reserved: Callable[[], Reservation]) -> str:
    try:
        return reserved().status
    except QuotaExceeded:
        return "exceeded"


def run_threads(dsn: str, gate: QuotaGate, data: list[NewReservation]) -> list[str]:
    """Reserve all at once: the first at work, the others waiting, in their order."""
    with (
        open_pool(dsn) as source,
        psycopg.connect(dsn, autocommit=True) as holder,
        psycopg.connect(dsn, autocommit=True) as observer,
        ThreadPoolExecutor(len(data)) as executor,
    ):
        futures: list[Future[Reservation]] = []
        with holder.transaction():
            holder.execute("SELECT FROM runstore.usage_counters FOR UPDATE")
            for place, item in enumerate(data):
                futures.append(executor.submit(gate.reserve_usage, source, item))
                if place == 0:
                    wait_until_blocked(observer)
                else:
                    wait_for_line(gate, place)
        return [outcome(future.result) for future in futures]


def run_tasks(dsn: str, gate: QuotaGate, data: list[NewReservation]) -> list[str]:
    async def run() -> list[str]:
        with (
            psycopg.connect(dsn, autocommit=True) as holder,
            psycopg.connect(dsn, autocommit=True) as observer,
        ):
            async with await open_pool_async(dsn) as source:
                with holder.transaction():
                    holder.execute("SELECT FROM runstore.usage_counters FOR UPDATE")
                    tasks = [asyncio.create_task(gate.reserve_usage(source, data[0]))]
                    await asyncio.to_thread(wait_until_blocked, observer)
                    tasks += [
                        asyncio.create_task(gate.reserve_usage(source, item)) for item in data[1:]
                    ]
                    await in_line(gate, len(data) - 1)
                done = await asyncio.gather(*tasks, return_exceptions=True)
        return [
            result.status if isinstance(result, Reservation) else type(result).__name__
            for result in done
        ]

    return ["exceeded" if name == "QuotaExceeded" else name for name in asyncio.run(run())]


async def in_line(gate: QuotaGate, length: int) -> None:
    """Return once the tasks that were made have come to wait."""
    for _ in range(1000):
        if line(gate) == length:
            return
        await asyncio.sleep(0)
    raise AssertionError(line(gate))


RUN: dict[Kind, Callable[[str, QuotaGate, list[NewReservation]], list[str]]] = {
    "blocking": run_threads,
    "asyncio": run_tasks,
}


@pytest.mark.parametrize("kind", RUN)
def test_those_who_wait_are_reserved_for_in_one_statement(
    database: str, connect: Connect, kind: Kind
) -> None:
    conn = connect()
    set_quota(conn, new_quota(limit_amount=100))
    gate = QuotaGate()
    with statements() as sent:
        outcomes = RUN[kind](database, gate, [new_reservation(10) for _ in range(10)])
    assert outcomes == ["held"] * 10
    assert sent == ["reserve_usages"] * 2
    assert waiting(gate) == {}
    assert [quota.held for quota in get_usage(conn, SUBJECT)] == [100]


@pytest.mark.parametrize("kind", RUN)
def test_everyone_hears_what_they_would_have_heard_alone(
    database: str, connect: Connect, kind: Kind
) -> None:
    conn = connect()
    set_quota(conn, new_quota(limit_amount=100))
    amounts = [10, 200, 60, 40, 30, 1]
    data = [new_reservation(tokens) for tokens in amounts]
    outcomes = RUN[kind](database, QuotaGate(), data)
    assert outcomes[:4] == ["held", "exceeded", "held", "exceeded"]
    assert outcomes[4] == "held" or outcomes[5] == "held"
    held = sum(tokens for tokens, said in zip(amounts, outcomes, strict=True) if said == "held")
    assert [quota.held for quota in get_usage(conn, SUBJECT)] == [held]
    assert held in (71, 100)
    assert verify_usage(conn).items == []


@pytest.mark.parametrize("kind", RUN)
def test_a_batch_has_no_more_than_so_many(database: str, connect: Connect, kind: Kind) -> None:
    set_quota(connect(), new_quota(limit_amount=100))
    with statements() as sent:
        outcomes = RUN[kind](
            database, QuotaGate(max_batch=3), [new_reservation(1) for _ in range(8)]
        )
    assert outcomes == ["held"] * 8
    assert sent == ["reserve_usages"] * 4


def through(gate: QuotaGate) -> Any:
    """Make a gate's method a function of any connection, as `call` wants it."""
    return gate.reserve_usage


@pytest.mark.owner
def test_a_gate_answers_like_reserve_usage(committed_call: Caller) -> None:
    call, gate = committed_call, QuotaGate()
    make_quota(call, period="month", limit_amount=100)
    make_quota(call, period="day", limit_amount=100)
    data = new_reservation(60)
    first = call(through(gate), data)
    assert first == call(reserve_usage, data)
    assert call(through(gate), data) == first
    with pytest.raises(Conflict):
        call(through(gate), new_reservation(61, id=data.id))
    with pytest.raises(QuotaExceeded) as raised:
        call(through(gate), new_reservation(41))
    assert (raised.value.held, raised.value.asked) == (60, 41)
    pass_time(call)
    assert call(through(gate), new_reservation(70)).status == "held"
    with pytest.raises(InvalidPayload):
        call(through(gate), "data")
    assert waiting(gate) == {}
    assert disagreements(call) == []


# More callers than the pool has connections.
CALLERS: Final = 10


async def reserve_in_tasks(dsn: str, gate: QuotaGate, pool_settings: dict[str, Any]) -> list[str]:
    async with AsyncConnectionPool[AsyncConnection[Any]](
        dsn, min_size=1, max_size=1, open=False, **pool_settings
    ) as pool:
        tasks = [gate.reserve_usage(pool, new_reservation(10)) for _ in range(CALLERS)]
        done = await asyncio.gather(*tasks, return_exceptions=True)
    return [type(result).__name__ for result in done]


def reserve_in_threads(dsn: str, gate: QuotaGate, pool_settings: dict[str, Any]) -> list[str]:
    def reserve(_: int) -> str:
        try:
            return type(gate.reserve_usage(pool, new_reservation(10))).__name__
        except QuotaExceeded as error:
            return type(error).__name__

    with (
        ConnectionPool[Connection[Any]](
            dsn, min_size=1, max_size=1, open=True, **pool_settings
        ) as pool,
        ThreadPoolExecutor(CALLERS) as executor,
    ):
        return list(executor.map(reserve, range(CALLERS)))


@pytest.mark.parametrize("autocommit", [True, False], ids=["autocommit", "without autocommit"])
@pytest.mark.parametrize("kind", RUN)
def test_callers_share_one_connection_of_a_pool(
    database: str, connect: Connect, kind: Kind, autocommit: bool
) -> None:
    set_quota(connect(), new_quota(limit_amount=95))
    gate, settings = QuotaGate(), {"kwargs": {"autocommit": autocommit}, "timeout": 5}
    if kind == "blocking":
        outcomes = reserve_in_threads(database, gate, settings)
    else:
        outcomes = asyncio.run(reserve_in_tasks(database, gate, settings))

    assert Counter(outcomes) == {"Reservation": 9, "QuotaExceeded": 1}
    assert waiting(gate) == {}
    assert [quota.held for quota in get_usage(connect(), SUBJECT)] == [90]


def test_tasks_that_come_at_once_are_one_statement(database: str, connect: Connect) -> None:
    set_quota(connect(), new_quota(limit_amount=100))
    with statements() as sent:
        outcomes = asyncio.run(
            reserve_in_tasks(database, QuotaGate(), {"kwargs": {"autocommit": True}})
        )
    assert outcomes == ["Reservation"] * CALLERS
    assert sent == ["reserve_usages"]


def test_a_gate_keeps_nobody_waiting_for_a_pool_that_has_no_connection(
    database: str, connect: Connect
) -> None:
    set_quota(connect(), new_quota(limit_amount=100))
    gate = QuotaGate()
    with ConnectionPool[Connection[Any]](
        database, min_size=1, max_size=1, open=True, timeout=0.01, kwargs={"autocommit": True}
    ) as pool:
        pool.wait()
        with pool.connection(), pytest.raises(PoolTimeout):
            gate.reserve_usage(pool, new_reservation(10))
        assert waiting(gate) == {}
        assert gate.reserve_usage(pool, new_reservation(10)).status == "held"


def test_a_gate_refuses_what_is_no_source() -> None:
    with pytest.raises(InvalidPayload, match="source: must be a connection or a pool"):
        through(QuotaGate())("postgresql://", new_reservation())


def test_in_a_transaction_a_gate_waits_for_nobody(call: Caller) -> None:
    make_quota(call, limit_amount=100)
    gate = QuotaGate()
    with statements() as sent:
        assert call(through(gate), new_reservation(5)).status == "held"
    assert sent == ["reserve_usage"]


def test_without_autocommit_a_gate_waits_for_nobody(database: str, connect: Connect) -> None:
    set_quota(connect(), new_quota())
    with psycopg.connect(database) as conn, statements() as sent:
        QuotaGate().reserve_usage(conn, new_reservation())
        conn.rollback()
    assert sent == ["reserve_usage"]
    assert [quota.held for quota in get_usage(connect(), SUBJECT)] == [0]


def test_a_repetition_in_the_line_is_answered_too(database: str, connect: Connect) -> None:
    set_quota(connect(), new_quota(limit_amount=100))
    item = new_reservation(10)
    data = [new_reservation(10), item, item, new_reservation(10)]
    assert run_threads(database, QuotaGate(), data) == ["held"] * 4
    assert [quota.held for quota in get_usage(connect(), SUBJECT)] == [30]


@pytest.mark.direct(reason="it ends its own session by its number")
def test_when_the_one_who_leads_fails_the_others_decide_alone(
    database: str, connect: Connect
) -> None:
    set_quota(connect(), new_quota(limit_amount=100))
    gate, holder, observer = QuotaGate(), connect(), connect()
    with (
        ConnectionPool[Any](database, kwargs={"autocommit": True}, min_size=2, open=True) as source,
        ThreadPoolExecutor(3) as executor,
    ):
        # A pool that is still opening these would open more. psycopg's own lends what is idle for
        # longest.
        source.wait()
        idle = [source.getconn(), source.getconn()]
        leader = idle[1].info.backend_pid
        for conn in idle:
            source.putconn(conn)
        with transaction(holder):
            holder.execute("SELECT FROM runstore.usage_counters FOR UPDATE")
            first = executor.submit(gate.reserve_usage, source, new_reservation(10))
            wait_until_blocked(observer)
            second = executor.submit(gate.reserve_usage, source, new_reservation(10))
            wait_for_line(gate, 1)
            third = executor.submit(gate.reserve_usage, source, new_reservation(10))
            wait_for_line(gate, 2)
            # It will find out when its turn comes.
            gone = observer.execute("SELECT pg_terminate_backend(%s, 10000)", (leader,))
            assert gone.fetchone() == (True,)
        assert first.result(timeout=10).status == "held"
        with pytest.raises(psycopg.OperationalError):
            second.result(timeout=10)
        assert third.result(timeout=10).status == "held"
    assert waiting(gate) == {}
    assert [quota.held for quota in get_usage(connect(), SUBJECT)] == [20]


def test_a_task_that_is_cancelled_keeps_nobody_waiting(database: str, connect: Connect) -> None:
    set_quota(connect(), new_quota(limit_amount=100))
    gate = QuotaGate()

    async def run() -> list[object]:
        holder, observer = connect(), connect()
        async with await open_pool_async(database) as source:
            with transaction(holder):
                holder.execute("SELECT FROM runstore.usage_counters FOR UPDATE")
                tasks = [asyncio.create_task(gate.reserve_usage(source, new_reservation(10)))]
                await asyncio.to_thread(wait_until_blocked, observer)
                tasks += [
                    asyncio.create_task(gate.reserve_usage(source, new_reservation(10)))
                    for _ in range(3)
                ]
                await in_line(gate, 3)
                # The one who waits for the server, and one who waits in the line.
                tasks[0].cancel()
                tasks[2].cancel()
                await asyncio.wait([tasks[0], tasks[2]])
            done = await asyncio.gather(*tasks, return_exceptions=True)
        return [type(result).__name__ for result in done]

    assert asyncio.run(run()) == [
        "CancelledError",
        "Reservation",
        "CancelledError",
        "Reservation",
    ]
    assert waiting(gate) == {}
    assert [quota.held for quota in get_usage(connect(), SUBJECT)] == [20]


TENANTS: Final = ["acme", "beta", "gamma"]


def reserve_in_sessions_of_threads(
    gate: QuotaGate, dsns: list[str], *, pooled: bool, until: Callable[[], None]
) -> list[Reservation]:
    """Reserve at once, by a source for each DSN; `until` lets them go on."""
    with ExitStack() as stack:
        sources: list[Any] = [
            stack.enter_context(open_pool(dsn) if pooled else psycopg.connect(dsn, autocommit=True))
            for dsn in dsns
        ]
        executor = stack.enter_context(ThreadPoolExecutor(len(dsns)))
        futures = [
            executor.submit(gate.reserve_usage, source, new_reservation(10)) for source in sources
        ]
        until()
        return [future.result() for future in futures]


async def reserve_in_sessions_of_tasks(
    gate: QuotaGate, dsns: list[str], *, pooled: bool, until: Callable[[], None]
) -> list[Reservation]:
    async with AsyncExitStack() as stack:
        sources: list[Any] = [
            await stack.enter_async_context(
                await (
                    open_pool_async(dsn)
                    if pooled
                    else AsyncConnection.connect(dsn, autocommit=True)
                )
            )
            for dsn in dsns
        ]
        tasks: list[asyncio.Task[Reservation]] = [
            asyncio.create_task(through(gate)(source, new_reservation(10))) for source in sources
        ]
        await asyncio.to_thread(until)
        return list(await asyncio.gather(*tasks))


@pytest.mark.direct(reason="it says in the startup message whose the session is")
@pytest.mark.parametrize("pooled", [True, False], ids=["pool", "connection"])
@pytest.mark.parametrize("kind", RUN)
def test_whoever_has_another_source_reserves_as_who_they_are(
    database: str, connect: Connect, kind: Kind, *, pooled: bool
) -> None:
    """A session has a tenant of its own, which no other caller's reservation may get."""
    gate, holder, observer = QuotaGate(), connect(), connect()
    for tenant in TENANTS:
        set_quota(holder, new_quota(tenant_id=tenant))
    dsns = [
        make_conninfo(database, options=f"-c runstore.tenant_id={tenant}") for tenant in TENANTS
    ]
    with ExitStack() as locked:
        locked.enter_context(holder.transaction())
        holder.execute("SELECT FROM runstore.usage_counters FOR UPDATE")

        def until() -> None:
            try:
                wait_until_blocked(observer, len(TENANTS))
            finally:
                locked.close()

        if kind == "blocking":
            answers = reserve_in_sessions_of_threads(gate, dsns, pooled=pooled, until=until)
        else:
            answers = asyncio.run(
                reserve_in_sessions_of_tasks(gate, dsns, pooled=pooled, until=until)
            )
    assert [answer.tenant_id for answer in answers] == TENANTS
    assert waiting(gate) == {}


@pytest.mark.parametrize("max_batch", [0, 1001])
def test_a_gate_has_a_batch_of_some(max_batch: int) -> None:
    with pytest.raises(InvalidPayload):
        QuotaGate(max_batch=max_batch)
