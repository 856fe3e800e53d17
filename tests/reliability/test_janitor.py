"""The janitor of `scripts/roles.sql` purges and erases, and nobody who writes runs does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg import Connection
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import TupleRow

from connections import BlockingCaller, Connect
from contents import contents
from logins import Logins
from old_runs import LONG_AGO, add_children, make_old_run, make_run
from runstore import (
    NewRunFork,
    erase_subject,
    fork_run,
    hold_run,
    purge_run_events,
    purge_runs,
    purge_usage,
    release_run_hold,
)
from usage_factories import make_quota, record, reserve

SUBJECT = "zoe"

Conn = Connection[TupleRow]


def purge_all_events(conn: Conn) -> object:
    return purge_run_events(conn, LONG_AGO)


def purge_all(conn: Conn) -> object:
    return purge_runs(conn, datetime.now(UTC))


def purge_all_usage(conn: Conn) -> object:
    return purge_usage(conn, datetime.now(UTC))


def erase_zoe(conn: Conn) -> object:
    return erase_subject(conn, SUBJECT)


@pytest.mark.owner
@pytest.mark.parametrize(
    "work",
    [
        pytest.param(purge_all_events, id="purge_run_events"),
        pytest.param(purge_all, id="purge_runs"),
        pytest.param(purge_all_usage, id="purge_usage"),
        pytest.param(erase_zoe, id="erase_subject"),
    ],
)
def test_the_janitor_does_it_and_the_writer_cannot(
    connect: Connect, logins: Logins, migrated_dbname: str, work: Callable[[Conn], object]
) -> None:
    call = BlockingCaller(connect(), in_transaction=False)
    make_quota(call, subject_id=SUBJECT)
    record(call, subject_id=SUBJECT)
    reserve(call, subject_id=SUBJECT)
    add_children(call, make_old_run(call, subject_id=SUBJECT))
    shared = make_old_run(call, subject_id=SUBJECT)
    call(fork_run, shared, 2, NewRunFork(subject_id="other"))
    before = contents(call)

    with psycopg.connect(logins.dsn("writer", migrated_dbname), autocommit=True) as writer:
        with pytest.raises(InsufficientPrivilege):
            work(writer)
        assert contents(call) == before
    with psycopg.connect(logins.dsn("janitor", migrated_dbname), autocommit=True) as janitor:
        work(janitor)
    assert contents(call) != before


def test_the_writer_holds_runs(connect: Connect) -> None:
    conn = connect()
    run = make_run(BlockingCaller(conn, in_transaction=False))

    hold_run(conn, run.id, "audit", held_by="legal")
    hold_run(conn, run.id, "audit")
    release_run_hold(conn, run.id, "audit")
