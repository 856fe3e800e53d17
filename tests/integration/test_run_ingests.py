"""Ingesting many events: the numbers, what is kept when it ends early, and how it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from pydantic import JsonValue

from connections import Caller, Connect, Kind, wait_until_blocked
from fault_connections import SIDES, Fault, open_faulty
from runstore import (
    Conflict,
    InvalidPayload,
    InvalidTransition,
    NewChatRun,
    NewRunEvent,
    NotFound,
    append_run_events,
    cancel_run,
    connect_async,
    create_run,
    get_run_head,
    ingest_run_events,
    new_run_id,
    payload_rules,
    read_run_events,
)
from runstore.run_events import EventLike

# Two whole batches of the usual size, and a part of one.
MANY = 1_100


def new_run(call: Caller) -> UUID:
    return call(create_run, NewChatRun()).id


def tokens(count: int, first: int = 0) -> Iterator[EventLike]:
    return (("token", {"n": n}) for n in range(first, first + count))


def numbers(call: Caller, run_id: UUID) -> list[int]:
    """Return what the events of a run say, which are numbered without a gap."""
    events = call(read_run_events, run_id, page_size=10_000).events
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    payloads: list[Any] = [event.payload for event in events]
    return [payload["n"] for payload in payloads]


def test_events_of_any_number_are_appended_in_order(call: Caller) -> None:
    run_id, ends = new_run(call), list[int]()
    call(append_run_events, run_id, list(tokens(2)))

    last_seq = call(ingest_run_events, run_id, tokens(MANY, 2), on_batch=ends.append)

    assert last_seq == MANY + 2
    assert ends == [502, 1002, MANY + 2]
    assert numbers(call, run_id) == list(range(MANY + 2))


def test_pairs_and_models_are_events(call: Caller) -> None:
    run_id = new_run(call)
    events: list[EventLike] = [NewRunEvent(type="model", payload=1), ("pair", 2), ("pair", None)]

    assert call(ingest_run_events, run_id, events, batch_size=2) == 3

    found = call(read_run_events, run_id).events
    assert [(event.type, event.payload) for event in found] == [
        ("model", 1),
        ("pair", 2),
        ("pair", None),
    ]


def test_each_batch_is_committed_before_it_is_told(
    connect: Connect, committed_call: Caller
) -> None:
    observer, run_id, seen = connect(), new_run(committed_call), list[tuple[int, int]]()

    def look(last_seq: int) -> None:
        seen.append((last_seq, get_run_head(observer, run_id).last_seq))

    committed_call(ingest_run_events, run_id, tokens(5), batch_size=2, on_batch=look)

    assert seen == [(2, 2), (4, 4), (5, 5)]


def test_who_else_writes_comes_in_between(connect: Connect) -> None:
    """It, and the source of the events, may use the same connection."""
    conn = connect()
    run_id = create_run(conn, NewChatRun()).id

    def source() -> Iterator[EventLike]:
        for event in tokens(4):
            assert get_run_head(conn, run_id).run_id == run_id
            yield event

    last_seq = ingest_run_events(
        conn,
        run_id,
        source(),
        batch_size=2,
        on_batch=lambda seq: append_run_events(conn, run_id, [("token", {"n": -seq})]),
    )

    assert last_seq == 5
    page = read_run_events(conn, run_id)
    payloads: list[Any] = [event.payload for event in page.events]
    assert [payload["n"] for payload in payloads] == [0, 1, -2, 2, 3, -5]


def test_an_ingest_belongs_to_the_transaction_around_it(connect: Connect) -> None:
    conn = connect()
    run_id = create_run(conn, NewChatRun()).id

    with conn.transaction(force_rollback=True):
        assert ingest_run_events(conn, run_id, tokens(5), batch_size=2) == 5

    assert get_run_head(conn, run_id).last_seq == 0


class Looked(tuple[str, JsonValue]):
    """An event that tells when it is encoded."""

    __slots__ = ()
    looked = False

    def __len__(self) -> int:
        Looked.looked = True
        return super().__len__()


# A statement is prepared at its second use.
@pytest.mark.parametrize("uses", range(3))
def test_the_next_batch_is_encoded_while_the_server_writes(
    connect: Connect, committed_call: Caller, uses: int
) -> None:
    run_id, locker = new_run(committed_call), connect()
    for event in tokens(uses):
        committed_call(append_run_events, run_id, [event])
    Looked.looked = False
    events: list[EventLike] = [("token", {"n": uses}), Looked(("token", {"n": uses + 1}))]

    with ThreadPoolExecutor() as threads:
        with locker.transaction():
            locker.execute("SELECT FROM runstore.run_heads WHERE run_id = %s FOR UPDATE", [run_id])
            ingest = threads.submit(committed_call, ingest_run_events, run_id, events, batch_size=1)
            wait_until_blocked(connect())
            assert Looked.looked
            assert not ingest.done()

        assert ingest.result(10) == uses + 2
    assert numbers(committed_call, run_id) == [*range(uses + 2)]


@pytest.mark.parametrize("size", [1, 1_000_000], ids=["small", "more than a socket takes"])
async def test_the_rules_of_a_block_hold_for_every_batch(database: str, size: int) -> None:
    """Wherever in the event loop a batch is encoded."""
    events: list[EventLike] = [("token", {"n": n, "text": "\0" * size}) for n in range(6)]

    async with await connect_async(database) as conn:
        run_id = (await create_run(conn, NewChatRun())).id
        with payload_rules(max_bytes=10_000_000, sanitize=True):
            await ingest_run_events(conn, run_id, events, batch_size=1)
        found = (await read_run_events(conn, run_id)).events

    assert [event.payload for event in found] == [
        {"n": n, "text": "\N{REPLACEMENT CHARACTER}" * size} for n in range(6)
    ]


@pytest.mark.parametrize(
    ("fault", "path"),
    [
        pytest.param(NewRunEvent(type="run.mine"), "events[5].type", id="own type"),
        pytest.param("text", "events[5]", id="no event"),
        pytest.param(("ok", {"a": "\0"}), "events[5].payload.a", id="payload"),
    ],
)
def test_a_fault_is_named_and_ends_it_before_its_batch(
    committed_call: Caller, fault: EventLike, path: str
) -> None:
    run_id = new_run(committed_call)

    with pytest.raises(InvalidPayload) as refusal:
        committed_call(ingest_run_events, run_id, [*tokens(5), fault, *tokens(9)], batch_size=2)

    assert refusal.value.path == path
    assert refusal.value.__notes__ == ["4 events are known to be appended"]
    assert numbers(committed_call, run_id) == [0, 1, 2, 3]


def test_what_the_events_raise_ends_it_after_the_batches_before(committed_call: Caller) -> None:
    run_id = new_run(committed_call)

    def interrupted() -> Iterator[EventLike]:
        yield from tokens(5)
        raise LookupError("the old log ends here")

    with pytest.raises(LookupError, match="the old log ends here") as refusal:
        committed_call(ingest_run_events, run_id, interrupted(), batch_size=2)

    assert refusal.value.__notes__ == ["4 events are known to be appended"]
    assert numbers(committed_call, run_id) == [0, 1, 2, 3]


def test_what_on_batch_raises_ends_it_after_the_batch(committed_call: Caller) -> None:
    run_id = new_run(committed_call)

    def enough(last_seq: int) -> None:
        raise LookupError(f"{last_seq} are enough")

    with pytest.raises(LookupError, match="2 are enough") as refusal:
        committed_call(ingest_run_events, run_id, tokens(5), batch_size=2, on_batch=enough)

    assert refusal.value.__notes__ == ["2 events are known to be appended"]
    assert numbers(committed_call, run_id) == [0, 1]


def test_an_ingest_that_is_repeated_by_its_id_appends_what_is_missing(call: Caller) -> None:
    run_id, ingest_id = new_run(call), uuid4()
    call(ingest_run_events, run_id, tokens(4), batch_size=2, ingest_id=ingest_id)

    def repeat() -> int:
        return call(ingest_run_events, run_id, tokens(7), batch_size=2, ingest_id=ingest_id)

    assert (repeat(), repeat()) == (7, 7)
    call(cancel_run, run_id)
    assert repeat() == 7
    assert call(read_run_events, run_id).events[-1].type == "run.cancelled"
    with pytest.raises(Conflict, match="exists with other events"):
        call(ingest_run_events, run_id, tokens(7, 1), batch_size=2, ingest_id=ingest_id)
    assert call(get_run_head, run_id).last_seq == 8


def test_without_an_id_it_is_another_one(call: Caller) -> None:
    run_id = new_run(call)

    assert call(ingest_run_events, run_id, tokens(2)) == 2
    assert call(ingest_run_events, run_id, tokens(2)) == 4


@pytest.mark.parametrize("side", SIDES)
def test_an_ingest_that_loses_its_connection_anywhere_is_finished_when_repeated(
    connection_kind: Kind, database: str, committed_call: Caller, side: Any
) -> None:
    run_id = new_run(committed_call)
    with open_faulty(connection_kind, database, fault := Fault()) as session:
        session(ingest_run_events, run_id, tokens(5), batch_size=1)
        trips = fault.trips
    assert trips >= 5

    for trip in range(1, trips + 1):
        run_id, ingest_id = new_run(committed_call), uuid4()
        with (
            open_faulty(connection_kind, database, Fault(trip, side)) as session,
            pytest.raises(psycopg.OperationalError, match="connection is lost") as failure,
        ):
            session(ingest_run_events, run_id, tokens(5), batch_size=1, ingest_id=ingest_id)

        [note] = failure.value.__notes__
        left = len(numbers(committed_call, run_id))
        known = int(note.split()[0])
        assert left == known + (side == "after")
        assert (
            committed_call(ingest_run_events, run_id, tokens(5), batch_size=1, ingest_id=ingest_id)
            == 5
        )
        assert numbers(committed_call, run_id) == list(range(5))


def test_only_a_run_that_goes_on_takes_events(call: Caller) -> None:
    run_id = new_run(call)
    call(cancel_run, run_id)

    with pytest.raises(InvalidTransition, match="is cancelled"):
        call(ingest_run_events, run_id, tokens(1))
    with pytest.raises(NotFound, match=r"run .* does not exist"):
        call(ingest_run_events, new_run_id(), tokens(1))


def test_an_ingest_of_nothing_is_refused(call: Caller) -> None:
    with pytest.raises(InvalidPayload, match="events: are none"):
        call(ingest_run_events, new_run(call), [])


@pytest.mark.parametrize("batch_size", [0, 10_001])
def test_a_batch_has_a_size_that_one_statement_takes(call: Caller, batch_size: int) -> None:
    with pytest.raises(InvalidPayload, match="batch_size: must be from 1 to 10000"):
        call(ingest_run_events, new_run_id(), tokens(1), batch_size=batch_size)
