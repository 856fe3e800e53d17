"""Every migration can be taken back, and leaves nothing behind when it is."""

from __future__ import annotations

from typing import Any

from psycopg import Connection
from yoyo import get_backend, read_migrations

from deploys import IDS, MIGRATIONS, applied, atomic_url, objects
from runstore.embedded import Server
from schema_dump import FILE, document, dump


def test_up_down_and_up_again_makes_the_same_schema_at_every_step(
    server: Server, dbname: str, conn: Connection[Any]
) -> None:
    dsn = server.dsn(dbname)
    migrations = read_migrations(str(MIGRATIONS))
    assert [migration.id for migration in migrations] == IDS

    with get_backend(atomic_url(server, dbname)) as backend:
        empty = objects(conn)
        dumps: list[str | None] = [None]
        for migration in migrations:
            backend.apply_one(migration)
            dumps.append(dump(server, dsn))

        for number, migration in reversed(list(enumerate(migrations, 1))):
            backend.rollback_one(migration)
            if number > 1:
                assert dump(server, dsn) == dumps[number - 1], f"{migration.id} went back wrongly"
            backend.apply_one(migration)
            assert dump(server, dsn) == dumps[number], f"{migration.id} came again otherwise"
            backend.rollback_one(migration)
        assert objects(conn) == empty == set()

        for migration in migrations:
            backend.apply_one(migration)
    assert dump(server, dsn) == dumps[-1]
    assert applied(conn) == IDS


def test_the_committed_schema_is_what_the_migrations_make(
    server: Server, shared_database: str
) -> None:
    # One text for all versions: what differs between them is not part of it.
    assert FILE.read_text(encoding="utf-8") == document(server, shared_database), (
        "docs/schema.sql is stale: run scripts/dump-schema"
    )
