"""Tenants: whose rows a transaction writes and lists, without row-level security."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.errors import InFailedSqlTransaction

from connections import Caller, Connect, Kind
from factories import create_run, new_feature_run
from runstore import (
    InvalidPayload,
    create_feature_run,
    get_run,
    list_runs,
    set_tenant,
    transaction,
)
from sessions import open_session


def test_new_rows_are_the_tenants_and_lists_are_of_its_rows(call: Caller) -> None:
    call(set_tenant, "acme")
    run = create_run(call)
    call(set_tenant, "globex")

    assert run.tenant_id == "acme"
    assert create_run(call).tenant_id == "globex"
    assert [row.tenant_id for row in call(list_runs).items] == ["globex"]
    # Who names another tenant, or an id, reaches its rows.
    assert call(list_runs, tenant_id="acme").items == [run]
    assert call(get_run, run.id) == run


def test_the_tenant_ends_with_its_transaction(connect: Connect) -> None:
    conn = connect()
    with transaction(conn):
        set_tenant(conn, "acme")
        assert create_feature_run(conn, new_feature_run()).tenant_id == "acme"

    assert create_feature_run(conn, new_feature_run()).tenant_id == "default"
    assert conn.execute("SELECT current_setting('runstore.tenant_id')").fetchone() == ("",)


def test_a_savepoint_that_is_undone_takes_its_tenant_along(connect: Connect) -> None:
    conn = connect()
    with transaction(conn):
        set_tenant(conn, "acme")
        with transaction(conn):
            set_tenant(conn, "globex")
        assert create_feature_run(conn, new_feature_run()).tenant_id == "globex"
        with transaction(conn):
            set_tenant(conn, "initech")
            raise psycopg.Rollback
        assert create_feature_run(conn, new_feature_run()).tenant_id == "globex"


def test_without_a_transaction_it_is_refused(committed_call: Caller) -> None:
    with pytest.raises(psycopg.ProgrammingError, match="set_tenant needs a transaction"):
        committed_call(set_tenant, "acme")
    assert create_run(committed_call).tenant_id == "default"


def test_a_connection_that_opens_transactions_itself_needs_no_block(
    connection_kind: Kind, database: str
) -> None:
    with open_session(connection_kind, database, autocommit=False) as session:
        session(set_tenant, "acme")
        assert session(create_feature_run, new_feature_run()).tenant_id == "acme"
        session.run(session.conn.commit())
        assert session(create_feature_run, new_feature_run()).tenant_id == "default"


def test_in_a_failed_transaction_it_says_so(connect: Connect) -> None:
    conn = connect()
    with conn.transaction(force_rollback=True):
        with pytest.raises(psycopg.errors.DivisionByZero):
            conn.execute("SELECT 1 / 0")
        with pytest.raises(InFailedSqlTransaction):
            set_tenant(conn, "acme")


@pytest.mark.parametrize("tenant_id", ["", "a" * 256, "a\0b"])
def test_a_name_that_no_row_could_have_is_refused(call: Caller, tenant_id: str) -> None:
    with pytest.raises(InvalidPayload):
        call(set_tenant, tenant_id)


def test_the_longest_name_is_taken_as_it_is(call: Caller) -> None:
    name = "é'\"; --" * 36 + "漢字!"
    assert len(name) == 255
    call(set_tenant, name)

    assert create_run(call).tenant_id == name
