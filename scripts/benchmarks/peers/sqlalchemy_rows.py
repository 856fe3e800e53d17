"""SQLAlchemy on psycopg and on our tables: Core with the floor's statements, and the ORM."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import psycopg
from sqlalchemy import BigInteger, FetchedValue, bindparam, create_engine, insert, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.sql.elements import TextClause

from by_hand import lives
from by_hand.ingest import RESERVE
from by_hand.single_writes import APPEND
from contestants import Sampler, Sizes, Work, sampler
from payloads import PHASES, events, payload
from peers.urls import sqlalchemy_url
from preparation import filled_run, new_child_id, new_invocation, new_run


class Base(DeclarativeBase):
    pass


class RunEvent(Base):
    __tablename__ = "run_events"
    __table_args__: ClassVar = {"schema": "runstore"}

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    type: Mapped[str]
    payload: Mapped[Any] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())


class AgentStep(Base):
    __tablename__ = "agent_steps"
    __table_args__: ClassVar = {"schema": "runstore"}

    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    invocation_id: Mapped[UUID]
    position: Mapped[int]
    kind: Mapped[str]
    content: Mapped[Any] = mapped_column(JSONB)
    tokens: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=FetchedValue())


def core(statement: str, *names: str) -> TextClause:
    """Return a statement of the floor for Core; names that end with a plus are JSON."""
    for name in names:
        statement = statement.replace("%s", f":{name.rstrip('+')} ", 1)
    json = [bindparam(name.rstrip("+"), type_=JSONB) for name in names if name.endswith("+")]
    return text(statement).bindparams(*json)


@contextmanager
def append(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    given = events(sizes.operations)
    statement = core(APPEND, "run_id", "type", "payload+")
    engine = create_engine(sqlalchemy_url(dsn, "psycopg"))
    with psycopg.connect(dsn, autocommit=True) as conn:

        def prepare() -> Work:
            run_id = new_run(conn)

            def work() -> None:
                for type, content in given:
                    with engine.begin() as connection:
                        parameters = {"run_id": run_id, "type": type, "payload": content}
                        assert connection.execute(statement, parameters).scalar_one()

            return work

        yield sampler(prepare, len(given))
        engine.dispose()


@contextmanager
def step(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    given = events(sizes.operations)
    engine = create_engine(sqlalchemy_url(dsn, "psycopg"))
    with psycopg.connect(dsn, autocommit=True) as conn:

        def prepare() -> Work:
            run_id, invocation_id = new_invocation(conn)

            def work() -> None:
                for position, (kind, content) in enumerate(given):
                    with Session(engine) as session:
                        session.add(
                            AgentStep(
                                run_id=run_id,
                                id=new_child_id(run_id),
                                invocation_id=invocation_id,
                                position=position,
                                kind=kind,
                                content=content,
                                tokens=96,
                            )
                        )
                        session.commit()

            return work

        yield sampler(prepare, len(given))
        engine.dispose()


@contextmanager
def ingest(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    given = events(sizes.ingested)
    reserve = core(RESERVE, "count", "run_id")
    engine = create_engine(sqlalchemy_url(dsn, "psycopg"))
    with psycopg.connect(dsn, autocommit=True) as conn:

        def prepare() -> Work:
            conn.execute("TRUNCATE runstore.run_events")
            run_id = new_run(conn)

            def work() -> None:
                for start in range(0, len(given), sizes.batch):
                    batch = given[start : start + sizes.batch]
                    with engine.begin() as connection:
                        parameters = {"count": len(batch), "run_id": run_id}
                        last = connection.execute(reserve, parameters).scalar_one()
                        first = last - len(batch) + 1
                        connection.execute(
                            insert(RunEvent),
                            [
                                {"run_id": run_id, "seq": seq, "type": type, "payload": content}
                                for seq, (type, content) in enumerate(batch, first)
                            ],
                        )

            return work

        yield sampler(prepare, len(given))
        engine.dispose()


@contextmanager
def replay(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    """Read events as objects of the ORM."""
    engine = create_engine(sqlalchemy_url(dsn, "psycopg"))
    with psycopg.connect(dsn, autocommit=True) as conn:
        run_id = filled_run(conn, sizes.replayed)
    whole = select(RunEvent).where(RunEvent.run_id == run_id).order_by(RunEvent.seq)

    def work() -> None:
        with Session(engine) as session:
            assert len(session.scalars(whole).all()) == sizes.replayed

    yield sampler(lambda: work, sizes.replayed)
    engine.dispose()


CREATE = core(lives.CREATE, "name", "phase", "input+")
INVOCATION = core(lives.INVOCATION, "id", "agent", "input+", "run_id")
PHASE = core(lives.PHASE, "run_id", "phase", "name")
TOOL_CALL = core(lives.TOOL_CALL, "id", "name", "arguments+", "result+", "run_id", "invocation_id")
COMPLETE = core(lives.COMPLETE, "run_id", "output+")


async def fetch(engine: AsyncEngine, statement: TextClause, **parameters: Any) -> Any:
    async with engine.begin() as connection:
        return (await connection.execute(statement, parameters)).first()


async def one_life(engine: AsyncEngine, number: int) -> None:
    given = payload(number)
    row = await fetch(engine, CREATE, name="bench", phase=PHASES[0], input=given)
    run_id = row[0]
    invocation_id = new_child_id(run_id)
    await fetch(engine, INVOCATION, id=invocation_id, agent="coder", input=given, run_id=run_id)
    for phase in PHASES[1:]:
        await fetch(engine, PHASE, run_id=run_id, phase=phase, name=phase)
        for name in ("shell", "edit"):
            await fetch(
                engine,
                TOOL_CALL,
                id=new_child_id(run_id),
                name=name,
                arguments=given["usage"],
                result={"text": given["content"]},
                run_id=run_id,
                invocation_id=invocation_id,
            )
    await fetch(engine, COMPLETE, run_id=run_id, output=given)


@contextmanager
def live(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with asyncio.Runner() as runner:
        engine = create_async_engine(
            sqlalchemy_url(dsn, "psycopg"), pool_size=sizes.clients, max_overflow=0
        )

        async def client(number: int) -> None:
            for life in range(number, sizes.lives, sizes.clients):
                await one_life(engine, life)

        async def work() -> None:
            await asyncio.gather(*map(client, range(sizes.clients)))

        yield sampler(lambda: lambda: runner.run(work()), sizes.lives)
        runner.run(engine.dispose())
