"""Run events: the log of a run, which replays and resumes."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final, cast
from uuid import UUID

from pydantic import Field, JsonValue

from . import _sql
from ._arrays import Array, array
from ._json import document, together
from ._models import ENDED, Amount, Input, Json, JsonGiven, Key, Page, Row, RunId, RunStatus
from ._pages import only, page
from ._plain import is_key
from ._query import Rows, Statement, Steps, query, reads
from ._statements import get, maker, many, not_found
from .errors import (
    Conflict,
    EventsPurged,
    InvalidPayload,
    InvalidTransition,
    RunstoreError,
    StaleWrite,
)

_SQL: Final = _sql.load("run_events")

MAX_EVENTS: Final = 10_000
MAX_PAGE_SIZE: Final = 10_000
MAX_SEQ: Final = (1 << 63) - 1

_NULL: Final = b"null"
_FIELDS: Final = 2
_APPEND_KEY: Final = "run_events_run_id_append_id_key"


class RunEvent(Row):
    """One event of a run. `seq` starts at 1 and has no gap; it says the order of commits."""

    seq: int
    type: str
    payload: JsonValue
    created_at: datetime


class AppendedEvent(RunEvent):
    """An event, and how many its append wrote where it is the first of one that has an id."""

    append_size: int | None


class EventPage(Row):
    """Some events of a run, with the run's status and its last number in the same snapshot.

    Who has read up to `last_seq` of a run in a final status has read all of it.
    """

    run_id: UUID
    status: RunStatus
    last_seq: int
    events: list[RunEvent]


class RunHead(Row):
    """How far a run's log goes, and whether it has ended.

    The run's own events up to `purged_seq` have been purged; None: none has.
    """

    run_id: UUID
    status: RunStatus
    last_seq: int
    closed: bool
    heartbeat_at: datetime
    purged_seq: int | None


class LogAudit(Row):
    """A run's log beside what its head and its segments say of it.

    `shared_events` are those of other runs that a fork reads up to `shared_seq`; both are 0 for a
    run that shares none. Its own are counted after `purged_seq`, and their numbers are None where
    it has none.
    """

    run_id: UUID
    status: RunStatus
    closed: bool
    last_seq: int
    purged_seq: int | None
    shared_events: int
    shared_seq: int
    own_events: int
    own_first_seq: int | None
    own_last_seq: int | None

    @property
    def fault(self) -> str | None:
        """Say what is wrong with the log; None when nothing is."""
        if self.closed != (self.status in ENDED):
            return f"is {'closed' if self.closed else 'open'}, and its run is {self.status}"
        if self.shared_events != self.shared_seq:
            return f"has {self.shared_events} of the {self.shared_seq} events that it shares"
        start = max(self.shared_seq, self.purged_seq or 0)
        end = start if self.own_last_seq is None else self.own_last_seq
        if self.own_events != end - start or self.own_first_seq not in (None, start + 1):
            return f"has {self.own_events} events after {start} and up to {end}"
        return None if end == self.last_seq else f"ends at {end} instead of {self.last_seq}"


class NewRunEvent(Input):
    """An event to append. Types that start with `run.` are the library's own.

    A payload may be any JSON value; None is JSON's null.
    """

    entity: ClassVar[str] = "run event"

    type: Key
    """What happened: 1 to 255 characters, not starting with `run.`."""
    payload: Json = Field(default_factory=dict)
    """Any JSON value; None is JSON's null."""


EventLike = NewRunEvent | tuple[str, JsonGiven]
"""An event to append; a pair of its type and its payload takes less time to make."""


def documents_of(events: Iterable[EventLike], types: list[str], first: int = 0) -> Generator[bytes]:
    """Yield the payload of each event as a JSON document, and add its type to `types`.

    Whoever copies each document as it comes needs memory for one of them. Raises
    `InvalidPayload`, with the index of the event at fault; `first` is that of the first.
    """
    # Few types stand for many events.
    known: dict[str, str] = {}
    before = len(types)
    try:
        # Not every caller has had its types checked.
        for event in cast("Iterable[Any]", events):
            if event.__class__ is tuple and len(event) == _FIELDS and type(event[0]) is str:
                name, payload = event
                encoded = document(payload, "payload")
            else:
                made = event_of(event)
                name, encoded = made.type, made.documents["payload"] or _NULL
            own = known.get(name)
            if own is None:
                own = known[name] = _own_type(name)
            types.append(own)
            yield encoded
    except InvalidPayload as error:
        path = f"events[{first + len(types) - before}].{error.path}".rstrip(".")
        raise InvalidPayload(path, error.reason) from None


def event_of(event: object) -> NewRunEvent:
    """Return an event, or make it of its pair. Raises `InvalidPayload`."""
    kind = type(event).__name__
    if isinstance(event, NewRunEvent):
        return event
    if isinstance(event, tuple) and len(pair := cast("tuple[object, ...]", event)) == _FIELDS:
        return NewRunEvent.model_validate({"type": pair[0], "payload": pair[1]})
    raise InvalidPayload("", f"must be a NewRunEvent, not a {kind}, or a pair of type and payload")


def _own_type(name: str) -> str:
    if not is_key(name):
        name = NewRunEvent(type=name).type
    if name.startswith("run."):
        raise InvalidPayload("type", "starts with run., which is the library's")
    return name


