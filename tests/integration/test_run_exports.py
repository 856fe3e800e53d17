from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from connections import Caller, Connect, Kind
from factories import create_run
from report_factories import create_draft
from runstore import (
    InvalidPayload,
    NewRunEvent,
    NotFound,
    append_run_events,
    iter_run_export,
    new_run_id,
)
from runstore.run_exports import TimeZone, export_run, set_time_zone
from sessions import Session, open_session
from whole_runs import export, record_whole_run

# What an export leaves out, and why it may.
LEFT_OUT = {
    "run_holds",  # What a database has to keep is said in it, and changes while the run does not.
    "run_segments",  # The events that a fork shares stand among its own.
    "usage_reservations",  # Holds belong to quotas, which are not the run's.
}
OF_THE_RUN = {"run_id", "tenant_id"}


def parsed(lines: list[bytes]) -> list[tuple[str, dict[str, Any]]]:
    return [next(iter(json.loads(line).items())) for line in lines]


def rows(lines: list[bytes], table: str) -> list[dict[str, Any]]:
    return [row for name, row in parsed(lines) if name == table]


def test_every_column_of_every_table_of_a_run_is_exported(call: Caller) -> None:
    found = call.execute(
        "SELECT columns.table_name::text, array_agg(columns.column_name::text)"
        " FROM information_schema.columns"
        " JOIN information_schema.tables USING (table_schema, table_name)"
        " WHERE table_schema = 'runstore' AND table_type = 'BASE TABLE' GROUP BY table_name"
    )
    columns: dict[str, set[str]] = {table: set(names) for table, names in found}
    of_runs = {table for table, names in columns.items() if "run_id" in names} | {"runs"}

    lines = export_of_a_whole_run(call)

    expected = {table: columns[table] - OF_THE_RUN for table in of_runs - LEFT_OUT}
    expected["runs"].add("tenant_id")
    # Who used it need not be of the run's tenant. In which quotas it was counted stays there.
    expected["usage_logs"] |= {"tenant_id"}
    expected["usage_logs"] -= {"quota_ids", "window_starts"}
    assert {name: set(row) for name, row in parsed(lines)[1:-1]} == expected


def export_of_a_whole_run(call: Caller) -> list[bytes]:
    return call(export, record_whole_run(call), usage=True)


def test_an_export_says_what_it_is_and_where_it_ends(call: Caller) -> None:
    run_id = create_run(call).id

    lines = call(export, run_id)

    assert parsed(lines)[0] == (
        "runstore",
        {"format": 1, "run_id": str(run_id), "usage": False},
    )
    assert parsed(lines)[-1] == (
        "end",
        {"rows": len(lines) - 2, "sha256": hashlib.sha256(b"".join(lines[:-1])).hexdigest()},
    )
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)


def test_parents_come_before_their_children(call: Caller) -> None:
    lines = export_of_a_whole_run(call)

    seen: set[object] = {None}
    for row in rows(lines, "agent_invocations"):
        assert row["parent_invocation_id"] in seen
        seen.add(row["id"])
    assert [row["id"] for row in rows(lines, "snapshots")] == ["snapshot-1", "snapshot-0"]


def test_a_forks_export_holds_the_events_that_it_shares(call: Caller) -> None:
    lines = export_of_a_whole_run(call)

    seqs = [row["seq"] for row in rows(lines, "run_events")]
    assert seqs == [*range(1, len(seqs) + 1)]
    assert rows(lines, "run_heads")[0]["last_seq"] == len(seqs)


@pytest.mark.owner
def test_a_number_is_not_rounded(call: Caller) -> None:
    run_id = create_run(call).id
    number = "12345678901234567890.123456789012345678901234567890"
    call.execute("UPDATE runstore.runs SET input = %s::jsonb WHERE id = %s", [number, run_id])

    assert f'"input":{number},'.encode() in call(export, run_id)[1]


def test_the_sessions_time_zone_changes_nothing(call: Caller) -> None:
    run_id = create_run(call).id
    lines = call(export, run_id)

    call.execute("SET LOCAL TimeZone = 'Asia/Kathmandu'")

    assert call(export, run_id) == lines
    assert call.execute("SHOW TimeZone") == [("Asia/Kathmandu",)]


