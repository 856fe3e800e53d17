from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

from connections import Caller, Connect, Kind, caller, wait_until_blocked
from contents import clock, contents
from databases import new_database
from deploys import MIGRATIONS, succeed
from factories import create_run, create_sandbox, create_snapshot
from logins import Logins, Role, apply_roles
from report_factories import create_draft, draft, new_branch
from runstore import (
    Conflict,
    EventsPurged,
    InvalidPayload,
    NewRunEvent,
    NewRunFork,
    append_run_events,
    cancel_run,
    create_branch_report,
    fork_run,
    get_report,
    get_run,
    get_run_tree,
    import_run_events,
    iter_run_export,
    list_reports,
    new_run_id,
    publish_report,
    purge_run_events,
    put_branch_section,
    read_run_events,
    restore_run,
    verify_run_events,
)
from runstore._json import Json
from runstore.embedded import Server
from runstore.run_restores import (
    RestoredRun,
    restore_report_rows,
    restore_run_row,
    restore_run_rows,
)
from usage_factories import disagreements, make_quota, record, used_and_held
from whole_runs import export, record_whole_run, resummed


@pytest.fixture
def other(connection_kind: Kind, other_database: str) -> Iterator[Caller]:
    """Calls functions on another migrated database."""
    with caller(connection_kind, other_database, rolled_back=False) as call:
        yield call


def test_a_run_that_moved_reads_back_equal(committed_call: Caller, other: Caller) -> None:
    run_id = record_whole_run(committed_call)
    lines = committed_call(export, run_id, usage=True)

    restored = other(restore_run, lines)

    assert restored == RestoredRun(run_id=run_id, created=True, rows=len(lines) - 2)
    assert other(export, run_id, usage=True) == lines
    assert other(get_run_tree, run_id) == committed_call(get_run_tree, run_id)
    assert other(read_run_events, run_id) == committed_call(read_run_events, run_id)
    [report] = committed_call(list_reports, run_id=run_id).items
    assert other(get_report, report.id) == committed_call(get_report, report.id)


def test_a_restored_fork_needs_no_origin(committed_call: Caller, other: Caller) -> None:
    run_id = record_whole_run(committed_call)

    other(restore_run, committed_call(export, run_id))

    assert [run["id"] for run in contents(other)["runs"]] == [str(run_id)]
    assert contents(other)["run_segments"] == []
    assert other(verify_run_events).items == []


@pytest.fixture
def sorting_database(server: Server, logins: Logins, role: Role) -> Iterator[str]:
    """The DSN of a migrated database that sorts texts as people do, not by their bytes."""
    with ExitStack() as stack:
        new = new_database(server, "template0", icu_locale="en-US")
        try:
            name = stack.enter_context(new)
        except psycopg.errors.FeatureNotSupported:
            pytest.skip("the server was built without ICU")
        apply_roles(server.dsn(name))
        succeed("apply", logins.yoyo_url(name), MIGRATIONS)
        apply_roles(server.dsn(name))
        yield logins.dsn(role, name)


@pytest.mark.owner
def test_a_run_moves_to_a_database_that_sorts_texts_in_another_way(
    call: Caller, connection_kind: Kind, sorting_database: str
) -> None:
    texts = ["b", "A", "a", "B", "a-b", "ab", "_"]
    origin = create_run(call).id
    run_id = call(fork_run, origin, 1, NewRunFork()).id
    for text in texts:
        create_sandbox(call, run_id, id=text)
        create_snapshot(call, run_id, id=text, sandbox_id=text)
        record(call, run_id=run_id, subject_id=text, amounts=dict.fromkeys(texts, 1))
    call(publish_report, create_draft(call, *texts, run_id=run_id))
    report = create_draft(call, *texts, run_id=origin)
    branch = call(create_branch_report, new_branch(run_id, report)).id
    for text in texts:
        call(put_branch_section, branch, draft(text, "of the branch"))
    # All at once, so that nothing but the texts is left to sort by.
    call.execute("UPDATE runstore.sandboxes SET created_at = now()")
    call.execute("UPDATE runstore.snapshots SET created_at = now()")
    call.execute("UPDATE runstore.usage_logs SET created_at = now(), id = %s", [new_run_id()])
    lines = call(export, run_id, usage=True)

    with caller(connection_kind, sorting_database, rolled_back=True) as sorting:
        assert sorting.execute("SELECT 'a' < 'B'") == [(True,)]
        assert sorting(restore_run, lines).created
        assert sorting(export, run_id, usage=True) == lines