def event_columns(events: Sequence[EventLike]) -> dict[str, Array]:
    """Return the parameters of events, one array for each column.

    Raises `InvalidPayload`, with the index of the event at fault.
    """
    if len(events) > MAX_EVENTS:
        raise InvalidPayload("events", f"are more than {MAX_EVENTS}")
    types: list[str] = []
    payloads = array("text", together(documents_of(events, types), "events"))
    return {"types": array("text", types), "payloads": payloads}


@query
@reads(UUID, int)
def append_run_events(
    run_id: RunId,
    events: Sequence[EventLike],
    *,
    expected_seq: Amount | None = None,
    append_id: UUID | None = None,
) -> Statement[int]:
    """Append 1 to 10,000 events to a run that has not ended, and return the last one's number.

    One statement and one round trip. An event is a `NewRunEvent`, or a pair of its type and its
    payload, which takes less time and is validated the same. The numbers come from the run's
    head, under its row lock: they start at 1, have no gap and no double, and become visible in
    order.

    With `expected_seq` it is a compare-and-set: `StaleWrite` says that the run's last event is
    another one. With an `append_id` of the caller's it may be repeated when its answer was
    lost: the repetition appends nothing and returns what the first one did, also when the run
    has ended since. Raises `NotFound`, `InvalidTransition` when the run has ended, `Conflict`
    when the `append_id` stands for other events.
    """
    if not events:
        raise InvalidPayload("events", "are none")
    columns = event_columns(events)
    parameters = {
        **columns,
        "run_id": run_id,
        "expected_seq": expected_seq,
        "append_id": append_id,
    }

    def refused(error: RunstoreError) -> Steps[int]:
        if not isinstance(error, Conflict) or error.constraint != _APPEND_KEY:
            raise error
        return (yield from _unappended(run_id, events, expected_seq, append_id))

    return Statement(
        _SQL["append_run_events"],
        parameters,
        lambda rows: rows[0][1],
        lambda: _unappended(run_id, events, expected_seq, append_id),
        None if append_id is None else refused,
    )


def _unappended(
    run_id: UUID,
    events: Sequence[EventLike],
    expected_seq: int | None,
    append_id: UUID | None,
) -> Steps[int]:
    # An append that arrived the first time comes before the reasons why it could not now.
    if append_id is not None:
        found = yield from find_appended_events.bind(run_id, append_id, len(events))
        if found:
            given = map(event_of, events)
            # What older versions appended has no size.
            size = found[0].append_size or len(found)
            if not len(found) == len(events) == size or any(
                event.differences(row) for event, row in zip(given, found, strict=True)
            ):
                raise Conflict(f"append {append_id} exists with other events")
            return found[-1].seq
    head = yield from get_run_head.bind(run_id)
    if head.closed:
        raise InvalidTransition("run", run_id, head.status)
    if expected_seq is not None and head.last_seq != expected_seq:
        raise StaleWrite("last_seq", expected_seq, head.last_seq)
    # The run moved on between the two statements, so that the reason is gone.
    raise Conflict(f"run {run_id} was written to at the same time; repeat the append")


@query
def find_appended_events(
    run_id: RunId, append_id: UUID, event_count: Amount
) -> Statement[list[AppendedEvent]]:
    """Return the events of an earlier append, by its id, at most so many; none: there was none."""
    parameters = {"run_id": run_id, "append_id": append_id, "event_count": event_count}
    return many(AppendedEvent, _SQL["find_appended_events"], parameters, prepare=False)


@query
def get_run_head(run_id: RunId) -> Statement[RunHead]:
    """Return how far a run's log goes and whether the run has ended. Raises `NotFound`."""
    return get(RunHead, _SQL["get_run_head"], "run", run_id, {"run_id": run_id})


@query
@reads(UUID | None, RunStatus | None, int | None, int | None, RunEvent | None)
def read_run_events(
    run_id: RunId, *, after: Amount = 0, page_size: int = 500
) -> Statement[EventPage]:
    """Return a page of a run's events, those numbered after `after`, in order.

    The events and the run's status are of one snapshot. A fork's page starts with the events
    that it shares. Raises `NotFound`, and `EventsPurged` where events after `after` are gone.
    """
    if not 1 <= page_size <= MAX_PAGE_SIZE:
        raise InvalidPayload("page_size", f"must be from 1 to {MAX_PAGE_SIZE}")
    make_page, make_event = maker(EventPage), maker(RunEvent, after=4)

    def read(rows: Rows) -> EventPage:
        *events, (run_id, status, last_seq, purged_seq, *_) = rows
        if purged_seq is not None and after < purged_seq:
            raise EventsPurged(run_id, purged_seq)
        return make_page((run_id, status, last_seq, [make_event(row) for row in events]))

    return Statement(
        _SQL["read_run_events"],
        {
            "run_id": run_id,
            "after": after,
            "up_to": min(after + page_size, MAX_SEQ),
            "page_size": page_size,
        },
        read,
        lambda: not_found("run", run_id),
        prepare=False,
    )


@query
def verify_run_events(
    *, cursor: str | None = None, page_size: int = 1000
) -> Statement[Page[LogAudit]]:
    """Check the logs of a batch of runs, of every tenant, and return those that have a fault.

    A log is numbered from 1 without a gap up to what the run's head says, and is closed when its
    run has ended. An empty page that has no `next_cursor` says that this holds for all; a page may
    be empty and have one. Each batch of `page_size` runs is one statement and one snapshot, locks
    nothing, and counts all events of its runs.
    """
    audits = page(
        LogAudit,
        _SQL["verify_run_events"],
        {},
        key={"after_run_id": "run_id"},
        cursor=cursor,
        page_size=page_size,
    )
    return only(audits, lambda audit: audit.fault is not None)
