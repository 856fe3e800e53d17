"""Stream a run to browsers as Server-Sent Events, and resume where one lost its connection.

    pip install "runstore[binary]" starlette uvicorn
    DATABASE_URL=postgresql://... uvicorn stream_run:app

Then, in a page: `new EventSource("/runs/<id>/events")`.
"""

import os
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

import runstore


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[dict[str, Any]]:
    dsn = os.environ["DATABASE_URL"]
    async with (
        await runstore.open_pool_async(dsn) as pool,
        runstore.listen_run_events(dsn) as listener,
    ):
        yield {"pool": pool, "listener": listener}


async def events(request: Request) -> Response:
    run_id, listener = request.path_params["run_id"], request.state.listener
    pool: AsyncConnectionPool[AsyncConnection[Any]] = request.state.pool
    # The last event that the browser has seen: it sends this by itself when it reconnects.
    last_seen = request.headers.get("last-event-id", "0")
    if not re.fullmatch("[0-9]{1,18}", last_seen):
        return PlainTextResponse("Last-Event-ID is not the number of an event", 400)
    try:
        async with pool.connection() as conn:
            head = await runstore.get_run_head(conn, run_id)
    except runstore.NotFound as error:
        return PlainTextResponse(str(error), 404)
    if head.closed and head.last_seq <= int(last_seen):
        # No content: the browser has all of it, and stops reconnecting.
        return Response(status_code=204)
    tail = runstore.tail_run_events(pool, run_id, after=int(last_seen), listener=listener)
    frames = (runstore.format_sse(event) async for event in tail)
    # Neither caches nor proxies may hold events back.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(frames, media_type="text/event-stream", headers=headers)


app = Starlette(routes=[Route("/runs/{run_id:uuid}/events", events)], lifespan=lifespan)