@pytest.mark.owner
def test_a_restore_is_repeated_after_the_runs_index_was_rebuilt(committed_call: Caller) -> None:
    call = committed_call
    lines = call(export, create_run(call, idempotency_key="once").id)
    # The server looks at unique indexes in the order in which they were made.
    call.execute("REINDEX INDEX CONCURRENTLY runstore.runs_pkey")

    assert not call(restore_run, lines).created


def test_a_restore_may_be_repeated(committed_call: Caller, other: Caller) -> None:
    lines = committed_call(export, record_whole_run(committed_call), usage=True)
    other(restore_run, lines)
    before = contents(other)

    assert not other(restore_run, lines).created
    assert contents(other) == before
    # What it came from is there as well, with its events where its origin has them.
    assert not committed_call(restore_run, lines).created


def test_a_run_with_another_content_is_not_overwritten(
    committed_call: Caller, other: Caller
) -> None:
    run_id = create_run(committed_call).id
    other(restore_run, committed_call(export, run_id))
    other(cancel_run, run_id)
    before = contents(other)

    with pytest.raises(Conflict, match=f"^run {run_id} exists with another content$"):
        other(restore_run, committed_call(export, run_id))

    assert contents(other) == before


def test_a_restored_live_run_goes_on(committed_call: Caller, other: Caller) -> None:
    run_id = create_run(committed_call).id
    other(restore_run, committed_call(export, run_id))

    assert other(append_run_events, run_id, [NewRunEvent(type="token")]) == 2


@pytest.mark.owner
def test_a_run_whose_events_are_purged_moves_as_it_is(
    committed_call: Caller, other: Caller
) -> None:
    run_id = create_run(committed_call).id
    committed_call(append_run_events, run_id, [NewRunEvent(type="token")] * 3)
    # The events that it reads stay for it, and are the run's no more.
    fork_id = committed_call(fork_run, run_id, 2, NewRunFork()).id
    committed_call(cancel_run, run_id)
    purge = committed_call(purge_run_events, clock(committed_call))
    assert (purge.runs, purge.rows) == (1, {"run_events": 3})

    for id in (run_id, fork_id):
        other(restore_run, committed_call(export, id))

    assert [row["seq"] for row in contents(other)["run_events"]] == [1, 2]
    with pytest.raises(EventsPurged):
        other(read_run_events, run_id)
    assert other(read_run_events, run_id, after=5).last_seq == 5
    assert len(other(read_run_events, fork_id).events) == 2
    for call in (committed_call, other):
        assert call(verify_run_events).items == []


def test_another_run_with_the_same_idempotency_key_stands_in_the_way(
    committed_call: Caller, other: Caller
) -> None:
    lines = committed_call(export, create_run(committed_call, idempotency_key="k").id)
    create_run(other, idempotency_key="k")

    with pytest.raises(Conflict, match="runs_tenant_id_idempotency_key_key"):
        other(restore_run, lines)


def test_usage_is_logged_and_counted_nowhere(committed_call: Caller, other: Caller) -> None:
    for call in (committed_call, other):
        make_quota(call)
    lines = committed_call(export, record_whole_run(committed_call), usage=True)
    assert used_and_held(committed_call) == [(5, 0)]

    other(restore_run, lines)

    assert [row["amount"] for row in contents(other)["usage_logs"]] == [5]
    assert used_and_held(other) == [(0, 0)]
    assert disagreements(other) == []
    # A quota that is made afterwards carries it over, as it does all that was logged.
    make_quota(other, meter="tokens", period="month")
    assert disagreements(other) == []


@pytest.mark.owner
def test_usage_of_another_amount_is_a_conflict(committed_call: Caller, other: Caller) -> None:
    lines = committed_call(export, record_whole_run(committed_call), usage=True)
    other(restore_run, lines)
    other.execute("DELETE FROM runstore.runs")
    other(restore_run, lines)
    other.execute("DELETE FROM runstore.runs")
    other.execute("UPDATE runstore.usage_logs SET amount = 6")

    with pytest.raises(Conflict, match=r"does not read back as it was$"):
        other(restore_run, lines)

    assert contents(other)["runs"] == []


