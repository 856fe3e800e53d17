"""Row-level security: every table and every public function, tried from the wrong tenant."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import psycopg
import pytest
from psycopg import Connection, sql
from psycopg.errors import InsufficientPrivilege
from psycopg.types.json import Jsonb

import runstore
from connections import BlockingCaller, Caller, Kind, caller
from contents import Contents, contents
from databases import new_database
from deploys import MIGRATIONS, succeed
from factories import create_run, new_feature_run
from logins import Logins, Role, apply_roles
from privileges import JANITORS
from runstore import (
    EventsPurged,
    InvalidPayload,
    NewPrice,
    NewRunEvent,
    NotFound,
    RunstoreError,
    StaleWrite,
    SubjectErasure,
    complete_feature_run,
    create_feature_run,
    delete_run,
    erase_subject,
    get_price,
    get_run,
    get_run_tree,
    import_run_events,
    iter_run_events,
    iter_run_export,
    list_runs,
    purge_run_events,
    purge_runs,
    purge_usage,
    read_run_events,
    restore_run,
    set_price,
    set_tenant,
    transaction,
)
from runstore.embedded import Server
from tenant_calls import APART, CALLS, LONG_AGO, OWNER, STRANGER, Scene, ids_of
from usage_factories import SUBJECT, record
from whole_runs import export, record_whole_run

Conn = Connection[Any]

PRICE: Final = NewPrice(
    provider="p", model="m", meter="tokens", valid_from=LONG_AGO, price=Decimal(1)
)

# Those whose rows are not of a run, as far as the database knows.
OF_NO_RUN: Final = {
    "prices",
    "quotas",
    "runs",
    "usage_counters",
    "usage_logs",
    "usage_reservations",
}


@pytest.fixture(scope="module")
def secured(server: Server, template: tuple[str, Logins]) -> Iterator[str]:
    """The name of a database whose tenants are kept apart."""
    dbname, logins = template
    with new_database(server, dbname) as name:
        succeed("apply", logins.yoyo_url(name), MIGRATIONS, MIGRATIONS / "tenants")
        apply_roles(server.dsn(name))
        yield name


@pytest.fixture(scope="module")
def scene(server: Server, logins: Logins, secured: str) -> Scene:
    """What one tenant has in it, made by a writer."""
    with psycopg.connect(logins.dsn("writer", secured), autocommit=True) as conn:
        set_price(conn, PRICE)
        with transaction(conn):
            scene = Scene(BlockingCaller(conn, in_transaction=True))
    with psycopg.connect(server.dsn(secured), autocommit=True) as conn:
        # So that whoever looks for wrong counters and logs and overdue holds finds some.
        conn.execute("UPDATE runstore.usage_counters SET used = used + 1")
        conn.execute(
            "UPDATE runstore.usage_reservations SET expires_at = %s WHERE id = %s",
            [LONG_AGO, scene.overdue],
        )
        conn.execute(
            "UPDATE runstore.run_heads SET last_seq = last_seq + 1 WHERE run_id = %s",
            [scene.faulty],
        )
        # The reader of this run may do anything with rows, so that the policies alone refuse it.
        conn.execute(
            sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA runstore TO {}").format(
                sql.Identifier(logins.name("reader"))
            )
        )
    return scene


def open_call(kind: Kind, dsn: str) -> Any:
    return caller(kind, dsn, rolled_back=True)


@pytest.fixture
def call(connection_kind: Kind, logins: Logins, secured: str, scene: Scene) -> Iterator[Caller]:
    """Calls functions as a writer, in a transaction that is rolled back."""
    with open_call(connection_kind, logins.dsn("writer", secured)) as call:
        yield call


@pytest.fixture
def unbound(logins: Logins, secured: str, scene: Scene) -> Iterator[Caller]:
    """Calls functions with every privilege on the tables, so that only the policies refuse."""
    with open_call("blocking", logins.dsn("reader", secured)) as call:
        yield call


def contents_of(call: Caller, tenant_id: str) -> Contents:
    call(set_tenant, tenant_id)
    return contents(call)


# Every function


def takes_a_connection(name: str) -> bool:
    function = getattr(runstore, name)
    if not callable(function) or inspect.isclass(function):
        return False
    return next(iter(inspect.signature(function).parameters), None) == "conn"


def test_every_public_function_is_tried() -> None:
    functions = {name for name in runstore.__all__ if takes_a_connection(name)}
    assert functions == CALLS.keys() | APART.keys()
    assert not CALLS.keys() & APART.keys()


@pytest.mark.parametrize("name", CALLS)
def test_a_function_reaches_nothing_of_another_tenant(
    name: str, connection_kind: Kind, logins: Logins, secured: str, scene: Scene
) -> None:
    args, kwargs = CALLS[name](scene)
    role: Role = "janitor" if name in JANITORS else "writer"
    answer: Any = None
    with open_call(connection_kind, logins.dsn(role, secured)) as call:
        before = contents_of(call, OWNER)
        call(set_tenant, STRANGER)
        try:
            answer = call(getattr(runstore, name), *args, **kwargs)
        except (NotFound, InsufficientPrivilege):
            answer = None
        assert contents_of(call, OWNER) == before
        assert contents_of(call, "default")["runs"] == []
    assert answer == [] or not isinstance(answer, list)
    assert OWNER not in repr(answer)
    assert not [id for id in ids_of(scene) if id in repr(answer)]


@pytest.mark.parametrize("name", CALLS)
def test_the_same_call_reaches_the_rows_of_its_own_tenant(
    name: str, logins: Logins, secured: str, scene: Scene
) -> None:
    args, kwargs = CALLS[name](scene)
    role: Role = "janitor" if name in JANITORS else "writer"
    with open_call("blocking", logins.dsn(role, secured)) as call:
        before = contents_of(call, OWNER)
        try:
            function: Any = getattr(runstore, name)
            answer: object = call(function, *args, **kwargs)
        except NotFound:
            raise
        except RunstoreError:
            # It was found, and is in no state for it.
            return
        # A list of what has no name of the tenant's in it, such as quotas, is still a find.
        shown = repr(answer)
        named = any(id in shown for id in {OWNER, *ids_of(scene)})
        assert named or shown.startswith(("[Q", "[U")) or contents(call) != before


@pytest.mark.parametrize("walk", [iter_run_events, iter_run_export])
def test_walking_through_a_run_of_another_tenant_finds_none(
    walk: Any, logins: Logins, secured: str, scene: Scene
) -> None:
    with (
        psycopg.connect(logins.dsn("writer", secured), autocommit=True) as conn,
        transaction(conn),
    ):
        set_tenant(conn, OWNER)
        assert list(walk(conn, scene.run))
        set_tenant(conn, STRANGER)
        with pytest.raises(NotFound):
            list(walk(conn, scene.run))


def kept(logins: Logins, secured: str) -> dict[str, Contents]:
    """Return what tenants have that no retention is for."""
    with open_call("blocking", logins.dsn("writer", secured)) as call:
        return {tenant: contents_of(call, tenant) for tenant in (OWNER, STRANGER)}


@pytest.mark.parametrize("retain", [purge_runs, purge_run_events, erase_subject])
def test_retention_is_of_the_tenant_that_it_names(
    retain: Any, connection_kind: Kind, logins: Logins, secured: str, scene: Scene
) -> None:
    with psycopg.connect(logins.dsn("writer", secured), autocommit=True) as conn:
        run = create_feature_run(conn, new_feature_run(tenant_id="default", subject_id=SUBJECT))
        complete_feature_run(conn, run.id)
    before = kept(logins, secured)
    what = SUBJECT if retain is erase_subject else datetime.now(UTC)
    with caller(connection_kind, logins.dsn("janitor", secured), rolled_back=False) as call:
        call(retain, what, tenant_id=STRANGER)
        assert len(call(read_run_events, run.id).events) == 2
        done: Any = call(retain, what)

        assert isinstance(done, SubjectErasure) or done.runs == 1
        with pytest.raises((NotFound, EventsPurged)):
            call(read_run_events, run.id)
        call(purge_runs, datetime.now(UTC))
    assert kept(logins, secured) == before


def test_a_purge_of_usage_is_of_the_tenant_that_it_names(
    connection_kind: Kind, logins: Logins, secured: str, scene: Scene
) -> None:
    del scene
    with caller("blocking", logins.dsn("writer", secured), rolled_back=False) as call:
        record(call)
    before = kept(logins, secured)
    with caller(connection_kind, logins.dsn("janitor", secured), rolled_back=False) as call:
        assert call(purge_usage, datetime.now(UTC), tenant_id=STRANGER).rows == {}
        assert call(purge_usage, datetime.now(UTC)).rows == {"usage_logs": 1}
    assert kept(logins, secured) == before


def test_a_key_of_another_tenant_is_free(call: Caller) -> None:
    taken = {"thread_id": "t", "exclusive": True, "idempotency_key": "k"}
    call(set_tenant, OWNER)
    first = create_run(call, **taken)
    call(set_tenant, STRANGER)

    second = create_run(call, **taken)

    assert (second.tenant_id, second.id != first.id) == (STRANGER, True)


def test_an_id_of_another_tenant_tells_nothing_but_that_it_is_taken(
    call: Caller, scene: Scene
) -> None:
    call(set_tenant, STRANGER)
    with pytest.raises((RunstoreError, InsufficientPrivilege)) as raised:
        create_run(call, id=scene.run, name="mine")
    assert OWNER not in str(raised.value)


def test_prices_are_set_by_the_tenant_default_and_read_by_all(call: Caller) -> None:
    call(set_tenant, STRANGER)
    assert call(get_price, "p", "m", "tokens", LONG_AGO).price == 1
    with pytest.raises(InsufficientPrivilege):
        call(set_price, PRICE.model_copy(update={"model": "another"}))


# Every table


def test_the_scene_has_rows_in_every_table(call: Caller) -> None:
    assert [table for table, rows in contents_of(call, OWNER).items() if not rows] == []


def test_a_table_shows_rows_of_its_transactions_tenant_only(unbound: Caller) -> None:
    shared = {"prices"}
    for tenant_id in (STRANGER, "default", "acme2", "ACME", "%"):
        found = {table for table, rows in contents_of(unbound, tenant_id).items() if rows}
        assert found == shared


def test_a_transaction_that_names_no_tenant_is_the_tenant_defaults(
    logins: Logins, secured: str, scene: Scene
) -> None:
    with psycopg.connect(logins.dsn("writer", secured), autocommit=True) as conn:
        # New, and after a transaction, where the setting is empty and no longer unset.
        for _ in range(2):
            assert list_runs(conn).items == []
            with transaction(conn):
                set_tenant(conn, OWNER)
                assert list_runs(conn).items
        with transaction(conn):
            run = create_feature_run(conn, new_feature_run())
            assert run.tenant_id == "default"
            assert list_runs(conn).items == [run]
            raise psycopg.Rollback


def test_no_row_of_another_tenant_is_changed_or_deleted(unbound: Caller) -> None:
    before = contents_of(unbound, OWNER)
    unbound(set_tenant, STRANGER)
    for table, rows in before.items():
        column = next(iter(rows[0]))
        for statement in (
            f"UPDATE runstore.{table} SET {column} = {column} RETURNING 1",
            f"DELETE FROM runstore.{table} RETURNING 1",
        ):
            act: Any = statement
            assert unbound.execute(act) == [], statement
    assert contents_of(unbound, OWNER) == before


def plant(call: Caller, table: str, row: dict[str, Any]) -> None:
    statement: Any = (
        f"INSERT INTO runstore.{table}"
        f" SELECT * FROM jsonb_populate_record(NULL::runstore.{table}, %s)"
    )
    call.execute(statement, [Jsonb(row)])


def test_no_row_is_added_for_another_tenant_or_to_its_runs(unbound: Caller) -> None:
    for table, rows in contents_of(unbound, OWNER).items():
        unbound(set_tenant, STRANGER)
        with pytest.raises(InsufficientPrivilege, match="row-level security"):
            plant(unbound, table, rows[0])
        if table not in OF_NO_RUN:
            with pytest.raises(InsufficientPrivilege, match="row-level security"):
                plant(unbound, table, rows[0] | {"tenant_id": STRANGER})
        if "tenant_id" in rows[0]:
            move: Any = f"UPDATE runstore.{table} SET tenant_id = %s"
            unbound(set_tenant, OWNER)
            with pytest.raises(InsufficientPrivilege, match="row-level security"):
                unbound.execute(move, [STRANGER])


def test_a_fork_cannot_be_made_to_read_another_tenants_log(unbound: Caller, scene: Scene) -> None:
    unbound(set_tenant, STRANGER)
    own = create_run(unbound)
    with pytest.raises(InsufficientPrivilege, match="row-level security"):
        plant(
            unbound,
            "run_segments",
            {"run_id": str(own.id), "source_run_id": str(scene.run), "from_seq": 1, "to_seq": 1},
        )


# Who is not held to it


def test_the_owner_and_who_bypasses_see_every_tenant(
    server: Server, logins: Logins, secured: str, scene: Scene
) -> None:
    for dsn, active in [
        (logins.dsn("owner", secured), False),
        (server.dsn(secured), False),
        (logins.dsn("writer", secured), True),
    ]:
        with psycopg.connect(dsn, autocommit=True) as conn:
            answer = conn.execute("SELECT row_security_active('runstore.runs')").fetchone()
            assert answer == (active,)
            assert bool(conn.execute("TABLE runstore.runs").fetchall()) is not active


# A whole run


def test_a_run_of_ones_own_is_restored(unbound: Caller) -> None:
    unbound(set_tenant, STRANGER)
    run_id = record_whole_run(unbound)
    restore: Any = restore_run
    lines = unbound(export, run_id)
    unbound(delete_run, run_id)

    restored: Any = unbound(restore, lines)

    assert restored.created
    assert unbound(export, run_id) == lines
    # What says whose the run is may be changed, and nothing is reached by that.
    unbound(set_tenant, OWNER)
    with pytest.raises((NotFound, InsufficientPrivilege)):
        unbound(restore, lines)


# Imports, which cannot be COPY


def test_an_import_gives_the_numbers_of_copy(call: Caller) -> None:
    call(set_tenant, STRANGER)
    run = create_run(call).id
    events = [NewRunEvent(type="token", payload={"n": n}) for n in range(1201)]
    start = call(get_run_tree, run).run.id == run and call(read_run_events, run).last_seq

    imported: Any = call(import_run_events, run, iter(events), expected_seq=start)

    assert imported == start + 1201
    page = call(read_run_events, run, after=start, page_size=2000)
    assert [(event.seq, event.payload) for event in page.events] == [
        (start + place, event.payload) for place, event in enumerate(events, 1)
    ]
    with pytest.raises(StaleWrite):
        call(import_run_events, run, events, expected_seq=start)


def test_an_import_that_fails_leaves_nothing_and_names_the_event(call: Caller) -> None:
    call(set_tenant, STRANGER)
    run = create_run(call).id
    last_seq = call(read_run_events, run).last_seq
    events: list[Any] = [NewRunEvent(type="token")] * 700

    with pytest.raises(InvalidPayload, match=r"^events\[700\]"):
        call(import_run_events, run, [*events, NewRunEvent(type="run.mine")])
    with pytest.raises(InvalidPayload, match="events: are none"):
        call(import_run_events, run, [])

    assert call(read_run_events, run).last_seq == last_seq
    with pytest.raises(NotFound):
        call(import_run_events, call(get_run, run).id.__class__(int=0), events)
