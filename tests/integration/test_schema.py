"""check_schema, which says whether a database is migrated to what this version expects."""

from __future__ import annotations

from typing import LiteralString

import pytest

from connections import Caller, Kind, caller
from deploys import IDS
from runstore import SchemaCheck, check_schema
from runstore.embedded import Server

NEWER = """
    INSERT INTO _yoyo_migration (migration_hash, migration_id) VALUES ('a', 'runstore-9999-newer')
"""


def test_a_migrated_database_is_as_expected(call: Caller) -> None:
    found = call(check_schema)

    assert found == SchemaCheck(bookkeeping="public", applied=IDS, missing=[], unknown=[])
    assert found.ok
    assert found.message == f"The database has all {len(IDS)} migrations of this version."


@pytest.mark.owner
def test_missing_and_unknown_migrations_are_named(call: Caller) -> None:
    call.execute("DELETE FROM _yoyo_migration WHERE migration_id = %s", [IDS[1]])
    call.execute(
        "INSERT INTO _yoyo_migration (migration_hash, migration_id)"
        " VALUES ('a', 'runstore-9999-newer'), ('b', 'host-application-0001')"
    )

    found = call(check_schema)

    assert (found.missing, found.unknown) == ([IDS[1]], ["runstore-9999-newer"])
    assert not found.ok
    assert found.message == (f"Missing: {IDS[1]}. Unknown to this version: runstore-9999-newer.")


@pytest.mark.owner
@pytest.mark.parametrize(
    ("statement", "missing", "unknown"),
    [
        ("DELETE FROM _yoyo_migration", IDS, []),
        (NEWER, [], ["runstore-9999-newer"]),
    ],
)
def test_either_one_is_not_ok(
    call: Caller, statement: LiteralString, missing: list[str], unknown: list[str]
) -> None:
    call.execute(statement)

    found = call(check_schema)

    assert (found.missing, found.unknown, found.ok) == (missing, unknown, False)


@pytest.mark.owner
def test_a_database_without_bookkeeping_was_never_migrated(call: Caller) -> None:
    call.execute("DROP TABLE _yoyo_migration")

    found = call(check_schema)

    assert found == SchemaCheck(bookkeeping=None, applied=[], missing=IDS, unknown=[])
    assert found.message == (
        "No migration is recorded: there is no table _yoyo_migration on the search path."
        f" Missing: {', '.join(IDS)}."
    )


@pytest.mark.owner
def test_the_bookkeeping_is_found_wherever_it_lies_on_the_search_path(call: Caller) -> None:
    call.execute('CREATE SCHEMA "App"')
    call.execute('ALTER TABLE _yoyo_migration SET SCHEMA "App"')
    assert call(check_schema).bookkeeping is None

    call.execute('SET LOCAL search_path = public, "App"')
    found = call(check_schema)

    assert (found.bookkeeping, found.ok) == ("App", True)


def test_select_on_the_bookkeeping_is_all_that_it_takes(
    connection_kind: Kind, server: Server, shared_dbname: str
) -> None:
    with caller(connection_kind, server.dsn(shared_dbname), rolled_back=True) as call:
        call.execute("CREATE ROLE runstore_test_checker")
        call.execute("GRANT SELECT ON _yoyo_migration TO runstore_test_checker")
        call.execute("SET LOCAL ROLE runstore_test_checker")
        call.execute("SET LOCAL transaction_read_only = on")

        assert call(check_schema).ok