@pytest.mark.owner
def test_a_number_is_not_rounded(committed_call: Caller, other: Caller) -> None:
    run_id = create_run(committed_call).id
    number = "12345678901234567890.123456789012345678901234567890"
    set_input = "UPDATE runstore.runs SET input = %s::jsonb WHERE id = %s"
    committed_call.execute(set_input, [number, run_id])

    other(restore_run, committed_call(export, run_id))

    [(found,)] = other.execute("SELECT input::text FROM runstore.runs")
    assert found == number


def test_one_line_after_the_runs_own_is_not_taken(committed_call: Caller, other: Caller) -> None:
    runs = [create_run(committed_call).id for _ in range(3)]
    lines = iter([line for run_id in runs for line in committed_call(export, run_id)])

    assert [other(restore_run, lines).run_id for _ in runs] == runs
    assert next(lines, None) is None


def test_a_log_of_many_batches_moves(committed_call: Caller, other: Caller) -> None:
    run_id = create_run(committed_call).id
    events = (NewRunEvent(type="token", payload={"text": "x" * 3_000}) for _ in range(1_200))
    committed_call(import_run_events, run_id, events)
    lines = committed_call(export, run_id)

    assert other(restore_run, lines).rows == 1_200 + 3
    assert other(export, run_id) == lines


def test_two_restores_at_once_write_the_run_once(
    committed_call: Caller, other_database: str
) -> None:
    lines = committed_call(export, create_run(committed_call).id)
    with ExitStack() as stack:
        first, second, observer = (
            stack.enter_context(psycopg.connect(other_database, autocommit=True)) for _ in range(3)
        )
        executor = stack.enter_context(ThreadPoolExecutor(1))
        with first.transaction():
            restore_run(first, lines)
            waiting = executor.submit(restore_run, second, lines)
            wait_until_blocked(observer)
        assert not waiting.result(timeout=60).created


def replaced(old: bytes, new: bytes) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: resummed([line.replace(old, new) for line in lines])


REFUSALS: list[tuple[Callable[[list[bytes]], Any], str]] = [
    (lambda _: [], "^line 1: is missing: the export was cut off$"),
    (lambda _: [b"nothing\n"], "^line 1: is not one JSON object$"),
    (b"".join, "^line 1: must be bytes, not int$"),
    (lambda lines: b"".join(lines).decode(), "^line 1: must be bytes, not str$"),
    (lambda lines: [*lines[:2], lines[2].decode()], "^line 3: must be bytes, not str$"),
    (lambda lines: lines[1:], "^line 1: is not the first line of an exported run$"),
    (replaced(b'"format":1', b'"format":2'), "^line 1: is of format 2; this version reads 1$"),
    (replaced(b'{"runstore":{', b'{"runstore":['), "^line 1: is not one JSON object$"),
    (replaced(b'"usage":false', b'"usage":"x"'), "^line 1: usage: Input should be"),
    (lambda lines: [lines[0], *lines[2:]], "^line 2: is not the run itself$"),
    (lambda lines: [*lines[:1], b'{"runs":{]}\n', *lines[2:]], "^line 2: is not one JSON object$"),
    (replaced(b'"kind":"feature"', b'"kind":null'), "^line 2: kind must not be NULL$"),
    (
        replaced(b'"kind":"feature"', b'"kind":"x"'),
        "^line 2: kind is refused by the constraint runs_kind_check$",
    ),
    (lambda lines: lines[:-1], r"^line \d+: is missing: the export was cut off$"),
    (lambda lines: [*lines[:-2], lines[-1]], "^the export: was changed or damaged"),
    (
        lambda lines: [line.replace(b"ship-", b"shop-") for line in lines],
        "^the export: was changed or damaged",
    ),
    (replaced(b'{"run_heads":', b'{"run_hats":'), "^line 3: is of no table of a run: run_hats$"),
    (
        lambda lines: resummed([*lines[:3], b'{"run_events":{"seq":}}\n', *lines[3:]]),
        "^line 4: is not one JSON object$",
    ),
    (
        replaced(b'"seq":1,', b'"seq":"one",'),
        "^lines 3 to 4: a value is of another type than its column$",
    ),
    (replaced(b'"seq":1,', b'"seq":null,'), "^lines 3 to 4: seq must not be NULL$"),
    (lambda lines: [*lines[:-1], b'{"end":{"rows":"x"}}\n'], r"^line \d+: rows: Input should"),
]


