"""W4 with the library: the life of a run, call by call, or with less statements."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

import runstore
from contestants import Sampler, Sizes, sampler
from payloads import PHASES, payload
from runstore import NewAgentInvocation, NewFeatureRun, NewToolCall

Life = Callable[[AsyncConnection[Any], int], Awaitable[None]]


def tool_calls(invocation_id: UUID, given: dict[str, Any]) -> list[NewToolCall]:
    return [
        NewToolCall(
            invocation_id=invocation_id,
            name=name,
            arguments=given["usage"],
            status="completed",
            result={"text": given["content"]},
        )
        for name in ("shell", "edit")
    ]


async def begin(conn: AsyncConnection[Any], given: dict[str, Any]) -> UUID:
    run = NewFeatureRun(name="bench", phase=PHASES[0], input=given)
    await runstore.create_feature_run(conn, run)
    invocation = NewAgentInvocation(run_id=run.id, agent="coder", input=given)
    await runstore.create_agent_invocation(conn, invocation)
    return invocation.id


async def one_life(conn: AsyncConnection[Any], number: int) -> None:
    given = payload(number)
    invocation_id = await begin(conn, given)
    run_id = runstore.run_of(invocation_id)
    for phase in PHASES[1:]:
        await runstore.update_feature_run_phase(conn, run_id, phase)
        for call in tool_calls(invocation_id, given):
            await runstore.create_tool_call(conn, call)
    await runstore.complete_feature_run(conn, run_id, output=given)


async def one_life_in_batches(conn: AsyncConnection[Any], number: int) -> None:
    given = payload(number)
    invocation_id = await begin(conn, given)
    run_id = runstore.run_of(invocation_id)
    for phase in PHASES[1:]:
        await runstore.update_feature_run_phase(conn, run_id, phase)
        await runstore.create_tool_calls(conn, tool_calls(invocation_id, given))
    await runstore.complete_feature_run(conn, run_id, output=given)


async def one_life_in_phases(conn: AsyncConnection[Any], number: int) -> None:
    given = payload(number)
    invocation_id = await begin(conn, given)
    run_id = runstore.run_of(invocation_id)
    for phase in PHASES[1:]:
        calls = tool_calls(invocation_id, given)
        await runstore.advance_feature_run(conn, run_id, phase, calls)
    await runstore.complete_feature_run(conn, run_id, output=given)


@contextmanager
def live(dsn: str, sizes: Sizes, one: Life = one_life) -> Generator[Sampler]:
    async def connect() -> list[AsyncConnection[Any]]:
        return [await runstore.connect_async(dsn) for _ in range(sizes.clients)]

    with asyncio.Runner() as runner:
        connections = runner.run(connect())

        async def client(conn: AsyncConnection[Any], number: int) -> None:
            for life in range(number, sizes.lives, sizes.clients):
                await one(conn, life)

        async def work() -> None:
            async with asyncio.TaskGroup() as clients:
                for number, conn in enumerate(connections):
                    clients.create_task(client(conn, number))

        yield sampler(lambda: lambda: runner.run(work()), sizes.lives)
        for conn in connections:
            runner.run(conn.close())


@contextmanager
def live_in_batches(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with live(dsn, sizes, one_life_in_batches) as sample:
        yield sample


@contextmanager
def live_in_phases(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with live(dsn, sizes, one_life_in_phases) as sample:
        yield sample
