from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg.types.json import Json

from connections import Connect, Kind
from factories import create_run, new_feature_run
from runstore import (
    connect,
    connect_async,
    create_feature_run,
    get_run,
    open_pool,
    open_pool_async,
)
from runstore.embedded import Server
from sessions import Session

OURS = {
    "application_name": "runstore",
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "tcp_user_timeout": "30000",
}


@contextmanager
def opened(kind: Kind, dsn: str, **settings: Any) -> Generator[Session]:
    if kind == "blocking":
        with connect(dsn, **settings) as conn:
            yield Session(conn, None)
        return
    with asyncio.Runner() as runner:
        session = Session(runner.run(connect_async(dsn, **settings)), runner)
        with session.block(session.conn):
            yield session


@contextmanager
def pooled(kind: Kind, dsn: str, **settings: Any) -> Generator[tuple[Session, Any]]:
    """Open a pool, and a session that may use whichever connection it lends."""
    if kind == "blocking":
        with open_pool(dsn, **settings) as pool:
            yield Session(None, None), pool
        return
    with asyncio.Runner() as runner:
        session = Session(None, runner)
        async_pool = runner.run(open_pool_async(dsn, **settings))
        with session.block(async_pool):
            yield session, async_pool


@contextmanager
def lent(session: Session, pool: Any) -> Generator[Session]:
    with session.block(pool.connection()) as conn:
        session.conn = conn
        yield session


def parameters(conn: Any) -> dict[str, str]:
    return {name: value for name, value in conn.info.get_parameters().items() if name in OURS}


def speaks_orjson(session: Session) -> bool:
    """Tell by two things that orjson does in its own way."""
    compact, large = session.execute(
        "SELECT %s::json::text, '18446744073709551616'::jsonb", (Json({"a": 1}),)
    )[0]
    return bool(compact == '{"a":1}' and isinstance(large, float))


# connect, connect_async


def test_a_connection_has_the_settings_that_we_recommend(
    connection_kind: Kind, shared_database: str
) -> None:
    with opened(connection_kind, shared_database) as session:
        assert session.conn.autocommit is True
        assert session.conn.prepare_threshold == 5
        assert parameters(session.conn) == OURS
        assert session.execute("SHOW application_name") == [("runstore",)]
        assert speaks_orjson(session)


def test_a_pooler_between_is_told_of(connection_kind: Kind, shared_database: str) -> None:
    with opened(connection_kind, shared_database, pooler=True) as session:
        assert session.conn.prepare_threshold is None
        assert session.conn.autocommit is True
    with opened(connection_kind, shared_database, pooler=True, prepare_threshold=1) as session:
        assert session.conn.prepare_threshold == 1


@pytest.mark.direct(reason="it counts what its own session has prepared")
def test_behind_a_pooler_nothing_is_prepared(connection_kind: Kind, database: str) -> None:
    prepared = "SELECT count(*) FROM pg_prepared_statements"
    with opened(connection_kind, database) as session:
        for _ in range(10):
            create_run(session)
        assert session.execute(prepared) == [(1,)]
    with opened(connection_kind, database, pooler=True) as session:
        for _ in range(10):
            create_run(session)
        assert session.execute(prepared) == [(0,)]


def test_the_caller_has_the_last_word(connection_kind: Kind, shared_database: str) -> None:
    with opened(
        connection_kind,
        shared_database,
        autocommit=False,
        prepare_threshold=0,
        application_name="mine",
        connect_timeout=3,
        row_factory=dict_row,
    ) as session:
        assert session.conn.autocommit is False
        assert session.conn.prepare_threshold == 0
        assert parameters(session.conn) == OURS | {
            "application_name": "mine",
            "connect_timeout": "3",
        }
        rows: list[Any] = session.execute("SELECT 1 AS one")
        assert rows == [{"one": 1}]


def test_the_dsn_has_the_last_word_too(connection_kind: Kind, shared_database: str) -> None:
    dsn = make_conninfo(shared_database, application_name="theirs", keepalives_idle=7)
    with opened(connection_kind, dsn) as session:
        assert parameters(session.conn) == OURS | {
            "application_name": "theirs",
            "keepalives_idle": "7",
        }


