"""Calls on one connection, at once and after errors: nobody sees the rows of another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import pytest_asyncio
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from connections import Connect, wait_until_blocked
from factories import new_agent_step, new_feature_run
from runstore import (
    Conflict,
    InvalidPayload,
    NewAgentInvocation,
    NotFound,
    Run,
    complete_feature_run,
    create_agent_invocation,
    create_agent_steps,
    create_feature_run,
    get_run,
    get_run_tree,
    list_agent_steps,
    new_run_id,
    update_feature_run_phase,
)

MANY = 40


@pytest_asyncio.fixture
async def conn(database: str) -> AsyncIterator[AsyncConnection[TupleRow]]:
    async with await AsyncConnection.connect(database, autocommit=True) as conn:
        yield conn


async def test_tasks_that_share_a_connection_get_their_own_rows(
    conn: AsyncConnection[TupleRow],
) -> None:
    data = [new_feature_run(name=f"run-{number}") for number in range(MANY)]
    created = await asyncio.gather(*(create_feature_run(conn, item) for item in data))
    assert [run.id for run in created] == [item.id for item in data]

    async def read(run: Run) -> None:
        for _ in range(5):
            assert await get_run(conn, run.id) == run
            with pytest.raises(NotFound):
                await get_run(conn, new_run_id())
            assert (await get_run_tree(conn, run.id)).run == run

    await asyncio.gather(*map(read, created))


def test_threads_that_share_a_connection_get_their_own_rows(connect: Connect) -> None:
    conn = connect()
    runs = [
        create_feature_run(conn, new_feature_run(name=f"run-{number}")) for number in range(MANY)
    ]

    def read(run: Run) -> list[Run]:
        return [get_run(conn, run.id) for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, runs)) == [[run] * 20 for run in runs]


async def test_a_task_that_is_cancelled_leaves_the_connection_to_the_others(
    conn: AsyncConnection[TupleRow], connect: Connect
) -> None:
    first, second = [
        await create_feature_run(conn, new_feature_run(name=name)) for name in ("a", "b")
    ]
    holder, observer = connect(), connect()
    with holder.transaction():
        update_feature_run_phase(holder, first.id, "held")
        task = asyncio.create_task(update_feature_run_phase(conn, first.id, "never"))
        await asyncio.to_thread(wait_until_blocked, observer)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await update_feature_run_phase(conn, second.id, "next")).id == second.id
    assert (await get_run(conn, first.id)).phase == "held"


def test_a_connection_goes_on_after_every_sort_of_error(connect: Connect) -> None:
    conn = connect()
    data = new_feature_run()
    run = create_feature_run(conn, data)
    for _ in range(10):
        with pytest.raises(NotFound):
            get_run(conn, new_run_id())
        with pytest.raises(Conflict):
            create_feature_run(conn, new_feature_run(id=data.id, name="another"))
        with pytest.raises(InvalidPayload):
            update_feature_run_phase(conn, run.id, "")
        conn.execute("SET statement_timeout = 100")
        with pytest.raises(psycopg.errors.QueryCanceled):
            conn.execute("SELECT pg_sleep(10)")
        conn.execute("RESET statement_timeout")
        assert create_feature_run(conn, data) == get_run(conn, run.id) == run


@pytest.mark.owner
def test_a_connection_goes_on_after_its_schema_changed(connect: Connect) -> None:
    """A statement that was prepared is prepared anew, as it must be after a migration."""
    conn, other = connect(), connect()
    run = create_feature_run(conn, new_feature_run())
    for _ in range(10):
        assert get_run(conn, run.id) == run
    other.execute("ALTER TABLE runstore.runs ADD COLUMN added text")
    other.execute("ALTER TABLE runstore.runs DROP COLUMN added")
    assert get_run(conn, run.id) == run
    complete_feature_run(conn, run.id)
    assert get_run(conn, run.id).status == "completed"


def test_a_small_result_after_a_large_one_is_small(connect: Connect) -> None:
    conn = connect()
    run = create_feature_run(conn, new_feature_run())
    large, small = (
        create_agent_invocation(conn, NewAgentInvocation(run_id=run.id, agent=agent)).id
        for agent in ("large", "small")
    )
    create_agent_steps(conn, [new_agent_step(large) for _ in range(1500)])
    create_agent_steps(conn, [new_agent_step(small) for _ in range(2)])
    for _ in range(3):
        assert len(list_agent_steps(conn, large, page_size=2000).items) == 1500
        assert len(list_agent_steps(conn, small, page_size=2000).items) == 2
