"""Every function takes the caller's connection as it is, whatever the caller did to it."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import AsyncClientCursor, AsyncRawCursor, ClientCursor, RawCursor, errors
from psycopg.adapt import Buffer, Loader
from psycopg.pq import Format, TransactionStatus
from psycopg.rows import dict_row, namedtuple_row, scalar_row
from psycopg.types.string import StrDumper

from connections import Connect, Kind
from creates import CREATES
from factories import create_invocation, create_phase, create_run, new_agent_step, new_tool_call
from runstore import (
    Conflict,
    InvalidPayload,
    InvalidTransition,
    NewPrice,
    NotFound,
    RunTree,
    append_run_events,
    complete_feature_run,
    create_agent_steps,
    create_tool_calls,
    expire_cta_events,
    get_agent_invocation,
    get_phase_results,
    get_run,
    get_run_head,
    get_run_tree,
    list_agent_steps,
    list_runs,
    list_stalled_runs,
    list_tool_calls,
    new_run_id,
    restore_run,
    set_price,
)
from runstore.run_exports import export_run, set_time_zone
from sessions import Session, open_session
from whole_runs import export, resummed

SESSION = "-c timezone=Asia/Kolkata -c datestyle=German,DMY -c intervalstyle=sql_standard"


class Shouting(Loader):
    """Loads every value as something that no model has."""

    def load(self, data: Buffer) -> object:
        return b"not what the model says", bytes(data)


class BinaryShouting(Shouting):
    format = Format.BINARY


class Muttering(StrDumper):
    """Sends every value as something that no table has."""

    def dump(self, obj: object) -> bytes:
        return b"not what the caller said"


def adapt(conn: Any) -> None:
    """Let the connection's own cursors read and send everything in another way."""
    for info in psycopg.adapters.types:
        for oid in (info.oid, info.array_oid):
            if oid:
                conn.adapters.register_loader(oid, Shouting)
                conn.adapters.register_loader(oid, BinaryShouting)
    for kind in (int, str, bytes, bool, float, datetime, timedelta, type(new_run_id()), list):
        conn.adapters.register_dumper(kind, Muttering)


ODDITIES: dict[str, dict[str, Any]] = {
    "rows as dicts": {"row_factory": dict_row},
    "rows as named tuples": {"row_factory": namedtuple_row},
    "rows as scalars": {"row_factory": scalar_row},
    "client cursors": {"cursor_factory": (ClientCursor, AsyncClientCursor)},
    "raw cursors": {"cursor_factory": (RawCursor, AsyncRawCursor)},
    "never prepared": {"prepare_threshold": None},
    "always prepared": {"prepare_threshold": 0},
    "not by itself": {"autocommit": False},
    "another session": {"options": SESSION},
    "another search path": {"options": "-c search_path=pg_catalog"},
    "other adapters": {},
    "a pipeline": {},
}


@pytest.fixture(params=ODDITIES)
def odd(
    request: pytest.FixtureRequest, connection_kind: Kind, shared_database: str
) -> Iterator[Session]:
    settings = dict(ODDITIES[request.param])
    if "cursor_factory" in settings:
        settings["cursor_factory"] = settings["cursor_factory"][connection_kind == "asyncio"]
    with open_session(connection_kind, shared_database, **settings) as session:
        if request.param == "other adapters":
            adapt(session.conn)
        with within_pipeline(session, really=request.param == "a pipeline"):
            transaction = session.conn.transaction(force_rollback=True)
            with session.block(transaction):
                yield session


@contextmanager
def within_pipeline(session: Session, *, really: bool) -> Generator[None]:
    if really:
        with session.block(session.conn.pipeline()):
            yield
    else:
        yield


def test_a_model_holds_the_same_on_any_connection(odd: Session) -> None:
    for create in CREATES:
        # What is sent as it is, and what is prepared after some uses, read alike.
        for _ in range(3):
            with odd.block(odd.conn.transaction(force_rollback=True)):
                data: Any = create.most(odd)
                odd(create.function, data)
                row = create.stored(odd, data)
                type(row).model_validate(dict(row), strict=True)
                given = {name: value for name, value in dict(data).items() if name in dict(row)}
                assert given.items() <= dict(row).items()
                assert odd(create.function, data) is not None


def test_a_tree_holds_the_same_on_any_connection(odd: Session) -> None:
    run = create_run(odd, input={"a": [1, None]}).id
    phase = create_phase(odd, run).id
    invocation = create_invocation(odd, run, phase_result_id=phase).id
    odd(create_agent_steps, [new_agent_step(invocation, content={"n": n}) for n in range(3)])
    odd(create_tool_calls, [new_tool_call(invocation, arguments=[n]) for n in range(3)])
    tree = odd(get_run_tree, run)

    assert RunTree.model_validate(tree.model_dump(), strict=True) == tree
    assert tree.run == odd(get_run, run)
    assert [node.phase_result for node in tree.phases] == odd(get_phase_results, run)
    [node] = tree.phases[0].invocations
    assert node.invocation == odd(get_agent_invocation, invocation)
    assert node.steps == odd(list_agent_steps, invocation).items
    assert node.tool_calls == odd(list_tool_calls, run).items
    assert [step.content for step in node.steps] == [{"n": n} for n in range(3)]


def test_a_run_moves_alike_on_any_connection(odd: Session) -> None:
    run_id, moved = create_run(odd, input={"a": [1, None, "ü"]}).id, new_run_id()
    lines = odd(export, run_id)

    odd(set_time_zone, "UTC")
    rows = odd(export_run, run_id)
    assert [f'{{"{row.table_name}":{row.entry}}}\n'.encode() for row in rows] == lines[1:-1]
    assert not odd(restore_run, lines).created
    renamed = [line.replace(str(run_id).encode(), str(moved).encode()) for line in lines]
    assert odd(restore_run, resummed(renamed)).created
    assert odd(get_run, moved).input == {"a": [1, None, "ü"]}