def test_set_time_zone(call: Caller) -> None:
    call.execute("SET LOCAL TimeZone = 'Asia/Kathmandu'")

    assert call(set_time_zone, "UTC") == TimeZone(name="Asia/Kathmandu")
    assert call.execute("SHOW TimeZone") == [("UTC",)]


def test_what_runs_use_is_exported_where_it_is_asked_for(call: Caller) -> None:
    run_id = record_whole_run(call)

    [row] = rows(call(export, run_id, usage=True), "usage_logs")
    assert (row["meter"], row["amount"], row["cost_nanousd"]) == ("tokens", 5, 7)
    assert rows(call(export, run_id), "usage_logs") == []


def test_an_unknown_run_has_no_export(call: Caller) -> None:
    run_id = new_run_id()

    assert call(export_run, run_id) == []
    with pytest.raises(NotFound, match=f"^run {run_id} does not exist$"):
        call(export, run_id)


def test_what_is_no_connection_is_refused() -> None:
    conn: Any = "postgresql://me:secret@localhost/agents"

    with pytest.raises(InvalidPayload, match=r"^conn: must be a connection of psycopg, not a str$"):
        iter_run_export(conn, new_run_id())


def test_export_run_answers_the_rows_of_the_lines(call: Caller) -> None:
    run_id = record_whole_run(call)
    call.execute("SET LOCAL TimeZone = 'UTC'")

    found = call(export_run, run_id, usage=True)

    lines = call(export, run_id, usage=True)
    assert [f'{{"{row.table_name}":{row.entry}}}\n'.encode() for row in found] == lines[1:-1]


def test_an_export_is_of_one_snapshot(connect: Connect, committed_run: UUID) -> None:
    reader, writer = connect(), connect()
    lines = iter_run_export(reader, committed_run)
    first = next(lines)

    append_run_events(writer, committed_run, [NewRunEvent(type="token")] * 300)

    assert b"".join([first, *lines]).count(b'{"run_events":') == 1
    assert b"".join(iter_run_export(reader, committed_run)).count(b'{"run_events":') == 301


def test_an_export_that_is_closed_early_leaves_the_connection_usable(
    connect: Connect, committed_run: UUID
) -> None:
    conn = connect()
    lines = iter_run_export(conn, committed_run)
    next(lines)

    lines.close()

    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert conn.execute("SHOW TimeZone").fetchone() == connect().execute("SHOW TimeZone").fetchone()


def test_the_transaction_of_an_export_ends_before_its_last_line(
    connection_kind: Kind, database: str, committed_run: UUID
) -> None:
    with open_session(connection_kind, database) as session:
        lines = iterate(session, committed_run)
        found: list[tuple[bytes, TransactionStatus]] = []
        # As a restore does, which takes no line after the last one.
        while not found or not found[-1][0].startswith(b'{"end":'):
            found.append((take(session, lines), session.conn.info.transaction_status))

    *rest, end = [status for _, status in found]
    assert set(rest) == {TransactionStatus.INTRANS}
    assert end == TransactionStatus.IDLE


def iterate(session: Session, run_id: UUID) -> Any:
    iterate: Any = iter_run_export
    return iterate(session.conn, run_id)


def take(session: Session, lines: Any) -> bytes:
    """Take the next line."""
    line: bytes = session.run(next(lines) if hasattr(lines, "__next__") else anext(lines))
    return line


@pytest.mark.parametrize("closed", [True, False])
def test_an_export_whose_connection_ends_says_so_unless_it_is_closed(
    connect: Connect,
    direct_database: str,
    connection_kind: Kind,
    committed_run: UUID,
    *,
    closed: bool,
) -> None:
    with open_session(connection_kind, direct_database) as session:
        lines = iterate(session, committed_run)
        take(session, lines)

        connect().execute("SELECT pg_terminate_backend(%s, 5000)", (session.conn.info.backend_pid,))

        if closed:
            session.run(lines.close() if connection_kind == "blocking" else lines.aclose())
        else:
            with pytest.raises(psycopg.OperationalError):
                list(iter(partial(take, session, lines), None))


@pytest.fixture
def committed_run(committed_call: Caller) -> UUID:
    run_id = create_run(committed_call).id
    create_draft(committed_call, "a", run_id=run_id)
    return run_id
