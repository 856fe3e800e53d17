"""A chat server: answers stream to the browser, survive lost connections, and cost a budget.

    pip install "runstore[binary]" starlette uvicorn
    DATABASE_URL=postgresql://... uvicorn chat_server:app

    POST /threads/{thread}/messages   {"text": "..."}   starts an answer, says its run
    GET  /runs/{run}/events                             streams it, from Last-Event-ID on
    POST /runs/{run}/cancel                             asks it to stop

The model is a stand-in that says the question back, word by word; everything else is real. A thread
has one answer at a time. Whoever asks may use so many tokens a day: an answer holds what it may
need at most, and is charged what it used, also when it was stopped in the middle.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

import runstore
import stream_run
from runstore import EventWriter, NewChatRun, NewQuota, NewReservation, NewRunEvent

LIMIT = 1000
MOST_TOKENS = 100
LOOK_EVERY = 10

LOG = logging.getLogger(__name__)

Pool = AsyncConnectionPool[AsyncConnection[Any]]


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[dict[str, Any]]:
    async with (
        await runstore.open_pool_async(os.environ["DATABASE_URL"]) as pool,
        runstore.listen_run_events(os.environ["DATABASE_URL"]) as listener,
        asyncio.TaskGroup() as answers,
    ):
        yield {"pool": pool, "listener": listener, "answers": answers}


async def ask(request: Request) -> Response:
    pool: Pool = request.state.pool
    user = request.headers.get("x-user", "anonymous")
    try:
        text = await question(request)
        data = NewChatRun(
            thread_id=request.path_params["thread"],
            subject_id=user,
            input={"text": text},
            exclusive=True,
            # A browser that asks again, because it heard nothing, gets the run that it has.
            idempotency_key=request.headers.get("idempotency-key"),
        )
    except (ValueError, RecursionError) as error:
        return PlainTextResponse(f"not a question: {error}", 400)
    hold = NewReservation(
        run_id=data.id,
        subject_id=user,
        amounts={"tokens": MOST_TOKENS},
        hold_for=timedelta(minutes=5),
    )
    quota = NewQuota(subject_id=user, meter="tokens", period="day", limit_amount=LIMIT)
    try:
        async with pool.connection() as conn:
            await runstore.set_quota(conn, quota)
            # The run and its budget are there together, or neither is.
            async with runstore.transaction(conn):
                run = await runstore.create_run(conn, data)
                if run.id == data.id:
                    await runstore.reserve_usage(conn, hold)
    except runstore.Conflict as error:
        # The thread is being answered already, or the key was another question's.
        return PlainTextResponse(str(error), 409)
    except runstore.QuotaExceeded as error:
        return PlainTextResponse(f"no tokens are left until {error.resets_at}", 429)
    if run.id != data.id:
        return JSONResponse({"run": str(run.id)})
    request.state.answers.create_task(answer(pool, run.id, hold.id, text))
    return JSONResponse({"run": str(run.id)}, 202)


async def question(request: Request) -> str:
    """Return the text of a body. Raises `ValueError`, or `RecursionError` where it is too deep."""
    match await request.json():
        case {"text": str(text)}:
            return text
        case _:
            raise ValueError('the body is not {"text": "..."}')


async def answer(pool: Pool, run_id: UUID, hold_id: UUID, text: str) -> None:
    """Write an answer as it comes. It ends whole: its status and its price commit together."""
    words: list[str] = []
    stopped, error = False, None
    try:
        async with pool.connection() as conn:
            await runstore.start_run(conn, run_id)
        async with EventWriter(pool, run_id) as writer:
            async for word in model(text):
                words.append(word)
                await writer.append(NewRunEvent(type="token", payload={"text": word}))
                stopped = len(words) % LOOK_EVERY == 0 and await is_unwanted(pool, run_id)
                if stopped or len(words) == MOST_TOKENS:
                    break
    except Exception as failure:  # noqa: BLE001 - whatever it is, the run must not stay open.
        error = type(failure).__name__
    try:
        async with pool.connection() as conn, runstore.transaction(conn):
            await runstore.settle_usage(conn, hold_id, {"tokens": len(words)})
            try:
                async with runstore.transaction(conn):
                    if error:
                        await runstore.fail_run(conn, run_id, error=error)
                    elif stopped:
                        await runstore.cancel_run(conn, run_id)
                    else:
                        await runstore.complete_run(conn, run_id, output="".join(words))
            except runstore.InvalidTransition as ended:
                # By somebody else, an operator say: what was said is charged all the same.
                LOG.warning("%s", ended)
    except Exception:
        # One answer that fails must not end the others, as it would in their group.
        LOG.exception("the end of run %s is not recorded", run_id)


async def is_unwanted(pool: Pool, run_id: UUID) -> bool:
    """Say that this worker is alive, and learn whether somebody asked it to stop."""
    async with pool.connection() as conn:
        return (await runstore.heartbeat_run(conn, run_id)).cancel_requested_at is not None


async def model(question: str) -> AsyncIterator[str]:
    for word in question.split():
        await asyncio.sleep(0.01)
        yield f"{word} "


async def cancel(request: Request) -> Response:
    pool: Pool = request.state.pool
    try:
        async with pool.connection() as conn:
            await runstore.request_cancel(conn, request.path_params["run_id"])
    except runstore.NotFound as error:
        return PlainTextResponse(str(error), 404)
    except runstore.InvalidTransition as error:
        return PlainTextResponse(str(error), 409)
    return Response(status_code=204)


app = Starlette(
    routes=[
        Route("/threads/{thread}/messages", ask, methods=["POST"]),
        Route("/runs/{run_id:uuid}/events", stream_run.events),
        Route("/runs/{run_id:uuid}/cancel", cancel, methods=["POST"]),
    ],
    lifespan=lifespan,
)