def test_pages_times_and_errors_are_the_same_on_any_connection(odd: Session) -> None:
    runs = [create_run(odd) for _ in range(3)]
    first = odd(list_runs, page_size=2)
    second = odd(list_runs, page_size=2, cursor=first.next_cursor)
    assert [*first.items, *second.items] == runs[::-1]
    assert abs(runs[0].created_at - datetime.now(UTC)) < timedelta(minutes=1)
    odd.execute("UPDATE runstore.run_heads SET heartbeat_at = heartbeat_at - interval '1 hour'")
    stalled = odd(list_stalled_runs, silent_for=timedelta(minutes=1), page_size=1)
    assert odd(list_stalled_runs, silent_for=timedelta(minutes=1), cursor=stalled.next_cursor).items
    assert odd(expire_cta_events) == []

    with pytest.raises(NotFound):
        odd(get_run, new_run_id())
    with pytest.raises(Conflict):
        create_run(odd, id=runs[0].id, name="another")
    odd(complete_feature_run, runs[0].id, output={"done": True})
    with pytest.raises(InvalidTransition):
        odd(complete_feature_run, runs[0].id, output={"done": False})


def test_a_repetition_answers_as_the_first_call_on_any_connection(odd: Session) -> None:
    run, append_id = create_run(odd), uuid4()
    first, second = (
        odd(append_run_events, run.id, [("token", 1)], append_id=append_id) for _ in range(2)
    )
    assert first == second == odd(get_run_head, run.id).last_seq


# A connection that does not commit by itself


@pytest.fixture
def manual(connection_kind: Kind, database: str) -> Iterator[Session]:
    with open_session(connection_kind, database, autocommit=False) as session:
        yield session


def test_the_caller_says_when_it_is_committed(manual: Session, connect: Connect) -> None:
    observer = connect()
    run = create_run(manual)
    manual(complete_feature_run, run.id)
    with pytest.raises(NotFound):
        get_run(observer, run.id)
    manual.run(manual.conn.commit())
    assert get_run(observer, run.id).status == "completed"


def test_the_caller_says_when_it_is_undone(manual: Session) -> None:
    run = create_run(manual)
    manual.run(manual.conn.rollback())
    with pytest.raises(NotFound):
        manual(get_run, run.id)


def test_a_named_error_leaves_the_callers_transaction_to_the_caller(manual: Session) -> None:
    run = create_run(manual)
    with pytest.raises(NotFound):
        manual(get_run, new_run_id())
    assert manual.conn.info.transaction_status == TransactionStatus.INTRANS
    # Too long together for an index, which the database alone knows.
    key = "".join(map(chr, random.Random(0).sample(range(0x20000, 0x2A000), 255)))
    price = NewPrice(
        provider=key,
        model=key,
        meter=key,
        price=Decimal(1),
        valid_from=datetime(2026, 1, 1, tzinfo=UTC),
    )
    with pytest.raises(InvalidPayload, match="is larger than the database can hold"):
        manual(set_price, price)
    assert manual.conn.info.transaction_status == TransactionStatus.INERROR
    with pytest.raises(errors.InFailedSqlTransaction):
        manual(get_run, run.id)
    manual.run(manual.conn.rollback())
    assert manual(list_runs).items == []


# A pipeline without a transaction


@pytest.fixture
def automatic(connection_kind: Kind, database: str) -> Iterator[Session]:
    with open_session(connection_kind, database) as session:
        yield session


def test_a_pipeline_commits_what_it_wrote(automatic: Session, connect: Connect) -> None:
    with automatic.block(automatic.conn.pipeline()):
        run = create_run(automatic)
        automatic(complete_feature_run, run.id)
        with pytest.raises(NotFound):
            automatic(get_run, new_run_id())
        with pytest.raises(Conflict):
            create_run(automatic, id=run.id, name="another")
    assert get_run(connect(), run.id).status == "completed"


def test_a_run_moves_in_a_pipeline(automatic: Session) -> None:
    run = create_run(automatic)
    with automatic.block(automatic.conn.pipeline()):
        assert not automatic(restore_run, automatic(export, run.id)).created
        with pytest.raises(NotFound):
            automatic(export, new_run_id())
        assert automatic(get_run, run.id) == run
    assert automatic.conn.info.transaction_status == TransactionStatus.IDLE


def test_an_error_of_the_server_ends_a_pipeline_by_its_name(automatic: Session) -> None:
    run = create_run(automatic)
    create_phase(automatic, run.id, attempt=1)
    with automatic.block(automatic.conn.pipeline()) as pipeline:
        with pytest.raises(Conflict):
            create_phase(automatic, run.id, attempt=1)
        # psycopg refuses what follows an error, up to here.
        automatic.run(pipeline.sync())
        assert automatic(get_run, run.id) == run
    assert automatic(get_run, run.id) == run


def test_a_repetition_in_a_pipeline_is_refused_by_its_name(
    automatic: Session, connect: Connect
) -> None:
    """The error undoes what the pipeline wrote before, so that nothing is there twice or once."""
    run, append_id = create_run(automatic), uuid4()

    def append() -> int:
        return automatic(append_run_events, run.id, [("token", 1)], append_id=append_id)

    with automatic.block(automatic.conn.pipeline()) as pipeline:
        last_seq = append()
        with pytest.raises(Conflict, match="run_events_run_id_append_id_key"):
            append()
        automatic.run(pipeline.sync())
        assert get_run_head(connect(), run.id).last_seq == last_seq - 1
        assert append() == last_seq
    assert get_run_head(connect(), run.id).last_seq == last_seq
