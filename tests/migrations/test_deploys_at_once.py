"""Several deploys at once: one works, and the others wait for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import pytest
from psycopg import Connection

from deploys import (
    IDS,
    MIGRATIONS,
    applied,
    atomic_url,
    finish,
    log,
    start_yoyo,
    succeed,
    wait_until,
    write,
    yoyo,
)
from runstore.embedded import Server


@pytest.fixture
def url(server: Server, dbname: str) -> str:
    return atomic_url(server, dbname)


@pytest.fixture
def gate(conn: Connection[Any]) -> Iterator[Connection[Any]]:
    """A connection that holds the table `gate` until its transaction ends."""
    conn.execute("CREATE TABLE gate ()")
    conn.execute("BEGIN")
    conn.execute("LOCK TABLE gate")
    yield conn
    conn.rollback()


def sessions(conn: Connection[Any], condition: LiteralString) -> list[int]:
    """Number the server processes of yoyo for which a condition holds."""
    # Statistics are frozen within a transaction.
    conn.execute("SELECT pg_stat_clear_snapshot()")
    rows = conn.execute(
        "SELECT pid FROM pg_stat_activity"
        f" WHERE datname = current_database() AND application_name = 'yoyo' AND {condition}"
    )
    return [row[0] for row in rows]


AT_THE_GATE = "wait_event_type = 'Lock'"
WAITING_FOR_ITS_TURN = "state = 'idle' AND query LIKE '%advisory%' AND query NOT LIKE '%unlock%'"


@pytest.mark.parametrize("deploys", [4, 20])
def test_deploys_at_once_on_an_empty_database_all_succeed(
    url: str, conn: Connection[Any], deploys: int
) -> None:
    processes = [start_yoyo("apply", url, MIGRATIONS) for _ in range(deploys)]

    assert [finish(process) for process in processes] == [(0, "")] * deploys
    assert applied(conn) == IDS
    assert sorted(log(conn)) == [("apply", id) for id in IDS]


@pytest.mark.slow
def test_a_deploy_waits_for_one_that_takes_longer_than_yoyo_would_wait(
    url: str, conn: Connection[Any], tmp_path: Path
) -> None:
    write(tmp_path, "x-0001", "CREATE TABLE t (id integer); SELECT pg_sleep(12);")
    write(tmp_path, "x-0002", "-- depends: x-0001\nCREATE TABLE u (id integer);")
    started = time.monotonic()
    first = start_yoyo("apply", url, tmp_path)
    wait_until(lambda: bool(sessions(conn, "wait_event = 'PgSleep'")))
    second = start_yoyo("apply", url, tmp_path)

    status, said = finish(second)
    assert status == 0, said
    assert time.monotonic() - started > 12
    assert finish(first)[0] == 0
    assert log(conn) == [("apply", "x-0001"), ("apply", "x-0002")]


def test_a_waiting_deploy_does_not_hold_up_a_concurrent_index(
    url: str, gate: Connection[Any], tmp_path: Path
) -> None:
    write(tmp_path, "x-0001", "CREATE TABLE t (id integer); LOCK TABLE gate;")
    write(
        tmp_path,
        "x-0002",
        "-- transactional: false\n-- depends: x-0001\nCREATE INDEX CONCURRENTLY i ON t (id);",
    )
    first = start_yoyo("apply", url, tmp_path)
    wait_until(lambda: bool(sessions(gate, AT_THE_GATE)))
    second = start_yoyo("apply", f"{url}&lock_wait=50", tmp_path)
    wait_until(lambda: bool(sessions(gate, WAITING_FOR_ITS_TURN)))
    gate.rollback()

    assert finish(first) == (0, "")
    assert finish(second) == (0, "")
    assert applied(gate) == ["x-0001", "x-0002"]


def test_a_deploy_gives_up_after_its_time_and_names_who_it_waited_for(
    url: str, gate: Connection[Any], tmp_path: Path
) -> None:
    write(tmp_path, "x-0001", "LOCK TABLE gate;")
    first = start_yoyo("apply", url, tmp_path)
    wait_until(lambda: bool(sessions(gate, AT_THE_GATE)))
    [pid] = sessions(gate, AT_THE_GATE)

    status, said = yoyo("apply", f"{url}&lock_wait=0.5", "-v", tmp_path)
    assert status == 1
    assert f"Waiting up to 0.5 s for server process {pid}" in said
    assert f"another deploy holds the migration lock (server process {pid}); waited 0.5 s" in said

    # There is no lock to break but the session itself.
    status, said = yoyo("break-lock", url)
    assert status == 2
    assert f"SELECT pg_terminate_backend({pid})" in said

    gate.rollback()
    assert finish(first) == (0, "")
    succeed("break-lock", url)


@pytest.mark.parametrize("wait", ["long", "nan", "-1"])
def test_a_wait_that_is_no_number_of_seconds_is_refused(url: str, wait: str) -> None:
    status, said = yoyo("list", f"{url}&lock_wait={wait}", MIGRATIONS)

    assert status == 2
    assert f"lock_wait must be a number of seconds, not {wait!r}" in said
