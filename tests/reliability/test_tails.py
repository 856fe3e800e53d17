"""Tails among many writers, without their connections, across a restart, and cancelled."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from connections import Connect
from runstore import (
    NewChatRun,
    append_run_events,
    complete_run,
    connect,
    connect_async,
    create_run,
    iter_run_events,
    listen_run_events,
    notify_run_events,
    open_pool_async,
    tail_run_events,
)
from runstore.embedded import Server, persistent_server
from streams import POOLS, SOURCES, Follower, Source, numbers, streams, tokens, wait_until

POOL = pytest.mark.parametrize("source", POOLS, ids=str)

MIGRATIONS = Path(__file__).parents[2] / "migrations"
WRITERS = 16
SOON: dict[str, float] = {"min_poll": 0.005, "max_poll": 0.05}

Conn = psycopg.Connection[Any]


def write(dsn: str, run_id: UUID, writer: int) -> None:
    choose = random.Random(writer)
    with psycopg.connect(dsn, autocommit=True) as conn:
        for _ in range(25):
            append_run_events(conn, run_id, tokens(choose.randint(1, 5), start=writer * 1000))


@pytest.mark.parametrize("notified", [False, True], ids=["polling", "notified"])
def test_tails_among_sixteen_writers_see_exactly_the_log(
    database: str, direct_database: str, connect: Connect, *, notified: bool
) -> None:
    conn = connect()
    run_id = create_run(conn, NewChatRun()).id
    choose = random.Random(1)
    with ExitStack() as stack:
        listener = stack.enter_context(listen_run_events(direct_database)) if notified else None
        notifier = stack.enter_context(notify_run_events(database))
        opened = [stack.enter_context(streams(source, database)) for source in SOURCES]
        followers: list[tuple[int, Follower]] = []

        def attach(source: int, after: int) -> None:
            page_size = choose.choice([1, 7, 200])
            options: dict[str, Any] = {"page_size": page_size, "listener": listener}
            followers.append((after, Follower(opened[source], run_id, after=after, **options)))

        # A bare connection serves one tail, a pool serves many.
        for source in range(len(SOURCES)):
            attach(source, after=0)
        with ThreadPoolExecutor(WRITERS) as threads:
            writing = [threads.submit(write, database, run_id, n) for n in range(WRITERS)]
            for count in range(12):
                wait_until(partial(has_seen, followers[0][1], 20 * count))
                attach(count % len(POOLS), after=choose.randint(0, 30 * count))
                notifier.mark(run_id)
            for each in writing:
                each.result()
        complete_run(conn, run_id)
        notifier.mark(run_id)

        log = list(iter_run_events(conn, run_id))
        assert numbers(log) == list(range(1, len(log) + 1))
        for after, follower in followers:
            assert follower.all() == log[after:]


def has_seen(follower: Follower, count: int) -> bool:
    return len(follower.seen) >= count


def kill(conn: Conn, application_name: str) -> int:
    """End the sessions of an application, and return how many they were."""
    return conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = %s",
        (application_name,),
    ).rowcount


@POOL
@pytest.mark.direct(reason="it ends sessions by their application's name")
def test_a_tail_whose_connections_are_killed_sees_exactly_the_log(
    source: Source, database: str, connect: Connect
) -> None:
    conn = connect()
    run_id = create_run(conn, NewChatRun()).id
    kills = 0
    with streams(source, database, application_name="tailing") as opened:
        followers = [Follower(opened, run_id, page_size=3, **SOON) for _ in range(3)]
        for written in range(1, 31):
            append_run_events(conn, run_id, tokens(7))
            kills += kill(conn, "tailing")
            for follower in followers:
                wait_until(partial(has_seen, follower, 7 * (written - 1)))
        complete_run(conn, run_id)

        log = list(iter_run_events(conn, run_id))
        assert len(log) == 30 * 7 + 1
        for follower in followers:
            assert follower.all() == log
    assert kills >= 10


@POOL
@pytest.mark.direct(reason="it ends sessions by their application's name")
def test_a_tail_gives_up_when_an_outage_lasts(
    source: Source, database: str, server: Server, connect: Connect
) -> None:
    conn = connect()
    run_id = create_run(conn, NewChatRun()).id
    name = sql.Identifier(conn.info.dbname)
    with (
        psycopg.connect(server.dsn("postgres"), autocommit=True) as admin,
        streams(
            source,
            database,
            application_name="tailing",
            pool_settings={"check": None, "timeout": 0.1},
        ) as opened,
    ):
        follower = Follower(opened, run_id, give_up_after=0.5, **SOON)
        wait_until(lambda: bool(kill(conn, "tailing")))
        admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        kill(conn, "tailing")
        with pytest.raises(psycopg.OperationalError):
            follower.all()


def test_tails_and_writers_go_on_across_a_restart_of_the_server(folder: Path) -> None:
    # Each start listens in a new folder; a link makes it one place.
    link = folder / "socket"
    dsn = make_conninfo(host=str(link), port=5432, user="postgres", dbname="postgres")

    def point_at(server: Server) -> None:
        link.unlink(missing_ok=True)
        link.symlink_to(server.host)

    with ExitStack() as clients:
        with persistent_server(folder / "data") as server:
            point_at(server)
            command = [sys.executable, "-m", "yoyo", "apply", "--batch", "--no-config-file"]
            command += ["--database", server.yoyo_url("postgres"), str(MIGRATIONS)]
            subprocess.run(command, check=True)
            with connect(dsn) as conn:
                run_id = create_run(conn, NewChatRun()).id

            listener = clients.enter_context(listen_run_events(dsn))
            notifier = clients.enter_context(notify_run_events(dsn))
            followers = [
                Follower(clients.enter_context(streams(source, dsn)), run_id, listener=listener)
                for source in POOLS
            ]
            writers = [
                clients.enter_context(
                    clients.enter_context(streams(source, dsn)).writing(
                        run_id, notifier=notifier, max_delay=0.001
                    )
                )
                for source in POOLS
            ]
            for event in tokens(50):
                for writer in writers:
                    writer.append(event)
            wait_until(lambda: all(len(follower.seen) == 100 for follower in followers))
            # Under way while the server ends.
            for event in tokens(50, start=50):
                for writer in writers:
                    writer.append(event)

        for event in tokens(50, start=100):
            for writer in writers:
                writer.append(event)

        with persistent_server(str(folder / "data")) as server:
            point_at(server)
            for writer in writers:
                writer.flush()
            with connect(dsn) as conn:
                complete_run(conn, run_id)
                log = list(iter_run_events(conn, run_id))
            for follower in followers:
                assert follower.all() == log
            wait_until(lambda: listener.connected)
            clients.close()

    payloads: list[Any] = [event.payload for event in log[:-1]]
    assert sorted(payload["n"] for payload in payloads) == [n for n in range(150) for _ in "ab"]


async def test_a_cancelled_tail_leaves_its_pool_whole(database: str, connect: Connect) -> None:
    conn = connect()
    run_id = create_run(conn, NewChatRun()).id
    append_run_events(conn, run_id, tokens(20))
    seen = 0

    async with await open_pool_async(database, max_size=1) as pool:

        async def follow() -> None:
            nonlocal seen
            async for _ in tail_run_events(
                pool, run_id, page_size=3, min_poll=0.001, max_poll=0.002
            ):
                seen += 1
                await asyncio.sleep(0)

        for attempt in range(200):
            task = asyncio.create_task(follow())
            await asyncio.sleep(attempt % 50 * 0.0002)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with pool.connection(timeout=10) as lent:
                assert lent.info.transaction_status is TransactionStatus.IDLE
                assert await (await lent.execute("SELECT 1")).fetchone() == (1,)
        await asyncio.sleep(0)
        assert pool.get_stats()["pool_size"] == pool.get_stats()["pool_available"] == 1
    assert seen > 200


async def test_a_cancelled_tail_leaves_its_connection_usable(
    database: str, connect: Connect
) -> None:
    conn = connect()
    run_id = create_run(conn, NewChatRun()).id
    append_run_events(conn, run_id, tokens(20))
    seen = 0

    async with await connect_async(database) as own:

        async def follow() -> None:
            nonlocal seen
            async for _ in tail_run_events(
                own, run_id, page_size=3, min_poll=0.001, max_poll=0.002
            ):
                seen += 1
                await asyncio.sleep(0)

        for attempt in range(200):
            task = asyncio.create_task(follow())
            await asyncio.sleep(attempt % 50 * 0.0002)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert own.info.transaction_status is TransactionStatus.IDLE
            assert await (await own.execute("SELECT 1")).fetchone() == (1,)
    assert seen > 200
