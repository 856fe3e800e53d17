"""What docs/operations.md says of statements, errors and exit statuses is so."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import psycopg_pool
import pytest

from connections import wait_until_blocked
from factories import new_feature_run
from runstore import (
    NewCtaEvent,
    NewReservation,
    RunstoreError,
    create_cta_event,
    create_feature_run,
    errors,
    get_run,
    heartbeat_run,
    is_retryable,
    reserve_usage,
)
from runstore.cli._statuses import Status
from runstore.embedded import Server, find_binaries, throwaway_server

Conn = psycopg.Connection[Any]

TEXT = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
BLOCKS: list[Any] = re.findall(r"^```sql\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
QUERIES = [block for block in BLOCKS if block.startswith("-- ")]
SETTINGS = [block for block in BLOCKS if block.startswith("ALTER ROLE")]
[DUMP, RESTORE] = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
STATES: list[tuple[str, str, str]] = re.findall(
    r"^\| (?:`(\w{5})` )?\| `(\w+)` \| (\w+) \|", TEXT, re.MULTILINE
)


@pytest.fixture
def conn(server: Server, migrated_dbname: str) -> Iterator[Conn]:
    """A superuser's connection, who sees all sessions."""
    with psycopg.connect(server.dsn(migrated_dbname), autocommit=True) as conn:
        yield conn


def shell(commands: str, server: Server, folder: Path, **variables: str) -> str:
    """Run commands of the page where this server is the one that PostgreSQL's programs find."""
    here = Path(sysconfig.get_path("scripts"))
    programs = server.bindir or find_binaries()
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env={
            "PATH": f"{here}:{programs}:{os.environ['PATH']}",
            "PGHOST": server.host,
            "PGPORT": str(server.port),
            "PGUSER": server.user,
            "PGPASSWORD": server.password,
            **variables,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_dump_is_restored_into_a_new_cluster(
    server: Server, migrated_dbname: str, tmp_path: Path
) -> None:
    dsn = server.dsn(migrated_dbname)
    with psycopg.connect(dsn, autocommit=True) as conn:
        run = create_feature_run(conn, new_feature_run())

    shell(DUMP, server, tmp_path, DATABASE_URL=dsn)
    with throwaway_server() as other:
        said = shell(RESTORE, other, tmp_path)
        with psycopg.connect(other.dsn("app"), autocommit=True) as conn:
            assert get_run(conn, run.id) == run
    assert "has all" in said.splitlines()[-1]


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_nothing_is_reported_when_all_is_well(query: Any, conn: Conn) -> None:
    assert conn.execute(query).fetchall() == []


def alert(words: str, *, at_once: str | None = None) -> Any:
    """Return the query whose comment has these words, without its patience of `at_once`."""
    [query] = [query for query in QUERIES if words in query.partition("\n")[0]]
    if at_once is not None:
        assert at_once in query
        query = query.replace(at_once, "0 seconds")
    return query


def test_a_silent_run_is_reported(conn: Conn) -> None:
    run = create_feature_run(conn, new_feature_run())
    [(id, *_)] = conn.execute(alert("said nothing", at_once="10 minutes")).fetchall()
    assert id == run.id


def test_an_overdue_hold_is_reported(conn: Conn) -> None:
    reserve_usage(conn, NewReservation(subject_id="somebody", amounts={"tokens": 1}))
    conn.execute("UPDATE runstore.usage_reservations SET expires_at = now() - interval '1 hour'")
    [(_, subject, holds, _)] = conn.execute(alert("Holds of usage")).fetchall()
    assert (subject, holds) == ("somebody", 1)


def test_an_overdue_question_is_reported(conn: Conn) -> None:
    run = create_feature_run(conn, new_feature_run())
    past = datetime.now(UTC) - timedelta(hours=1)
    create_cta_event(conn, NewCtaEvent(run_id=run.id, kind="choice", expires_at=past))
    [(_, questions, _)] = conn.execute(alert("Questions to a person")).fetchall()
    assert questions == 1


def test_an_open_transaction_and_who_waits_for_it_are_reported(
    conn: Conn, server: Server, migrated_dbname: str
) -> None:
    run = create_feature_run(conn, new_feature_run())
    dsn = server.dsn(migrated_dbname)
    with (
        ThreadPoolExecutor(1) as thread,
        psycopg.connect(dsn, autocommit=True) as waiter,
        psycopg.connect(dsn) as holder,
    ):
        heartbeat_run(holder, run.id)
        waiting = thread.submit(heartbeat_run, waiter, run.id)
        wait_until_blocked(conn)
        transactions = conn.execute(alert("open for a minute", at_once="1 minute")).fetchall()
        assert (holder.info.backend_pid, "heartbeat_run") in [
            (pid, name) for pid, *_, name in transactions
        ]
        [(pid, name, _, blocked_by)] = conn.execute(
            alert("waits for a lock", at_once="5 seconds")
        ).fetchall()
        assert (pid, name) == (waiter.info.backend_pid, "heartbeat_run")
        assert blocked_by == [holder.info.backend_pid]
        holder.rollback()
        waiting.result(10)


def test_the_limits_of_a_role_can_be_set(conn: Conn) -> None:
    [settings] = SETTINGS
    with conn.transaction(force_rollback=True):
        conn.execute(settings)


def test_every_error_of_the_library_is_explained() -> None:
    explained = re.findall(r"^\| `(\w+)` \| ", TEXT, re.MULTILINE)
    public = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, RunstoreError)
    }
    assert public - {"RunstoreError"} <= set(explained)


@pytest.mark.parametrize(("state", "name", "again"), STATES)
def test_an_error_of_the_driver_is_what_is_said_of_it(state: str, name: str, again: str) -> None:
    error: type[psycopg.Error]
    if state:
        error = psycopg.errors.lookup(state)
        assert error.__name__ == name
    else:
        error = getattr(psycopg, name, None) or getattr(psycopg_pool, name)
    assert is_retryable(error()).value == again


def test_every_exit_status_is_explained() -> None:
    explained = re.findall(r"^\| (\d+) \| ", TEXT, re.MULTILINE)
    assert explained == [str(status.value) for status in Status if status]