@pytest.mark.owner
@pytest.mark.parametrize(("change", "message"), REFUSALS)
def test_what_is_no_whole_export_leaves_nothing_behind(
    call: Caller, change: Callable[[list[bytes]], Any], message: str
) -> None:
    lines = call(export, create_run(call).id)
    call.execute("DELETE FROM runstore.runs")

    with pytest.raises(InvalidPayload, match=message):
        call(restore_run, change(lines))

    assert contents(call)["runs"] == []


@pytest.mark.owner
def test_a_row_of_another_run_is_not_written(call: Caller) -> None:
    mine, another = create_run(call).id, create_run(call).id
    lines = call(export, mine)
    call.execute("DELETE FROM runstore.runs WHERE id = %s", [mine])
    foreign = f'{{"run_events":{{"run_id":"{another}","seq":9,"type":"x"}}}}\n'.encode()
    foreign = foreign.replace(b'"type"', b'"created_at":"2026-01-01T00:00:00Z","type"')

    with pytest.raises(InvalidPayload):
        call(restore_run, resummed([*lines[:-1], foreign, lines[-1]]))

    assert call(read_run_events, another).last_seq == 1


@pytest.mark.owner
def test_restore_run_row_says_that_the_run_is_there(call: Caller) -> None:
    run_id = create_run(call).id
    document = call(export, run_id)[1][len(b'{"runs":') : -2]

    assert not call(restore_run_row, run_id, Json(document))
    call.execute("DELETE FROM runstore.runs")
    assert call(restore_run_row, run_id, Json(document))


@pytest.mark.parametrize("function", [restore_run_rows, restore_report_rows])
def test_rows_of_an_unknown_run_are_refused(call: Caller, function: Any) -> None:
    run_id = new_run_id()

    with pytest.raises(LookupError, match=f"^run {run_id} does not exist$"):
        call(function, run_id, ["run_heads"], [Json(b"{}")])


def test_what_is_no_connection_is_refused() -> None:
    conn: Any = "postgresql://me:secret@localhost/agents"

    with pytest.raises(InvalidPayload, match=r"^conn: must be a connection of psycopg, not a str$"):
        restore_run(conn, [])


def test_an_export_is_restored_while_it_is_read(
    connect: Connect, other_database: str, committed_call: Caller
) -> None:
    run_id = create_run(committed_call).id
    with caller("blocking", other_database, rolled_back=False) as other:
        restored = other(restore_run, iter_run_export(connect(), run_id))

    assert restored.created


def test_an_export_is_restored_on_the_connection_that_reads_it(
    connect: Connect, committed_call: Caller
) -> None:
    run_id = create_run(committed_call).id
    conn = connect()

    assert not restore_run(conn, iter_run_export(conn, run_id)).created
    with conn.transaction():
        assert not restore_run(conn, iter_run_export(conn, run_id)).created
    assert conn.info.transaction_status is TransactionStatus.IDLE


def test_a_failed_restore_ends_an_export_on_its_connection(
    connect: Connect, committed_call: Caller
) -> None:
    run_id = create_run(committed_call).id
    conn = connect()
    lines = (line.replace(b"run_heads", b"run_hats") for line in iter_run_export(conn, run_id))

    with pytest.raises(InvalidPayload, match="is of no table of a run: run_hats"):
        restore_run(conn, lines)

    assert conn.info.transaction_status is TransactionStatus.IDLE
    assert get_run(conn, run_id).id == run_id


def test_a_run_that_is_refused_after_its_last_line_leaves_the_lines_of_the_next(
    committed_call: Caller, other: Caller
) -> None:
    first, second = [create_run(committed_call).id for _ in range(2)]
    other(restore_run, committed_call(export, first))
    other(cancel_run, first)
    runs = [committed_call(export, run_id) for run_id in (first, second)]
    lines = (line for run in runs for line in run)

    with pytest.raises(Conflict, match="another content"):
        other(restore_run, lines)
    assert other(restore_run, lines).run_id == second
