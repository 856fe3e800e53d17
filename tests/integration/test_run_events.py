"""The log of a run: append and read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue, field_validator

from connections import Caller, Connect, wait_until_blocked
from runstore import (
    Conflict,
    InvalidPayload,
    InvalidTransition,
    NewChatRun,
    NewRunEvent,
    NewRunFork,
    NotFound,
    Run,
    StaleWrite,
    append_run_events,
    complete_run,
    create_run,
    fork_run,
    get_run_head,
    import_run_events,
    new_child_id,
    new_run_id,
    read_run_events,
    verify_run_events,
)
from runstore.run_events import MAX_EVENTS, EventLike

PAYLOADS: list[JsonValue] = [{"text": "a\r\n🦊"}, [1, 2.5, None], "text", 0, True, None, {}]


def new_run(call: Caller) -> Run:
    return call(create_run, NewChatRun())


def tokens(count: int, start: int = 0) -> list[NewRunEvent]:
    return [NewRunEvent(type="token", payload={"n": start + n}) for n in range(count)]


def log(call: Caller, run_id: UUID) -> list[tuple[int, str, object]]:
    page = call(read_run_events, run_id, page_size=10_000)
    return [(event.seq, event.type, event.payload) for event in page.events]


# append_run_events


def test_events_are_numbered_from_one_and_read_back_equal(call: Caller) -> None:
    run = new_run(call)

    last = call(append_run_events, run.id, [NewRunEvent(type="t", payload=p) for p in PAYLOADS])

    assert last == len(PAYLOADS)
    assert log(call, run.id) == [(n, "t", p) for n, p in enumerate(PAYLOADS, 1)]


def test_a_pair_of_type_and_payload_is_an_event(call: Caller) -> None:
    run = new_run(call)
    append_id = uuid4()
    pairs = [(f"type 🦊 {n}", payload) for n, payload in enumerate(PAYLOADS, 1)]

    for _ in range(2):
        assert call(append_run_events, run.id, pairs, append_id=append_id) == len(PAYLOADS)
    assert log(call, run.id) == [(n, *pair) for n, pair in enumerate(pairs, 1)]

    same = [NewRunEvent(type=type, payload=payload) for type, payload in pairs]
    assert call(append_run_events, run.id, same, append_id=append_id) == len(PAYLOADS)
    with pytest.raises(Conflict, match="exists with other events"):
        call(append_run_events, run.id, [*pairs[1:], pairs[0]], append_id=append_id)


def test_appends_follow_each_other_without_a_gap(call: Caller) -> None:
    run = new_run(call)

    assert [call(append_run_events, run.id, tokens(n)) for n in (1, 3, 2)] == [1, 4, 6]
    assert [seq for seq, *_ in log(call, run.id)] == [1, 2, 3, 4, 5, 6]


def test_an_append_takes_up_to_ten_thousand_events(call: Caller) -> None:
    run = new_run(call)

    assert call(append_run_events, run.id, tokens(MAX_EVENTS)) == MAX_EVENTS
    with pytest.raises(InvalidPayload, match="events: are more than 10000"):
        call(append_run_events, run.id, tokens(MAX_EVENTS + 1))
    assert call(get_run_head, run.id).last_seq == MAX_EVENTS


UNFIT: list[tuple[list[Any], str]] = [
    ([], "events"),
    ([NewRunEvent(type="ok"), NewRunEvent(type="run.completed")], "events[1].type"),
    ([("ok", {}), ("run.completed", {})], "events[1].type"),
    (["not an event"], "events[0]"),
    ([("ok", {}, "and more")], "events[0]"),
    ([NewRunEvent(type="ok"), ("ok", {"a": ["fine", "\0"]})], "events[1].payload.a[1]"),
    ([("ok", [float("nan")])], "events[0].payload[0]"),
]


@pytest.mark.parametrize(("events", "path"), UNFIT)
def test_what_cannot_be_appended_is_refused_with_its_path(
    call: Caller, events: Sequence[EventLike], path: str
) -> None:
    run = new_run(call)

    with pytest.raises(InvalidPayload) as refusal:
        call(append_run_events, run.id, events)

    assert refusal.value.path == path
    assert log(call, run.id) == []


class Label(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "type",
    [
        "",
        "x" * 256,
        "a\0",
        "\ud800",
        7,
        None,
        ["list"],
        "x" * 255,
        "é" * 255,
        Label("label"),
        b"raw",
    ],
)
def test_the_type_of_a_pair_is_validated_like_that_of_an_event(type: Any) -> None:
    def outcome(make: Callable[[], object]) -> object:
        try:
            return make()
        except InvalidPayload as error:
            return error.path.removeprefix("events[1]."), error.reason

    def sent(event: EventLike) -> object:
        return append_run_events.bind(new_run_id(), [("ok", {}), event]).parameters["types"]

    made = outcome(lambda: sent(NewRunEvent(type=type, payload={})))
    assert made == outcome(lambda: sent(NewRunEvent.model_validate({"type": type, "payload": {}})))
    assert made == outcome(lambda: sent((type, {})))


def test_a_model_of_an_applications_own_is_validated_as_it_says() -> None:
    class Token(NewRunEvent):
        @field_validator("type")
        @classmethod
        def is_token(cls, value: str) -> str:
            if value != "token":
                raise ValueError("is no token")
            return value

    assert Token(type="token", payload={}).type == "token"
    with pytest.raises(InvalidPayload, match="type: is no token"):
        Token(type="message", payload={})


def test_a_payload_that_cannot_be_stored_is_refused_with_its_path() -> None:
    with pytest.raises(InvalidPayload) as refusal:
        NewRunEvent(type="ok", payload={"a": ["fine", "\0"]})
    assert refusal.value.path == "payload.a[1]"


def test_an_event_is_appended_as_it_was_when_it_was_made(call: Caller) -> None:
    run = new_run(call)
    payload: dict[str, JsonValue] = {"n": 1}
    event = NewRunEvent(type="t", payload=payload)

    payload["n"] = 2
    call(append_run_events, run.id, [event])

    assert log(call, run.id) == [(1, "t", {"n": 1})]


def test_an_append_to_an_unknown_run_is_not_found(call: Caller) -> None:
    with pytest.raises(NotFound):
        call(append_run_events, new_run_id(), tokens(1))


def test_an_append_to_an_ended_run_names_its_status(call: Caller) -> None:
    run = new_run(call)
    call(complete_run, run.id)

    with pytest.raises(InvalidTransition) as refusal:
        call(append_run_events, run.id, tokens(1))

    assert refusal.value.status == "completed"
    assert [type for _, type, _ in log(call, run.id)] == ["run.completed"]


def test_an_expected_number_makes_it_a_compare_and_set(call: Caller) -> None:
    run = new_run(call)
    assert call(append_run_events, run.id, tokens(2), expected_seq=0) == 2

    with pytest.raises(StaleWrite) as refusal:
        call(append_run_events, run.id, tokens(1), expected_seq=1)

    assert (refusal.value.expected, refusal.value.found) == (1, 2)
    assert call(append_run_events, run.id, tokens(1), expected_seq=2) == 3


def test_a_repeated_append_changes_nothing(call: Caller) -> None:
    run = new_run(call)
    append_id = new_child_id(run.id)
    first = call(append_run_events, run.id, tokens(3), append_id=append_id, expected_seq=0)
    call(append_run_events, run.id, tokens(1))

    again = call(append_run_events, run.id, tokens(3), append_id=append_id, expected_seq=0)
    call(complete_run, run.id)
    late = call(append_run_events, run.id, tokens(3), append_id=append_id)

    assert first == again == late == 3
    assert call(get_run_head, run.id).last_seq == 5


def test_an_append_id_stands_for_one_append(call: Caller) -> None:
    run = new_run(call)
    append_id = new_child_id(run.id)
    call(append_run_events, run.id, tokens(3), append_id=append_id)

    with pytest.raises(Conflict):
        call(append_run_events, run.id, tokens(3, start=1), append_id=append_id)
    with pytest.raises(Conflict):
        call(append_run_events, run.id, tokens(4), append_id=append_id)
    with pytest.raises(Conflict):
        call(append_run_events, run.id, tokens(2), append_id=append_id)

    assert call(get_run_head, run.id).last_seq == 3


def test_an_append_id_does_not_stand_for_what_another_append_wrote(call: Caller) -> None:
    run = new_run(call)
    append_id = new_child_id(run.id)
    call(append_run_events, run.id, tokens(1), append_id=append_id)
    call(append_run_events, run.id, tokens(1, start=1))

    with pytest.raises(Conflict):
        call(append_run_events, run.id, tokens(2), append_id=append_id)


@pytest.mark.owner
def test_what_an_older_version_appended_or_ended_may_be_repeated(call: Caller) -> None:
    run = new_run(call)
    append_id = new_child_id(run.id)
    call(append_run_events, run.id, tokens(3), append_id=append_id)
    ended = call(complete_run, run.id, events=tokens(2))
    call.execute("UPDATE runstore.run_events SET append_size = NULL")

    assert call(append_run_events, run.id, tokens(3), append_id=append_id) == 3
    assert call(complete_run, run.id, events=tokens(2)) == ended


def test_a_repeated_append_leaves_the_callers_transaction_usable(connect: Connect) -> None:
    conn = connect()
    run = create_run(conn, NewChatRun())
    append_id = new_child_id(run.id)
    append_run_events(conn, run.id, tokens(1), append_id=append_id)

    with conn.transaction():
        assert append_run_events(conn, run.id, tokens(1), append_id=append_id) == 1
        assert append_run_events(conn, run.id, tokens(1)) == 2

    assert get_run_head(conn, run.id).last_seq == 2


def test_a_repeated_append_works_without_autocommit(database: str) -> None:
    with psycopg.connect(database) as conn:
        run = create_run(conn, NewChatRun())
        append_id = new_child_id(run.id)
        append_run_events(conn, run.id, tokens(1), append_id=append_id)
        conn.commit()

        assert append_run_events(conn, run.id, tokens(1), append_id=append_id) == 1
        assert append_run_events(conn, run.id, tokens(1)) == 2


def test_a_repetition_that_overtakes_the_first_attempt_waits_for_it(connect: Connect) -> None:
    first, second, observer = connect(), connect(), connect()
    run = create_run(first, NewChatRun())
    append_id = new_child_id(run.id)

    with ThreadPoolExecutor(1) as threads:
        with first.transaction():
            answer = append_run_events(first, run.id, tokens(2), append_id=append_id)
            repetition = threads.submit(
                append_run_events, second, run.id, tokens(2), append_id=append_id
            )
            wait_until_blocked(observer)

        assert answer == repetition.result() == 2
    assert get_run_head(first, run.id).last_seq == 2


# read_run_events


def test_a_page_tells_the_status_of_its_snapshot(call: Caller) -> None:
    run = new_run(call)
    call(append_run_events, run.id, tokens(3))

    page = call(read_run_events, run.id, after=1, page_size=1)
    assert (page.run_id, page.status, page.last_seq) == (run.id, "pending", 3)
    assert [event.seq for event in page.events] == [2]

    call(complete_run, run.id)
    page = call(read_run_events, run.id, after=4)
    assert (page.status, page.last_seq, page.events) == ("completed", 4, [])


def test_reading_an_unknown_run_is_not_found(call: Caller) -> None:
    with pytest.raises(NotFound):
        call(read_run_events, new_run_id())


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"after": -1}, "after"),
        ({"page_size": 0}, "page_size"),
        ({"page_size": 10_001}, "page_size"),
    ],
)
def test_a_page_that_cannot_be_is_refused(
    call: Caller, arguments: dict[str, int], path: str
) -> None:
    with pytest.raises(InvalidPayload) as refusal:
        call(read_run_events, new_run_id(), **arguments)
    assert refusal.value.path == path


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(0, 30), page_size=st.integers(1, 12))
def test_pages_visit_each_event_once(call: Caller, count: int, page_size: int) -> None:
    run = new_run(call)
    if count:
        call(append_run_events, run.id, tokens(count))

    seen: list[int] = []
    while page := call(read_run_events, run.id, after=len(seen), page_size=page_size).events:
        seen += [event.seq for event in page]

    assert seen == list(range(1, count + 1))


def test_after_the_largest_number_there_is_nothing(call: Caller) -> None:
    run = new_run(call)
    call(append_run_events, run.id, tokens(1))

    page = call(read_run_events, run.id, after=2**63 - 1)

    assert (page.last_seq, page.events) == (1, [])


def test_a_page_reads_no_more_of_a_log_than_itself(connect: Connect) -> None:
    """By no plan: of a log that was just imported nothing is known that tells which one is good."""
    conn = connect()
    run_id = create_run(conn, NewChatRun()).id
    import_run_events(conn, run_id, (("token", None) for _ in range(1_000)))
    # What is left is to look up all that may be on the page, and to sort it.
    conn.execute("SET enable_indexscan = off")

    def rows_read() -> int:
        [row] = conn.execute(
            "SELECT coalesce(idx_tup_fetch, 0) + seq_tup_read FROM pg_stat_xact_all_tables"
            " WHERE relid = 'runstore.run_events'::regclass"
        )
        return int(row[0])

    with conn.transaction():
        page = read_run_events(conn, run_id, after=100, page_size=200)
        assert [event.seq for event in page.events] == list(range(101, 301))
        assert rows_read() == 200


def test_a_plan_made_while_the_log_was_empty_does_not_stay(connect: Connect) -> None:
    conn = connect()
    run = create_run(conn, NewChatRun())
    conn.execute("VACUUM ANALYZE runstore.run_events")
    conn.execute("SET plan_cache_mode = force_generic_plan")
    for _ in range(10):
        read_run_events(conn, run.id)

    # A statement that was prepared by then would have kept the plan of an empty table.
    names = conn.execute("SELECT statement FROM pg_prepared_statements").fetchall()
    assert not [text for (text,) in names if "name: read_run_events" in text]


# verify_run_events


def faults(call: Caller) -> dict[UUID, str | None]:
    found: dict[UUID, str | None] = {}
    cursor = None
    while True:
        page = call(verify_run_events, cursor=cursor, page_size=2)
        found |= {audit.run_id: audit.fault for audit in page.items}
        cursor = page.next_cursor
        if cursor is None:
            return found


def test_sound_logs_have_no_fault(call: Caller) -> None:
    empty, live, ended = new_run(call).id, new_run(call).id, new_run(call).id
    call(append_run_events, live, tokens(3))
    call(append_run_events, ended, tokens(3))
    call(complete_run, ended)
    fork = call(fork_run, ended, 2, NewRunFork()).id
    call(append_run_events, fork, tokens(2))
    call(fork_run, fork, 3, NewRunFork())
    call(fork_run, empty, 0, NewRunFork())

    assert faults(call) == {}


@pytest.mark.owner
@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("DELETE FROM runstore.run_events WHERE seq = 1", "has 3 events after 0 and up to 4"),
        ("DELETE FROM runstore.run_events WHERE seq = 2", "has 3 events after 0 and up to 4"),
        ("DELETE FROM runstore.run_events WHERE seq = 4", "ends at 3 instead of 4"),
        ("DELETE FROM runstore.run_events", "ends at 0 instead of 4"),
        ("UPDATE runstore.run_heads SET last_seq = 5", "ends at 4 instead of 5"),
        ("UPDATE runstore.run_heads SET closed = false", "is open, and its run is completed"),
    ],
)
def test_a_log_with_a_fault_is_found(call: Caller, damage: LiteralString, fault: str) -> None:
    run_id = new_run(call).id
    call(append_run_events, run_id, tokens(3))
    call(complete_run, run_id)
    assert faults(call) == {}

    call.execute(damage)

    assert faults(call) == {run_id: fault}


@pytest.mark.owner
@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("DELETE FROM runstore.run_events WHERE seq = 2", "has 2 of the 3 events that it shares"),
        ("DELETE FROM runstore.run_segments", "has 1 events after 0 and up to 4"),
        ("UPDATE runstore.run_segments SET to_seq = 2", "has 1 events after 2 and up to 4"),
    ],
)
def test_a_fork_that_lacks_what_it_shares_is_found(
    call: Caller, damage: LiteralString, fault: str
) -> None:
    origin = new_run(call).id
    call(append_run_events, origin, tokens(5))
    fork = call(fork_run, origin, 3, NewRunFork()).id
    call(append_run_events, fork, tokens(1))

    call.execute(damage)

    assert faults(call)[fork] == fault
