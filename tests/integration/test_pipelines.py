"""Calls that are sent without waiting: typed answers, all or nothing."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from connections import BlockingCaller, Connect
from contents import contents
from runstore import (
    Conflict,
    Created,
    InvalidTransition,
    NewAgentInvocation,
    NewAgentStep,
    NewChatRun,
    NewMemoryRecord,
    NewRunEvent,
    NotFound,
    Reply,
    append_run_events,
    complete_run,
    create_agent_invocation,
    create_agent_steps,
    create_memory_record,
    create_run,
    get_memory_records,
    get_run_head,
    new_run_id,
    pipeline,
    start_run,
)


def memory(run_id: UUID, kind: str = "fact") -> NewMemoryRecord:
    return NewMemoryRecord(run_id=run_id, kind=kind, content="Remember.")


def test_answers_are_there_after_the_block_in_their_types(connect: Connect) -> None:
    conn = connect()
    data = NewChatRun()

    with pipeline(conn) as calls:
        run = calls.send(create_run, data)
        state = calls.send(start_run, data.id)
        last = calls.send(append_run_events, data.id, [NewRunEvent(type="token")] * 3)
        with pytest.raises(RuntimeError):
            _ = run.value

    assert (run.value.id, state.value.status, last.value) == (data.id, "running", 4)
    assert get_run_head(conn, data.id).last_seq == 4


async def test_the_same_on_an_asyncio_connection(database: str) -> None:
    data = NewChatRun()
    async with await AsyncConnection.connect(database, autocommit=True) as conn:
        async with pipeline(conn) as calls:
            run = await calls.send(create_run, data)
            last = await calls.send(append_run_events, data.id, [NewRunEvent(type="token")])
            again = await calls.send(create_run, data)

        assert (run.value, last.value) == (again.value, 1)

        async def send() -> None:
            async with pipeline(conn) as calls:
                await calls.send(complete_run, data.id)
                await calls.send(append_run_events, data.id, [NewRunEvent(type="token")])

        with pytest.raises(InvalidTransition):
            await send()
        assert (await get_run_head(conn, data.id)).status == "pending"


def test_a_pipeline_is_repeated_like_its_calls(connect: Connect) -> None:
    conn = connect()
    run, append_id = NewChatRun(), uuid4()
    invocation = NewAgentInvocation(run_id=run.id, agent="coder")
    steps = [NewAgentStep(invocation_id=invocation.id, kind="thought") for _ in range(2)]

    def send(text: str = "Hello") -> object:
        with pipeline(conn) as calls:
            replies = (
                calls.send(create_run, run),
                calls.send(append_run_events, run.id, [("token", text)], append_id=append_id),
                calls.send(create_agent_invocation, invocation),
                calls.send(create_agent_steps, steps),
            )
        return [reply.value for reply in replies]

    first = send()
    before = contents(BlockingCaller(conn, in_transaction=False))
    assert send() == first
    with conn.transaction():
        assert send() == first
    with pytest.raises(Conflict, match="exists with other events"):
        send("Another")
    assert contents(BlockingCaller(conn, in_transaction=False)) == before


async def test_a_pipeline_of_asyncio_is_repeated_like_its_calls(database: str) -> None:
    append_id = uuid4()
    async with await AsyncConnection.connect(database, autocommit=True) as conn:
        run = await create_run(conn, NewChatRun())
        for _ in range(2):
            async with pipeline(conn) as calls:
                last = await calls.send(
                    append_run_events, run.id, [("token", 1)], append_id=append_id
                )
            assert last.value == 1
        assert (await get_run_head(conn, run.id)).last_seq == 1


def test_a_refused_call_takes_all_others_back(connect: Connect) -> None:
    conn = connect()
    run = create_run(conn, NewChatRun())
    replies: list[Reply[Created]] = []

    def send() -> None:
        with pipeline(conn) as calls:
            replies.extend(
                calls.send(create_memory_record, memory(run_id))
                for run_id in (run.id, new_run_id(), run.id)
            )

    with pytest.raises(NotFound):
        send()
    with pytest.raises(RuntimeError):
        _ = replies[0].value
    assert get_memory_records(conn, run.id) == []
    assert conn.info.transaction_status is TransactionStatus.IDLE


@pytest.mark.owner
def test_an_error_of_the_database_takes_all_others_back(connect: Connect) -> None:
    conn = connect()
    conn.execute(
        "ALTER TABLE runstore.memory_records"
        " ADD CONSTRAINT memory_records_kind_check2 CHECK (kind <> 'bad')"
    )
    run = create_run(conn, NewChatRun())

    def send() -> None:
        with pipeline(conn) as calls:
            calls.send(create_memory_record, memory(run.id))
            calls.send(create_memory_record, memory(run.id, "bad"))

    with pytest.raises(psycopg.errors.CheckViolation):
        send()
    assert get_memory_records(conn, run.id) == []
    create_memory_record(conn, memory(run.id))


def test_a_block_that_raises_writes_nothing(connect: Connect) -> None:
    conn = connect()
    data = NewChatRun()

    def send() -> None:
        with pipeline(conn) as calls:
            calls.send(create_run, data)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        send()
    with pytest.raises(NotFound):
        get_run_head(conn, data.id)


def test_any_number_of_calls_costs_three_round_trips(connect: Connect, tmp_path: Path) -> None:
    conn = connect()
    run = create_run(conn, NewChatRun())

    with (tmp_path / "trace").open("w+") as trace:
        conn.pgconn.trace(trace.fileno())
        with pipeline(conn) as calls:
            for _ in range(50):
                calls.send(create_memory_record, memory(run.id))
        conn.pgconn.untrace()
        trace.seek(0)
        messages = trace.read()

    assert len(get_memory_records(conn, run.id)) == 50
    assert messages.count("ReadyForQuery") == 3
