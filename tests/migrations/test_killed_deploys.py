"""A deploy dies between any two statements, and the next one finds nothing half done."""

from __future__ import annotations

import signal
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection
from yoyo import get_backend, read_migrations

from deploys import (
    IDS,
    MIGRATIONS,
    NewDatabase,
    applied,
    atomic_url,
    finish,
    log,
    objects,
    start_yoyo,
    succeed,
    wait_until,
    write,
    yoyo,
)
from runstore.embedded import Server


def run_killed(command: str, url: str, folder: Path, statements: int) -> bool:
    """Run a command that dies after so many statements, and answer whether it came to that."""
    status, said = yoyo(command, url, folder, dies_after=statements)
    assert status in (0, -signal.SIGKILL), said
    return status != 0


def is_alone(id: str) -> bool:
    """Tell whether a migration has no transaction around it."""
    text = (MIGRATIONS / f"{id}.sql").read_text(encoding="utf-8")
    return text.startswith("-- transactional: false")


def test_a_deploy_killed_between_any_two_statements_leaves_whole_migrations(
    server: Server, dbname: str, conn: Connection[Any], new_database: NewDatabase
) -> None:
    whole: list[set[str]] = []
    clean = new_database()
    with psycopg.connect(server.dsn(clean), autocommit=True) as clean_conn:
        whole.append(objects(clean_conn))
        with get_backend(atomic_url(server, clean)) as backend:
            for migration in read_migrations(str(MIGRATIONS)):
                backend.apply_one(migration)
                whole.append(objects(clean_conn))

    url = atomic_url(server, dbname)
    statements = 0
    done = 0
    while run_killed("apply", url, MIGRATIONS, statements):
        ids = applied(conn)
        assert ids == IDS[: len(ids)]
        left = objects(conn)
        # An index that is made concurrently may be there before it is recorded: the next deploy
        # makes it anew.
        early = [whole[len(ids) + 1]] if ids != IDS and is_alone(IDS[len(ids)]) else []
        assert left in [whole[len(ids)], *early]
        statements += 1
        if len(ids) > done:
            # It died right after a commit. Begin again, within the next migration.
            assert len(ids) == done + 1
            done += 1
            statements = 0

    assert done == len(IDS)
    assert applied(conn) == IDS
    assert objects(conn) == whole[-1]
    assert sorted(log(conn)) == [("apply", id) for id in IDS]


def test_a_concurrent_index_survives_a_kill_at_any_statement(
    server: Server, dbname: str, conn: Connection[Any], tmp_path: Path
) -> None:
    write(tmp_path, "x-0001", "CREATE TABLE t (id integer);", "DROP TABLE t;")
    write(
        tmp_path,
        "x-0002",
        "-- transactional: false\n-- depends: x-0001\n"
        "DROP INDEX CONCURRENTLY IF EXISTS t_id_idx;\n"
        "CREATE INDEX CONCURRENTLY t_id_idx ON t (id);\n",
        "DROP INDEX CONCURRENTLY IF EXISTS t_id_idx;\n",
    )
    states: set[tuple[int, bool]] = set()

    def state() -> tuple[int, bool]:
        found = conn.execute("SELECT to_regclass('t_id_idx')").fetchone() != (None,)
        return len(applied(conn)), found

    url = atomic_url(server, dbname)
    for command in ("apply", "rollback"):
        for statements in count():
            conn.execute("DROP INDEX IF EXISTS t_id_idx")
            if applied(conn):
                conn.execute("DELETE FROM _yoyo_migration WHERE migration_id = 'x-0002'")
            if command == "rollback":
                succeed("apply", url, tmp_path)
            killed = run_killed(command, url, tmp_path, statements)
            states.add(state())
            if not killed:
                break
            succeed("apply", url, tmp_path)
            assert state() == (2, True)

    # Recorded without being there is the one state that no later deploy would mend.
    assert states == {(0, False), (1, False), (1, True), (2, True)}


def test_a_deploy_killed_within_a_statement_lets_the_next_one_in(
    server: Server, dbname: str, conn: Connection[Any], tmp_path: Path
) -> None:
    url = atomic_url(server, dbname)
    write(tmp_path, "x-0001", "CREATE TABLE t (id integer); SELECT pg_sleep(600);")
    process = start_yoyo("apply", url, tmp_path)
    wait_until(lambda: sleeps(conn))
    process.kill()
    status, _ = finish(process)
    assert status < 0

    write(tmp_path, "x-0001", "CREATE TABLE t (id integer);")
    succeed("apply", url + "&lock_wait=20", tmp_path)

    assert applied(conn) == ["x-0001"]


def sleeps(conn: Connection[Any]) -> bool:
    answer = conn.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event = 'PgSleep'"
    ).fetchone()
    return answer == (1,)