def test_the_environment_has_the_last_word_too(
    connection_kind: Kind, shared_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGAPPNAME", "environment's")
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "4")
    theirs = OURS | {"application_name": "environment's", "connect_timeout": "4"}
    with opened(connection_kind, shared_database) as session:
        assert parameters(session.conn) == theirs
    with pooled(connection_kind, shared_database) as (session, pool), lent(session, pool):
        assert parameters(session.conn) == theirs
    with opened(connection_kind, shared_database, application_name="mine") as session:
        assert parameters(session.conn) == theirs | {"application_name": "mine"}


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes the parameters of the service "theirs"."""
    path = tmp_path / "pg_service.conf"
    monkeypatch.setenv("PGSERVICEFILE", str(path))

    def write(**parameters: object) -> None:
        lines = [f"{name}={value}" for name, value in parameters.items()]
        path.write_text("\n".join(["[theirs]", *lines, ""]))

    return write


@pytest.mark.parametrize("named_in", ["DSN", "URL", "settings", "environment"])
def test_a_service_has_the_last_word_too(
    connection_kind: Kind,
    shared_database: str,
    monkeypatch: pytest.MonkeyPatch,
    service: Callable[..., None],
    named_in: str,
) -> None:
    given = conninfo_to_dict(shared_database)
    service(**given, application_name="service's", connect_timeout=3, keepalives_idle=7)
    dsn = {"DSN": "service=theirs", "URL": "postgresql://?service=theirs"}.get(named_in, "")
    settings = {"service": "theirs"} if named_in == "settings" else {}
    if named_in == "environment":
        monkeypatch.setenv("PGSERVICE", "theirs")
    monkeypatch.setenv("PGAPPNAME", "environment's")
    theirs = OURS | {
        "application_name": "service's",
        "connect_timeout": "3",
        "keepalives_idle": "7",
    }
    with opened(connection_kind, dsn, **settings) as session:
        assert parameters(session.conn) == theirs
    with opened(connection_kind, make_conninfo(dsn, keepalives_idle=8), **settings) as session:
        assert parameters(session.conn) == theirs | {"keepalives_idle": "8"}


def test_a_services_time_to_connect_is_kept_to(
    connection_kind: Kind, service: Callable[..., None]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        service(host="127.0.0.1", port=silent.getsockname()[1], connect_timeout=2)
        start = time.monotonic()
        with (
            pytest.raises(psycopg.errors.ConnectionTimeout),
            opened(connection_kind, "service=theirs"),
        ):
            pass
        assert time.monotonic() - start < 8


def test_a_service_that_there_is_not_is_named(
    connection_kind: Kind, service: Callable[..., None]
) -> None:
    service()
    with (
        pytest.raises(psycopg.OperationalError, match='"nobodys" not found'),
        opened(connection_kind, "service=nobodys"),
    ):
        pass


@pytest.mark.parametrize(
    "hosts", ["nowhere,{host}", "nowhere:1,{host}:{port}", "nowhere,{host}:{port}"]
)
def test_a_dsn_may_have_several_hosts(
    connection_kind: Kind,
    server: Server,
    shared_database: str,
    monkeypatch: pytest.MonkeyPatch,
    hosts: str,
) -> None:
    monkeypatch.setenv("PGPORT", str(server.port))
    hosts = hosts.replace("nowhere", "%2Fnowhere").format(
        host=quote(server.host, safe=""), port=server.port
    )
    given = conninfo_to_dict(shared_database)
    login, path = f"{given['user']}:{given['password']}", f"/{given['dbname']}"
    dsn = f"postgresql://{login}@{hosts}{path}?target_session_attrs=read-write"
    with opened(connection_kind, dsn) as session:
        assert session.execute("SELECT 1") == [(1,)]
    with pooled(connection_kind, dsn) as (session, pool), lent(session, pool):
        assert session.execute("SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql//user:secret@localhost/db",
        # What libpq would take for a host, a port or a database is a piece of the password.
        "postgresql://user:p@secret@localhost/db",
        "postgresql://user:p@secret/w@localhost/db",
        "postgresql://user:1/secret@localhost/db",
        "postgresql://user:secret/w@localhost/db",
        "postgresql://user:secret",
        "host=localhost port=secret",
        "postgresql://user:secret,other",
    ],
)
def test_a_dsn_that_is_none_is_refused_without_its_password(
    connection_kind: Kind, dsn: str
) -> None:
    with pytest.raises(psycopg.ProgrammingError) as raised, opened(connection_kind, dsn):
        pass
    assert str(raised.value).startswith("the DSN is not one that libpq understands")
    assert "secret" not in str(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("dsn", "mended"),
    [
        ("postgresql+atomic://user:secret@localhost/db", "starts with postgresql://"),
        ("postgresql://user:p@secret@localhost/db", "percent-encode"),
        ("postgresql://user@localhost/db?schema=public", "parameters of libpq alone"),
        ("mysql://user@localhost/db", "a URL starts with postgresql://"),
        ("secret", "postgresql://user@host/database"),
    ],
)
def test_a_dsn_that_is_none_is_refused_with_what_would_mend_it(
    connection_kind: Kind, dsn: str, mended: str
) -> None:
    with pytest.raises(psycopg.ProgrammingError) as raised, opened(connection_kind, dsn):
        pass
    assert mended in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_dsn_that_was_not_set_is_said_to_be_none(connection_kind: Kind) -> None:
    unset: Any = None
    with (
        pytest.raises(TypeError, match="the DSN must be a str, not NoneType"),
        opened(connection_kind, unset),
    ):
        pass


# open_pool, open_pool_async


def test_a_pool_lends_connections_with_these_settings(
    connection_kind: Kind, shared_database: str
) -> None:
    with pooled(connection_kind, shared_database, application_name="pooled") as (session, pool):
        assert (pool.min_size, pool.max_size) == (1, 10)
        assert (pool.max_idle, pool.max_lifetime, pool.timeout) == (300, 3600, 30)
        assert pool.reconnect_timeout == 5
        with lent(session, pool):
            assert session.conn.autocommit is True
            assert session.conn.prepare_threshold == 5
            assert parameters(session.conn) == OURS | {"application_name": "pooled"}
            assert speaks_orjson(session)
    assert pool.closed


def test_a_pools_settings_are_the_callers(connection_kind: Kind, shared_database: str) -> None:
    with pooled(
        connection_kind,
        shared_database,
        min_size=2,
        max_size=3,
        pooler=True,
        pool_settings={"timeout": 1.5, "max_idle": 9, "name": "mine"},
    ) as (session, pool):
        assert (pool.min_size, pool.max_size) == (2, 3)
        assert (pool.timeout, pool.max_idle, pool.max_lifetime) == (1.5, 9, 3600)
        assert pool.name == "mine"
        with lent(session, pool):
            assert session.conn.prepare_threshold is None


def test_a_pooled_connection_commits_by_itself(
    connection_kind: Kind, database: str, connect: Connect
) -> None:
    with pooled(connection_kind, database) as (session, pool), lent(session, pool):
        run = create_run(session)
        assert get_run(connect(), run.id) == run


def end(observer: psycopg.Connection[Any], pid: int) -> None:
    # It returns when the session is gone.
    assert observer.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,)).fetchone() == (True,)


@pytest.mark.direct(reason="it ends its own session by its number")
def test_a_connection_that_died_while_it_was_idle_is_replaced(
    connection_kind: Kind, database: str, connect: Connect
) -> None:
    with pooled(connection_kind, database, max_size=1) as (session, pool):
        with lent(session, pool):
            dead = session.conn.info.backend_pid
        end(connect(), dead)
        with lent(session, pool):
            assert session.conn.info.backend_pid != dead
            data = new_feature_run()
            assert session(create_feature_run, data).id == data.id


@pytest.mark.direct(reason="it ends its own session by its number")
def test_without_a_check_the_caller_meets_the_dead_connection(
    connection_kind: Kind, database: str, connect: Connect
) -> None:
    unchecked = {"check": None}
    with pooled(connection_kind, database, max_size=1, pool_settings=unchecked) as (session, pool):
        with lent(session, pool):
            dead = session.conn.info.backend_pid
        end(connect(), dead)
        with pytest.raises(psycopg.OperationalError), lent(session, pool):
            create_run(session)
        with lent(session, pool):
            create_run(session)


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_loan_ends_its_transaction(
    connection_kind: Kind, database: str, connect: Connect, autocommit: bool
) -> None:
    def borrow_and_begin() -> UUID:
        with lent(session, pool):
            session.run(session.conn.execute("BEGIN"))
            return create_run(session).id

    def borrow_and_fail() -> None:
        with lent(session, pool):
            session.run(session.conn.execute("BEGIN"))
            create_run(session)
            raise ZeroDivisionError

    with pooled(connection_kind, database, max_size=1, autocommit=autocommit) as (session, pool):
        kept_id = borrow_and_begin()
        with pytest.raises(ZeroDivisionError):
            borrow_and_fail()
        with lent(session, pool):
            assert session.conn.info.transaction_status is TransactionStatus.IDLE
    assert connect().execute("SELECT id FROM runstore.runs").fetchall() == [(kept_id,)]


def test_the_connection_that_was_given_back_last_is_lent_first(
    connection_kind: Kind, shared_database: str
) -> None:
    with pooled(connection_kind, shared_database, min_size=3, max_size=3) as (session, pool):
        with ExitStack() as loans:
            first, *others = [loans.enter_context(session.block(pool.connection())) for _ in "123"]
        # Given back in the opposite order.
        for _ in range(2):
            with session.block(pool.connection()) as conn:
                assert conn is first
                with session.block(pool.connection()) as another:
                    assert another is others[0]


def test_a_pool_tells_for_how_long_it_has_lent(connection_kind: Kind, shared_database: str) -> None:
    with pooled(connection_kind, shared_database, max_size=1) as (session, pool):
        for _ in range(3):
            with lent(session, pool):
                session.execute("SELECT pg_sleep(0.004)")
        stats = pool.get_stats()
        assert (stats["requests_num"], stats["usage_ms"] >= 12) == (3, True)
        assert pool.pop_stats()["usage_ms"] == stats["usage_ms"]
        assert pool.get_stats()["usage_ms"] == 0
