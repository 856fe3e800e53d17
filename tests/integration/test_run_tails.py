"""Walking a log and following it: everything once, in order, and then the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import product
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from psycopg_pool import PoolClosed

from connections import Connect
from runstore import (
    InvalidPayload,
    NewChatRun,
    NewFeatureRun,
    NewRunFork,
    NotFound,
    append_run_events,
    cancel_run,
    complete_run,
    create_feature_run,
    create_run,
    delete_run,
    fail_run,
    fork_run,
    iter_run_events,
    new_run_id,
    start_run,
    tail_run_events,
    update_feature_run_phase,
)
from streams import (
    CONNECTIONS,
    POOLS,
    SOURCES,
    Follower,
    Source,
    Streams,
    numbers,
    streams,
    tokens,
    wait_until,
)

EVERY_SOURCE = pytest.mark.parametrize("source", SOURCES, ids=str)
POOL = pytest.mark.parametrize("source", POOLS, ids=str)
CONNECTION = pytest.mark.parametrize("source", CONNECTIONS, ids=str)

# Polls of tests: soon, or so late that a test would fail before.
SOON: dict[str, float] = {"min_poll": 0.005, "max_poll": 0.05}
NEVER: dict[str, float] = {"min_poll": 3600, "max_poll": 3600}


@pytest.fixture
def opened(source: Source, database: str) -> Iterator[Streams]:
    with streams(source, database) as opened:
        yield opened


@pytest.fixture
def conn(connect: Connect) -> psycopg.Connection[Any]:
    return connect()


def run_of_events(conn: psycopg.Connection[Any], count: int) -> UUID:
    run_id = create_run(conn, NewChatRun()).id
    if count:
        append_run_events(conn, run_id, tokens(count))
    return run_id


# iter_run_events


@CONNECTION
def test_a_walk_yields_each_event_once(opened: Streams, conn: psycopg.Connection[Any]) -> None:
    run_id = run_of_events(conn, 7)

    for page_size, after in product([1, 2, 3, 7, 8, 200], [0, 3, 7, 8]):
        walk = list(opened.iterate(run_id, after=after, page_size=page_size))
        assert numbers(walk) == list(range(after + 1, 8))
        assert [event.payload for event in walk] == [{"n": n} for n in range(after, 7)]


@CONNECTION
def test_a_walk_of_a_fork_yields_what_it_shares_and_its_own(
    opened: Streams, conn: psycopg.Connection[Any]
) -> None:
    origin = run_of_events(conn, 5)
    fork = fork_run(conn, origin, 3, NewRunFork()).id
    append_run_events(conn, fork, tokens(2, start=100))

    walk = list(opened.iterate(fork, page_size=2))

    assert numbers(walk) == [1, 2, 3, 4, 5]
    assert [event.payload for event in walk] == [{"n": n} for n in (0, 1, 2, 100, 101)]


@CONNECTION
def test_a_walk_reads_one_page_at_a_time_and_stops_at_what_is_there(
    opened: Streams, conn: psycopg.Connection[Any]
) -> None:
    run_id = run_of_events(conn, 2)

    walk = opened.iterate(run_id, page_size=2)
    assert numbers([next(walk)]) == [1]
    # The second page is not read yet, and the connection is free.
    append_run_events(conn, run_id, tokens(1))
    opened.execute("SELECT 1")
    # The first page said that it was the last, so that this one is for the next walk.
    assert numbers(list(walk)) == [2]

    walk = opened.iterate(run_id, page_size=1)
    assert numbers([next(walk)]) == [1]
    append_run_events(conn, run_id, tokens(1))
    assert numbers(list(walk)) == [2, 3, 4]


@CONNECTION
def test_a_walk_of_an_unknown_run_is_not_found(opened: Streams) -> None:
    with pytest.raises(NotFound):
        list(opened.iterate(new_run_id()))


@EVERY_SOURCE
def test_a_walk_or_a_tail_that_cannot_be_is_refused_at_the_call(opened: Streams) -> None:
    source: Any = opened.source
    functions: list[Any] = [iter_run_events, tail_run_events]
    refused: list[tuple[str, int]] = [("after", -1), ("page_size", 0), ("page_size", 10_001)]
    for name, value in refused:
        for function in functions:
            with pytest.raises(InvalidPayload) as refusal:
                function(source, new_run_id(), **{name: value})
            assert refusal.value.path == name
    for min_poll, max_poll in [(0, 1), (-1, 1), (2, 1), (1, float("inf"))]:
        with pytest.raises(InvalidPayload, match="min_poll"):
            tail_run_events(source, new_run_id(), min_poll=min_poll, max_poll=max_poll)


# tail_run_events


@EVERY_SOURCE
def test_a_tail_of_an_ended_run_yields_all_of_it(
    opened: Streams, conn: psycopg.Connection[Any]
) -> None:
    run_id = run_of_events(conn, 5)
    complete_run(conn, run_id)

    for page_size, after in product([1, 3, 500], range(8)):
        tail = list(opened.tail(run_id, after=after, page_size=page_size, **NEVER))
        assert numbers(tail) == list(range(after + 1, 7))


@EVERY_SOURCE
def test_a_tail_follows_a_run_from_before_its_first_event_to_its_end(
    opened: Streams, conn: psycopg.Connection[Any]
) -> None:
    run_id = run_of_events(conn, 0)
    follower = Follower(opened, run_id, page_size=4, **SOON)

    start_run(conn, run_id)
    wait_until(lambda: numbers(follower.seen) == [1])
    append_run_events(conn, run_id, tokens(10))
    wait_until(lambda: numbers(follower.seen) == list(range(1, 12)))
    assert not follower.ended
    complete_run(conn, run_id, events=tokens(2))

    assert numbers(follower.all()) == list(range(1, 15))
    assert follower.seen == list(iter_run_events(conn, run_id))
    assert follower.seen[-1].type == "run.completed"


@POOL
@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_a_tail_ends_however_the_run_ends(
    opened: Streams, conn: psycopg.Connection[Any], end: str
) -> None:
    run_id = run_of_events(conn, 1)
    follower = Follower(opened, run_id, **SOON)
    wait_until(lambda: bool(follower.seen))

    if end == "failed":
        fail_run(conn, run_id, error="e")
    else:
        cancel_run(conn, run_id)

    assert [event.type for event in follower.all()] == ["token", f"run.{end}"]


@POOL
def test_a_tail_follows_a_pipeline_and_resumes_after_any_event(
    opened: Streams, conn: psycopg.Connection[Any]
) -> None:
    run_id = create_feature_run(conn, NewFeatureRun(name="ship-feature")).id
    followers = [Follower(opened, run_id, after=after, **SOON) for after in range(5)]
    for phase in ("build", "test", "release"):
        update_feature_run_phase(conn, run_id, phase)
    complete_run(conn, run_id)

    log = list(iter_run_events(conn, run_id))
    for after, follower in enumerate(followers):
        assert follower.all() == log[after:]


@POOL
def test_a_tail_of_a_fork_yields_what_it_shares_and_its_own(
    opened: Streams, conn: psycopg.Connection[Any]
) -> None:
    origin = run_of_events(conn, 5)
    fork = fork_run(conn, origin, 3, NewRunFork()).id
    follower = Follower(opened, fork, page_size=2, **SOON)
    append_run_events(conn, origin, tokens(3))
    append_run_events(conn, fork, tokens(2, start=100))
    complete_run(conn, fork)

    assert numbers(follower.all()) == [1, 2, 3, 4, 5, 6]
    assert [event.payload for event in follower.seen][:5] == [{"n": n} for n in (0, 1, 2, 100, 101)]


@pytest.mark.owner
@EVERY_SOURCE
def test_a_tail_of_an_unknown_or_deleted_run_is_not_found(
    opened: Streams, conn: psycopg.Connection[Any]
) -> None:
    with pytest.raises(NotFound):
        list(opened.tail(new_run_id()))

    run_id = run_of_events(conn, 1)
    tail = opened.tail(run_id, page_size=1, **SOON)
    next(tail)
    complete_run(conn, run_id)
    delete_run(conn, run_id)
    with pytest.raises(NotFound):
        next(tail)


# What a tail costs


def requests(opened: Streams) -> int:
    """The number of connections that the pool was asked for: one for each statement of a tail."""
    stats: dict[str, int] = opened.source.get_stats()
    return stats.get("requests_num", 0)


@pytest.mark.direct(reason="it looks at its session's last statement")
@POOL
def test_an_idle_tail_sends_one_cheap_statement_for_each_poll(
    opened: Streams, conn: psycopg.Connection[Any]
) -> None:
    run_id = run_of_events(conn, 1)
    started, before = time.monotonic(), requests(opened)
    follower = Follower(opened, run_id, min_poll=0.02, max_poll=0.16)
    # A page, and then polls after 20, 40, 80, 160 and 160 ms.
    wait_until(lambda: requests(opened) - before >= 6)
    passed = time.monotonic() - started
    answer = conn.execute(
        "SELECT query FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    ).fetchall()

    assert passed > 0.02 + 0.04 + 0.08 + 0.16 + 0.16
    assert [query.partition("\n")[0] for (query,) in answer] == ["-- name: get_run_head"]
    complete_run(conn, run_id)
    follower.all()


@POOL
def test_an_event_makes_a_tail_look_often_again(
    opened: Streams, conn: psycopg.Connection[Any]
) -> None:
    run_id = run_of_events(conn, 0)
    before = requests(opened)
    follower = Follower(opened, run_id, min_poll=0.005, max_poll=1.5)
    # By then it waits for 1.28 s, and the next time it would for 1.5 s.
    wait_until(lambda: requests(opened) - before >= 9)
    append_run_events(conn, run_id, tokens(1))
    wait_until(lambda: bool(follower.seen))

    started = time.monotonic()
    complete_run(conn, run_id)
    follower.all()
    assert time.monotonic() - started < 1


# Pools


@POOL
def test_a_tail_holds_no_connection_while_it_waits_or_its_event_is_handled(
    opened: Streams, conn: psycopg.Connection[Any]
) -> None:
    run_id = run_of_events(conn, 2)

    # The pool has one connection.
    tail = opened.tail(run_id, **NEVER)
    for _ in range(2):
        next(tail)
        opened.execute("SELECT 1")
    tail.close()

    follower = Follower(opened, run_id, **SOON)
    wait_until(lambda: len(follower.seen) == 2)
    for _ in range(20):
        opened.execute("SELECT 1")
    complete_run(conn, run_id)
    assert numbers(follower.all()) == [1, 2, 3]


@POOL
def test_a_tail_needs_no_session(
    source: Source, database: str, conn: psycopg.Connection[Any]
) -> None:
    # As behind a pooler in transaction mode: what a session knew is gone at every statement.
    run_id = run_of_events(conn, 3)
    with streams(source, database, pooler=True) as opened:
        follower = Follower(opened, run_id, page_size=1, **SOON)
        for _ in range(20):
            opened.execute("SELECT 1")
        prepared = opened.execute("SELECT count(*) FROM pg_prepared_statements")
        complete_run(conn, run_id)
        assert numbers(follower.all()) == [1, 2, 3, 4]
    assert prepared == [(0,)]


@POOL
def test_a_tail_ends_when_its_pool_is_closed(
    opened: Streams, conn: psycopg.Connection[Any]
) -> None:
    run_id = run_of_events(conn, 1)
    follower = Follower(opened, run_id, **SOON)
    wait_until(lambda: bool(follower.seen))

    opened.close()

    with pytest.raises(PoolClosed):
        follower.all()


# Bare connections


@pytest.mark.direct(reason="it ends its own session by its number")
@CONNECTION
def test_a_tail_on_a_dead_connection_fails(opened: Streams, conn: psycopg.Connection[Any]) -> None:
    run_id = run_of_events(conn, 1)
    [(pid,)] = opened.execute("SELECT pg_backend_pid()")
    tail = opened.tail(run_id, **SOON)
    next(tail)
    conn.execute("SELECT pg_terminate_backend(%s)", (pid,))
    with pytest.raises(psycopg.OperationalError):
        next(tail)


@CONNECTION
def test_a_tail_reads_in_its_callers_transaction_and_does_not_wait_there(
    source: Source, database: str, conn: psycopg.Connection[Any]
) -> None:
    run_id = run_of_events(conn, 2)
    with streams(source, database, autocommit=False) as opened:
        opened.execute("SELECT 1")
        tail = opened.tail(run_id, page_size=1)
        assert numbers([next(tail), next(tail)]) == [1, 2]
        with pytest.raises(psycopg.ProgrammingError, match="in a transaction"):
            next(tail)
        complete_run(conn, run_id)
        assert numbers(list(opened.tail(run_id, page_size=1))) == [1, 2, 3]
        assert opened.source.info.transaction_status is TransactionStatus.INTRANS


@CONNECTION
def test_a_tail_leaves_no_transaction_open(
    source: Source, database: str, conn: psycopg.Connection[Any]
) -> None:
    run_id = run_of_events(conn, 1)
    with streams(source, database, autocommit=False) as opened:
        tail = opened.tail(run_id, **SOON)
        next(tail)
        assert opened.source.info.transaction_status is TransactionStatus.IDLE
        tail.close()
        assert opened.source.info.transaction_status is TransactionStatus.IDLE


@EVERY_SOURCE
def test_a_closed_tail_leaves_its_source_usable(
    opened: Streams, conn: psycopg.Connection[Any]
) -> None:
    run_id = run_of_events(conn, 5)
    for taken in range(6):
        tail = opened.tail(run_id, page_size=2, **SOON)
        assert numbers([next(tail) for _ in range(taken)]) == list(range(1, taken + 1))
        tail.close()
        assert opened.execute("SELECT 1") == [(1,)]
