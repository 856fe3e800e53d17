"""Connections and pools with the settings that we recommend, and transactions.

Nothing here is needed to use the library: every function takes any connection of psycopg.
"""

from __future__ import annotations

import select
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from typing import Any, Final, overload

import orjson
from psycopg import AsyncConnection, Connection, ProgrammingError, conninfo
from psycopg.pq import PGconn, TransactionStatus
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from ._pools import AsyncioPool, BlockingPool
from ._query import blocking
from .errors import TransactionAborted

# Each is a parameter of libpq, and stands back for what the caller, the DSN, a service file or the
# environment says.
_LIBPQ: Final = {
    "application_name": "runstore",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "tcp_user_timeout": 30_000,
}

# Parameters that say which section of which file has further ones.
_SERVICE: Final = ("service", "servicefile")

_SCHEMES: Final = ("postgres", "postgresql")

# Where a connection keeps what asks the machine whether there is something to read.
_POLL: Final = "_runstore_poll"


def _settings(dsn: object, pooler: bool, overrides: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(dsn, str):
        # Of os.environ.get, say.
        raise TypeError(f"the DSN must be a str, not {type(dsn).__name__}")
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except ProgrammingError:
        given = None
    # libpq's own text quotes the DSN with its password, or what it takes for a host or a port;
    # and the pool writes that to its log.
    if given is None or _is_misread(dsn, given.get("port")):
        raise ProgrammingError(f"the DSN is not one that libpq understands: {mend(dsn)}") from None
    found = _found_by_libpq(given, overrides)
    return {
        **{name: found.get(name, ours) for name, ours in _LIBPQ.items() if name not in given},
        "autocommit": True,
        "prepare_threshold": None if pooler else 5,
        **overrides,
    }


def _found_by_libpq(given: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, str]:
    """Return what libpq takes for parameters of ours, which the environment or a service may say.

    psycopg, which waits by itself, looks for `connect_timeout` in no service file.
    """
    service = {name: overrides[name] for name in _SERVICE if name in overrides}
    # libpq tells of a connection only. This one comes to nothing before a server is looked for.
    refused = {"password": "none", "sslmode": "none"}
    text = conninfo.make_conninfo(**{**given, **service, **refused})
    pgconn = PGconn.connect_start(text.encode())
    try:
        options = {option.keyword.decode(): option.val for option in pgconn.info}
    finally:
        pgconn.finish()
    return {name: value.decode() for name in _LIBPQ if (value := options.get(name))}


def mend(dsn: str) -> str:
    """Say what is most likely to make libpq understand a DSN, of which nothing is quoted."""
    scheme, separator, rest = dsn.partition("://")
    if separator and "+" in scheme:
        return "a URL starts with postgresql://, without the +... that is for yoyo"
    if separator and scheme not in _SCHEMES:
        return "a URL starts with postgresql://"
    if separator:
        known = ", and give parameters of libpq alone after its ?" if "?" in rest else ""
        return f"percent-encode what is not a letter or a digit in the password of a URL{known}"
    return "it is a URL like postgresql://user@host/database, or host=... dbname=..."


def _is_misread(dsn: str, port: object) -> bool:
    """Say whether pieces of a password may have been read as host, port or database."""
    # Of several hosts each has one, which may be left out.
    if not all(part.isdecimal() for part in str(port or "").split(",") if part):
        return True
    scheme, _, rest = dsn.partition("://")
    if scheme not in _SCHEMES:
        return False
    authority, _, path = rest.partition("?")[0].partition("/")
    return authority.count("@") > 1 or "@" in path


def connect(dsn: str, *, pooler: bool = False, **settings: Any) -> Connection[Any]:
    """Open a blocking connection with the settings that we recommend.

    - `autocommit=True`: one call is one statement and one transaction; what belongs together
      goes into `transaction(conn)`. BEGIN and COMMIT around each call cost 1.7 times as much.
    - `prepare_threshold=5`, psycopg's own; None with `pooler=True`, for a pooler in transaction
      mode that does not track prepared statements (PgBouncer before 1.22). None also turns off
      that the library prepares its statements when it uses them a second time.
    - `application_name=runstore`, so that `pg_stat_activity` names the connection.
    - `connect_timeout=10` seconds, `keepalives_idle=30` seconds and `tcp_user_timeout=30000`
      milliseconds, so that a dead server is noticed within half a minute.
    - orjson for the JSON of the caller's own statements too.

    `settings` are parameters of `psycopg.connect`, each of which overrides ours. So does what the
    DSN says, and for parameters of libpq what a service file or the environment (PGAPPNAME,
    PGCONNECT_TIMEOUT) says.
    """
    conn = Connection[Any].connect(dsn, **_settings(dsn, pooler, settings))
    _use_orjson(conn)
    return conn


async def connect_async(dsn: str, *, pooler: bool = False, **settings: Any) -> AsyncConnection[Any]:
    """Open an asyncio connection with the settings of `connect`."""
    conn = await AsyncConnection[Any].connect(dsn, **_settings(dsn, pooler, settings))
    _use_orjson(conn)
    return conn


def open_pool(
    dsn: str,
    *,
    min_size: int = 1,
    max_size: int = 10,
    pooler: bool = False,
    pool_settings: Mapping[str, Any] | None = None,
    **settings: Any,
) -> ConnectionPool[Connection[Any]]:
    """Open a pool of blocking connections with the settings of `connect`.

    - `check`: a connection that the server has hung up on is replaced before it is lent. Such a
      one has something to read, which the machine itself knows: it costs no round trip.
    - `max_idle=300` and `max_lifetime=3600` seconds, so that the pool follows a failover and a
      server's memory does not grow with old sessions.
    - `reconnect_timeout=5` seconds, after which a pool that cannot connect begins anew. It pauses
      twice as long after each attempt; psycopg's own 300 may add as much again to an outage.
    - `timeout=30` seconds to wait for a free connection, then `psycopg_pool.PoolTimeout`.
    - Of the connections that are free the one that was given back last is lent first.

    `pool_settings` are parameters of `psycopg_pool.ConnectionPool`, each of which overrides
    ours. The pool is open when it is returned; use it as a context manager or close it.
    """
    return BlockingPool(
        dsn,
        kwargs=_settings(dsn, pooler, settings),
        min_size=min_size,
        max_size=max_size,
        open=True,
        **_pool_settings(_use_orjson, _check, pool_settings),
    )


async def open_pool_async(
    dsn: str,
    *,
    min_size: int = 1,
    max_size: int = 10,
    pooler: bool = False,
    pool_settings: Mapping[str, Any] | None = None,
    **settings: Any,
) -> AsyncConnectionPool[AsyncConnection[Any]]:
    """Open a pool of asyncio connections with the settings of `open_pool`."""
    pool = AsyncioPool(
        dsn,
        kwargs=_settings(dsn, pooler, settings),
        min_size=min_size,
        max_size=max_size,
        open=False,
        **_pool_settings(_use_orjson_async, _check_async, pool_settings),
    )
    await pool.open()
    return pool


def _pool_settings(
    configure: object, check: object, overrides: Mapping[str, Any] | None
) -> dict[str, Any]:
    ours = {
        "configure": configure,
        "check": check,
        "max_idle": 300,
        "max_lifetime": 3600,
        "reconnect_timeout": 5,
        "timeout": 30,
    }
    return {**ours, **(overrides or {})}


def _check(conn: Connection[Any]) -> None:
    if _has_something_to_read(conn):
        ConnectionPool.check_connection(conn)


async def _check_async(conn: AsyncConnection[Any]) -> None:
    if _has_something_to_read(conn):
        await AsyncConnectionPool.check_connection(conn)


def _has_something_to_read(conn: Connection[Any] | AsyncConnection[Any]) -> bool:
    # An idle server says nothing, unless it hangs up or has a notice. Where the system has no
    # poll, the answer is that it may have.
    if not hasattr(select, "poll"):
        return True
    poll: select.poll | None = conn.__dict__.get(_POLL)
    if poll is None:
        poll = conn.__dict__[_POLL] = select.poll()
        poll.register(conn.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _use_orjson(conn: Connection[Any] | AsyncConnection[Any]) -> None:
    set_json_dumps(orjson.dumps, context=conn)
    set_json_loads(orjson.loads, context=conn)


async def _use_orjson_async(conn: AsyncConnection[Any]) -> None:
    _use_orjson(conn)


@overload
def transaction(conn: Connection[Any]) -> AbstractContextManager[None]: ...
@overload
def transaction(conn: AsyncConnection[Any]) -> AbstractAsyncContextManager[None]: ...
def transaction(
    conn: Connection[Any] | AsyncConnection[Any],
) -> AbstractContextManager[None] | AbstractAsyncContextManager[None]:
    """Make what happens in a block commit together or not at all.

    `with transaction(conn):` on a blocking connection, `async with transaction(conn):` on the
    other. Like psycopg's `conn.transaction()`, a savepoint when a transaction is open already.
    Where psycopg leaves quietly, with nothing written, after a statement failed in the block
    and its error was swallowed, this raises `TransactionAborted`.
    """
    return _async_block(conn) if isinstance(conn, AsyncConnection) else _block(blocking(conn))


@contextmanager
def _block(conn: Connection[Any]) -> Generator[None, None, None]:
    with conn.transaction():
        yield
        _refuse_aborted(conn)


@asynccontextmanager
async def _async_block(conn: AsyncConnection[Any]) -> AsyncGenerator[None, None]:
    async with conn.transaction():
        yield
        _refuse_aborted(conn)


def _refuse_aborted(conn: Connection[Any] | AsyncConnection[Any]) -> None:
    if conn.info.transaction_status is TransactionStatus.INERROR:
        raise TransactionAborted(TransactionAborted.__doc__)
