"""Every public write, failing before and after each of its round trips, and then repeated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import psycopg
import pytest
from pytest_postgresql.executors import NoopExecutor

from conftest import new_database
from connections import Caller, Kind
from contents import Contents, contents
from fault_connections import Fault, Side, open_faulty
from invariants import broken
from runstore import NotFound, StaleWrite, transaction
from runstore.embedded import Server
from sessions import Session, open_session
from writes import WRITES, Arguments, Write, public_functions

EVERY = pytest.mark.parametrize("write", WRITES, ids=str)
SIDES: tuple[Side, ...] = ("before", "after")

# What a call left: how many rows of each table came, and how many went.
Shape = dict[str, tuple[int, int]]


@pytest.fixture(scope="module")
def laboratory(server: Server, migrated: NoopExecutor) -> Iterator[str]:
    """The DSN of a database that these tests empty, since a clone for each would take too long."""
    with new_database(server, migrated.template_dbname) as name:
        yield server.dsn(name)


@pytest.fixture
def observer(laboratory: str) -> Iterator[Caller]:
    with open_session("blocking", laboratory) as observer:
        yield observer


@pytest.fixture
def healthy(laboratory: str, connection_kind: Kind) -> Iterator[Session]:
    """A connection of the kind at hand, on which nothing fails."""
    with open_session(connection_kind, laboratory) as session:
        yield session


def arrange(observer: Caller, write: Write) -> Arguments:
    """Empty the database and make what a write needs."""
    observer.execute("DELETE FROM runstore.run_segments")
    for table in ("runs", "usage_reservations", "usage_logs", "quotas", "prices"):
        statement: Any = f"DELETE FROM runstore.{table}"
        observer.execute(statement)
    return write.arrange(observer)


def perform(session: Session, write: Write, arguments: Arguments, *, in_block: bool) -> Any:
    args, kwargs = arguments
    block = session.block(transaction(session.conn)) if in_block else nullcontext()
    with block:
        return session(write.function, *args, **kwargs)


def stored(observer: Caller, write: Write) -> Contents:
    """Return what is stored, but for what a second call moves on all the same."""
    rows = contents(observer)
    # A counter in which nothing is counted is as good as none; calls make some before they count.
    rows["usage_counters"] = [
        row for row in rows["usage_counters"] if row["used"] or row["held"] or row["carried"]
    ]
    return {
        table: [{k: v for k, v in row.items() if k not in write.moving} for row in each]
        for table, each in rows.items()
    }


def shape(before: Contents, after: Contents) -> Shape:
    shapes: Shape = {}
    for table, rows in after.items():
        was, now = (Counter(map(repr, each)) for each in (before[table], rows))
        if was != now:
            shapes[table] = ((now - was).total(), (was - now).total())
    return shapes


def said(write: Write, answer: Any) -> Any:
    """Return an answer but for what a second call moves on all the same."""
    if not write.moving:
        return answer
    rows = answer if isinstance(answer, list) else [answer]
    return [{k: v for k, v in row if k not in write.moving} for row in rows]


def repeat(session: Session, write: Write, arguments: Arguments, *, happened: bool) -> Any:
    """Call a write again, on a healthy connection; `happened` says whether it has been done."""
    errors = {"NotFound": NotFound, "StaleWrite": StaleWrite}
    if happened and write.repeated in errors:
        with pytest.raises(errors[write.repeated]) as raised:
            perform(session, write, arguments, in_block=False)
        return str(raised.value)
    answer = perform(session, write, arguments, in_block=False)
    if happened and write.repeated == "nothing":
        assert answer == []
    return said(write, answer)


def test_every_public_write_is_here() -> None:
    functions = public_functions()
    assert {write.name for write in WRITES} == {name for name in functions if functions[name]}


@EVERY
def test_a_repeated_write_answers_as_the_first(
    laboratory: str, observer: Caller, healthy: Session, write: Write
) -> None:
    arguments = arrange(observer, write)
    before = stored(observer, write)
    first = said(write, perform(healthy, write, arguments, in_block=False))
    after = stored(observer, write)
    assert write.moving or shape(before, after)

    second = repeat(healthy, write, arguments, happened=True)
    assert write.repeated != "the same" or second == first
    assert stored(observer, write) == after
    assert broken(observer) == {}


@EVERY
@pytest.mark.parametrize("in_block", [False, True], ids=["alone", "in a block"])
def test_a_write_that_fails_anywhere_is_done_once_when_it_is_repeated(  # noqa: PLR0917 - fixtures.
    laboratory: str,
    observer: Caller,
    healthy: Session,
    connection_kind: Kind,
    write: Write,
    in_block: bool,
) -> None:
    arguments = arrange(observer, write)
    before, fault = stored(observer, write), Fault()
    with open_faulty(connection_kind, laboratory, fault) as session:
        perform(session, write, arguments, in_block=in_block)
        trips = fault.trips
    done = shape(before, stored(observer, write))
    assert trips >= (3 if in_block else 1)

    for trip in range(1, trips + 1):
        for side in SIDES:
            arguments = arrange(observer, write)
            before, wrong = stored(observer, write), broken(observer)
            with (
                open_faulty(connection_kind, laboratory, Fault(trip, side)) as session,
                pytest.raises(psycopg.OperationalError, match="connection is lost"),
            ):
                perform(session, write, arguments, in_block=in_block)

            # All of it was written or nothing, and all of it when the last answer was lost.
            left = stored(observer, write)
            assert shape(before, left) in ({}, done)
            happened = left != before
            last = (trip, side) == (trips, "after")
            assert happened == last or write.moving
            assert broken(observer) == ({} if happened else wrong)

            answer = repeat(healthy, write, arguments, happened=happened)
            after = stored(observer, write)
            assert shape(before, after) == done
            assert not happened or after == left
            again = repeat(healthy, write, arguments, happened=True)
            assert write.repeated != "the same" or again == answer
            assert stored(observer, write) == after
            assert broken(observer) == {}
