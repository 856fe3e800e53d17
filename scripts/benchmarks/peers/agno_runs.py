"""Agno's PostgresDb: a session's runs."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from uuid import uuid4

from agno.db.postgres import PostgresDb
from agno.run.agent import RunOutput
from agno.session.agent import AgentSession

from contestants import Sampler, Sizes, Work, sampler
from payloads import events
from peers.urls import sqlalchemy_url


@contextmanager
def append(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    given = events(sizes.operations)
    db = PostgresDb(db_url=sqlalchemy_url(dsn, "psycopg"))

    def prepare() -> Work:
        session_id = str(uuid4())
        created_at = int(time.time())
        db.upsert_session(
            AgentSession(session_id=session_id, agent_id="bench", created_at=created_at)
        )

        def work() -> None:
            for index, (_, content) in enumerate(given):
                run = RunOutput(
                    run_id=str(uuid4()), session_id=session_id, agent_id="bench", content=content
                )
                db.upsert_run(run, session_id, run_index=index)

        return work

    yield sampler(prepare, len(given))
