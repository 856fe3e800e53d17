"""Importing many events: the numbers, what is refused, and who waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from psycopg import ClientCursor, Connection
from psycopg.rows import DictRow, dict_row
from pydantic import JsonValue

from connections import Caller, Connect, wait_until_blocked
from runstore import (
    InvalidPayload,
    InvalidTransition,
    NewChatRun,
    NewRunEvent,
    NotFound,
    StaleWrite,
    append_run_events,
    cancel_run,
    create_run,
    get_run_head,
    import_run_events,
    new_run_id,
    read_run_events,
)
from runstore.run_events import EventLike

PAYLOADS: list[JsonValue] = [{"text": "a\r\n🦊"}, [1, 2.5, None], "text", 0, True, None, {}]

# More than is encoded at once, so that an import is made of several blocks.
MANY = 1_100


def new_run(call: Caller) -> UUID:
    return call(create_run, NewChatRun()).id


def tokens(count: int) -> Iterator[NewRunEvent]:
    return (NewRunEvent(type="token", payload={"n": n}) for n in range(count))


def log(call: Caller, run_id: UUID) -> list[tuple[int, str, object]]:
    page = call(read_run_events, run_id, page_size=10_000)
    return [(event.seq, event.type, event.payload) for event in page.events]


def test_events_are_numbered_from_one_and_read_back_equal(call: Caller) -> None:
    run_id = new_run(call)
    events = [NewRunEvent(type=f"type 🦊 {n}", payload=p) for n, p in enumerate(PAYLOADS, 1)]

    assert call(import_run_events, run_id, events) == len(PAYLOADS)
    assert log(call, run_id) == [(n, f"type 🦊 {n}", p) for n, p in enumerate(PAYLOADS, 1)]


def test_pairs_of_type_and_payload_are_events(call: Caller) -> None:
    run_id = new_run(call)
    pairs = [(f"type 🦊 {n}", payload) for n, payload in enumerate(PAYLOADS, 1)]

    assert call(import_run_events, run_id, [*pairs, *tokens(1)]) == len(pairs) + 1
    assert log(call, run_id)[:-1] == [(n, *pair) for n, pair in enumerate(pairs, 1)]


def test_large_payloads_are_sent_piece_by_piece(call: Caller) -> None:
    run_id = new_run(call)
    payloads: list[JsonValue] = [str(n) * 600_000 for n in range(5)]

    assert call(import_run_events, run_id, [("text", payload) for payload in payloads]) == 5
    assert log(call, run_id) == [(n, "text", p) for n, p in enumerate(payloads, 1)]


def test_imports_and_appends_follow_each_other_without_a_gap(call: Caller) -> None:
    run_id = new_run(call)

    assert call(append_run_events, run_id, list(tokens(2))) == 2
    assert call(import_run_events, run_id, tokens(MANY)) == 2 + MANY
    assert call(append_run_events, run_id, list(tokens(1))) == 3 + MANY
    assert [(seq, payload) for seq, _, payload in log(call, run_id)] == [
        (seq, {"n": n}) for seq, n in enumerate([*range(2), *range(MANY), 0], 1)
    ]


def test_an_import_is_a_sign_of_life(call: Caller) -> None:
    run_id = new_run(call)
    before = call(get_run_head, run_id)

    call(import_run_events, run_id, tokens(1))

    assert call(get_run_head, run_id).heartbeat_at > before.heartbeat_at


def test_an_import_repeated_with_its_expected_seq_is_stale(call: Caller) -> None:
    run_id = new_run(call)
    call(import_run_events, run_id, tokens(3), expected_seq=0)

    with pytest.raises(StaleWrite) as refusal:
        call(import_run_events, run_id, tokens(3), expected_seq=0)

    assert (refusal.value.expected, refusal.value.found) == (0, 3)
    assert len(log(call, run_id)) == 3


def test_only_a_run_that_goes_on_takes_events(call: Caller) -> None:
    run_id = new_run(call)
    call(cancel_run, run_id)

    with pytest.raises(InvalidTransition, match="is cancelled"):
        call(import_run_events, run_id, tokens(1))
    with pytest.raises(NotFound, match=r"run .* does not exist"):
        call(import_run_events, new_run_id(), tokens(1))


@pytest.mark.parametrize(
    ("fault", "path"),
    [
        pytest.param(NewRunEvent(type="run.mine"), f"events[{MANY}].type", id="own type"),
        pytest.param("text", f"events[{MANY}]", id="no event"),
        pytest.param(("ok", {"a": "\0"}), f"events[{MANY}].payload.a", id="payload"),
    ],
)
def test_an_import_with_a_fault_writes_nothing(
    committed_call: Caller, fault: EventLike, path: str
) -> None:
    run_id = new_run(committed_call)
    committed_call(append_run_events, run_id, list(tokens(1)))

    with pytest.raises(InvalidPayload) as refusal:
        committed_call(import_run_events, run_id, [*tokens(MANY), fault])

    assert refusal.value.path == path
    assert len(log(committed_call, run_id)) == 1
    assert committed_call(get_run_head, run_id).last_seq == 1


def test_an_import_of_nothing_is_refused(call: Caller) -> None:
    with pytest.raises(InvalidPayload, match="events: are none"):
        call(import_run_events, new_run(call), [])


def test_what_the_events_raise_ends_the_import(committed_call: Caller) -> None:
    run_id = new_run(committed_call)

    def interrupted() -> Iterator[NewRunEvent]:
        yield from tokens(MANY)
        raise LookupError("the old log ends here")

    with pytest.raises(LookupError, match="the old log ends here"):
        committed_call(import_run_events, run_id, interrupted())

    assert log(committed_call, run_id) == []
    assert committed_call(import_run_events, run_id, tokens(1)) == 1


def test_an_append_waits_for_an_import_and_goes_on_after_it(connect: Connect) -> None:
    importing, appending, observer = connect(), connect(), connect()
    run_id = create_run(importing, NewChatRun()).id

    with ThreadPoolExecutor() as threads:
        with importing.transaction():
            import_run_events(importing, run_id, tokens(MANY))
            append = threads.submit(append_run_events, appending, run_id, list(tokens(1)))
            wait_until_blocked(observer)
            assert read_run_events(observer, run_id).events == []

        assert append.result() == MANY + 1


def test_an_import_belongs_to_the_transaction_around_it(connect: Connect) -> None:
    conn = connect()
    run_id = create_run(conn, NewChatRun()).id

    with conn.transaction(force_rollback=True):
        assert import_run_events(conn, run_id, tokens(2)) == 2

    assert get_run_head(conn, run_id).last_seq == 0
    assert read_run_events(conn, run_id).events == []


def test_factories_of_the_connection_change_nothing(database: str) -> None:
    with Connection[DictRow].connect(
        database, row_factory=dict_row, cursor_factory=ClientCursor[DictRow]
    ) as conn:
        run_id = create_run(conn, NewChatRun()).id

        assert import_run_events(conn, run_id, tokens(2)) == 2
