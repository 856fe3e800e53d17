"""What each role may do, and that it may do nothing else: every act is tried."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, get_args

import psycopg
import pytest
from psycopg import Connection
from psycopg.errors import InsufficientPrivilege

from factories import new_feature_run
from logins import Logins, Role
from privileges import Privilege, needed
from runstore import (
    NewMemoryRecord,
    check_schema,
    complete_feature_run,
    create_feature_run,
    create_memory_record,
    delete_run,
    get_run_tree,
    list_runs,
)

Conn = Connection[Any]
Login = Callable[[Role], Conn]

NOTHING_GRANTED: Final = "01007"
LOGINS: Final[list[Role]] = ["writer", "janitor", "reader"]

# None of these roles may do any of it, on whichever table.
NOBODYS = [
    "TRUNCATE {table} CASCADE",
    "ALTER TABLE {table} ADD COLUMN planted text",
    "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE {table} OWNER TO CURRENT_USER",
    "DROP TABLE {table} CASCADE",
    "CREATE INDEX ON {table} ((1))",
    (
        "CREATE TRIGGER planted BEFORE INSERT ON {table} EXECUTE FUNCTION"
        " suppress_redundant_updates_trigger()"
    ),
    "CREATE RULE planted AS ON INSERT TO {table} DO INSTEAD NOTHING",
    "CREATE POLICY planted ON {table}",
    "COMMENT ON TABLE {table} IS 'planted'",
    "GRANT ALL ON {table} TO PUBLIC",
]
ANYWHERE = [
    "CREATE TABLE runstore.planted ()",
    "CREATE TABLE public.planted ()",
    "CREATE SCHEMA planted",
    "CREATE FUNCTION runstore.planted() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    (
        "CREATE OR REPLACE FUNCTION runstore.current_tenant_id() RETURNS text"
        " LANGUAGE sql AS $$ SELECT 'planted' $$"
    ),
    "ALTER FUNCTION runstore.run_of(uuid) SECURITY DEFINER",
    "DROP SCHEMA runstore CASCADE",
    "ALTER SCHEMA runstore RENAME TO planted",
    "GRANT CREATE ON SCHEMA runstore TO PUBLIC",
    "INSERT INTO _yoyo_migration (migration_hash) VALUES ('planted')",
    "DELETE FROM _yoyo_migration",
    "DROP TABLE _yoyo_migration",
    "SET ROLE runstore_owner",
    "SET ROLE runstore_migrator",
    "SET SESSION AUTHORIZATION runstore_owner",
    "SET session_replication_role = replica",
    "CREATE ROLE planted",
    "GRANT runstore_owner TO CURRENT_USER",
    "ALTER ROLE CURRENT_USER BYPASSRLS",
    "ALTER ROLE runstore_reader SET search_path = planted",
    "ALTER DEFAULT PRIVILEGES FOR ROLE runstore_owner GRANT ALL ON TABLES TO PUBLIC",
    "CREATE EXTENSION file_fdw",
    (
        "CREATE EVENT TRIGGER planted ON ddl_command_end"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    "CREATE PUBLICATION planted FOR ALL TABLES",
    "COPY runstore.runs TO PROGRAM 'cat'",
    "COPY runstore.runs FROM '/etc/passwd'",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')",
]


@pytest.fixture
def login(logins: Logins, migrated_dbname: str) -> Iterator[Login]:
    """Opens autocommit connections of any role to one database."""
    opened: list[Conn] = []

    def login(role: Role) -> Conn:
        opened.append(psycopg.connect(logins.dsn(role, migrated_dbname), autocommit=True))
        return opened[-1]

    yield login
    for conn in opened:
        conn.close()


def columns(conn: Conn) -> dict[str, list[str]]:
    rows = conn.execute(
        "SELECT relname, array_agg(attname::text) FROM pg_class JOIN pg_attribute ON oid = attrelid"
        " WHERE relnamespace = 'runstore'::regnamespace AND relkind = 'r' AND attnum > 0"
        " AND NOT attisdropped GROUP BY relname"
    )
    return dict(rows.fetchall())


def is_allowed(conn: Conn, statement: str) -> bool:
    """Try a statement, and take it back."""
    # Who may read a table may try to grant something on it: nothing happens, with a warning.
    warnings: list[str | None] = []
    conn.add_notice_handler(lambda notice: warnings.append(notice.sqlstate))
    try:
        with conn.transaction(force_rollback=True):
            conn.execute(statement.encode())
    except InsufficientPrivilege:
        return False
    return NOTHING_GRANTED not in warnings


@pytest.mark.parametrize("role", LOGINS)
def test_a_role_may_do_what_statements_of_the_library_do_and_nothing_else(
    role: Role, login: Login
) -> None:
    conn = login(role)
    found: set[Privilege] = set()
    for table, names in columns(conn).items():
        assert is_allowed(conn, f"TABLE runstore.{table}")
        acts = {
            Privilege(table, "INSERT"): f"INSERT INTO runstore.{table} TABLE runstore.{table}",
            Privilege(table, "DELETE"): f"DELETE FROM runstore.{table} WHERE false",
        }
        for name in names:
            update = f"UPDATE runstore.{table} SET {name} = {name} WHERE false"
            acts[Privilege(table, "UPDATE", name)] = update
        found |= {privilege for privilege, act in acts.items() if is_allowed(conn, act)}

    assert found == needed()[role]


@pytest.mark.parametrize("role", LOGINS)
def test_no_role_changes_a_definition(role: Role, login: Login) -> None:
    conn = login(role)
    tables = [f"runstore.{table}" for table in columns(conn)]
    acts = [act.format(table=table) for act in NOBODYS for table in tables] + ANYWHERE

    assert [act for act in acts if is_allowed(conn, act)] == []


def test_what_is_append_only_has_no_way_to_change(login: Login) -> None:
    append_only = {
        "memory_records",
        "prices",
        "report_version_sections",
        "report_versions",
        "run_events",
        "run_segments",
        "snapshots",
        "usage_logs",
    }
    changed = {privilege.table for privilege in needed()["writer"] if privilege.act != "INSERT"}

    assert set(columns(login("reader"))) - changed == append_only


def test_nobody_decides_on_rights_for_others_by_a_function(login: Login) -> None:
    conn = login("reader")
    assert (
        conn.execute(
            "SELECT oid::regprocedure::text FROM pg_proc"
            " WHERE pronamespace = 'runstore'::regnamespace AND prosecdef"
        ).fetchall()
        == []
    )
    assert (
        conn.execute(
            "SELECT rolname::text, setting FROM pg_roles"
            " CROSS JOIN unnest(rolconfig) AS setting"
            " WHERE rolname ~ '^runstore_(owner|migrator|writer|janitor|reader)$'"
            " AND setting LIKE 'search_path=%' AND setting NOT LIKE '%, pg_temp'"
        ).fetchall()
        == []
    )


def test_the_roles_have_no_attribute_that_they_do_not_need(login: Login) -> None:
    rows = login("reader").execute(
        "SELECT rolname::text, rolcanlogin, rolinherit FROM pg_roles"
        " WHERE rolname ~ '^runstore_(owner|migrator|writer|janitor|reader)$' AND NOT"
        " (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)"
    )
    assert {row[0]: row[1:] for row in rows} == {
        f"runstore_{role}": (role != "owner", role != "migrator") for role in get_args(Role)
    }


def test_the_janitor_deletes_runs_that_the_writer_cannot(login: Login) -> None:
    writer, janitor = login("writer"), login("janitor")
    run = create_feature_run(writer, new_feature_run())
    create_memory_record(writer, NewMemoryRecord(run_id=run.id, kind="fact", content="Red."))
    complete_feature_run(writer, run.id)
    with pytest.raises(InsufficientPrivilege):
        delete_run(writer, run.id)
    assert get_run_tree(writer, run.id).memory_records

    delete_run(janitor, run.id)

    reader = login("reader")
    assert list_runs(reader).items == []
    for table in ("memory_records", "run_events", "run_heads"):
        assert reader.execute(f"TABLE runstore.{table}".encode()).fetchall() == []


@pytest.mark.parametrize("role", LOGINS)
def test_every_login_can_check_the_schema(role: Role, login: Login) -> None:
    assert check_schema(login(role)).ok
