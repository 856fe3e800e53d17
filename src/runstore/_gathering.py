"""What an event writer knows, without doing any I/O: what waits, what is due, what failed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import UUID, uuid4

from ._models import RunId
from ._parameters import checked
from .errors import InvalidPayload
from .run_events import MAX_EVENTS, EventLike, NewRunEvent, documents_of, event_of


@dataclass(frozen=True, slots=True)
class Batch:
    """Events for one append, and the id that makes repeating it safe."""

    append_id: UUID
    events: list[NewRunEvent]


class Gathering:
    """Events on their way to one run. Nothing of it may be used by two threads at once."""

    @checked
    def __init__(self, run_id: RunId, max_delay: float, max_events: int, max_bytes: int) -> None:
        if not 0 <= max_delay < float("inf"):
            raise InvalidPayload("max_delay", "must be 0 seconds or more")
        if not 1 <= max_events <= MAX_EVENTS:
            raise InvalidPayload("max_events", f"must be from 1 to {MAX_EVENTS}")
        if max_bytes < 1:
            raise InvalidPayload("max_bytes", "must be 1 or more")
        self._run_id = run_id
        self._max_delay = max_delay
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._waiting: list[NewRunEvent] = []
        self._bytes = 0
        self._due_at = 0.0
        self._under_way: Batch | None = None
        self._given = 0
        self._written = 0
        self._asked_for = 0
        self._open = False
        self._error: BaseException | None = None
        self.ended = False
        self.last_seq: int | None = None

    @property
    def unwritten(self) -> int:
        """The number of events that are not known to be written."""
        return self._given - self._written

    def open(self) -> None:
        """Take events from now on, once."""
        if self._open or self.ended:
            raise RuntimeError("an event writer can be entered once")
        self._open = True

    def end(self) -> None:
        """Take no more events; all that wait are due."""
        self._open = False
        self.ended = True

    def check(self) -> None:
        """Raise the error of a failed append."""
        if self._error is not None:
            raise self._error
        if not self._open:
            raise RuntimeError("an event writer takes events inside its block only")

    def add(self, event: EventLike) -> bool:
        """Take an event as it is now, and say whether that changes how long to wait."""
        self.check()
        types: list[str] = []
        made = event_of(event)
        (payload,) = documents_of([made], types)
        if not self._waiting:
            self._due_at = time.monotonic() + self._max_delay
        self._waiting.append(made)
        self._bytes += len(types[0]) + len(payload)
        self._given += 1
        return len(self._waiting) == 1 or self._is_full()

    def has_room(self) -> bool:
        """Tell whether an event need not wait before it is taken; after a failure it is refused."""
        return self._error is not None or not self._is_full()

    def ask_for_all(self) -> int:
        """Make all that wait due, and return the mark that `is_done` takes."""
        self.check()
        self._asked_for = self._given
        return self._given

    def is_done(self, mark: int) -> bool:
        """Tell whether all events up to a mark are written, or an append has failed."""
        return self._error is not None or self._written >= mark

    def wait(self) -> float | None:
        """Return for how many seconds nothing is due, 0 when something is; None: nothing waits."""
        if not self._waiting:
            return None
        if self._is_full() or self.ended or self._asked_for > self._written:
            return 0.0
        return max(0.0, self._due_at - time.monotonic())

    def take(self) -> Batch | None:
        """Return what to append next; None when nothing waits or an append has failed.

        It is the same until `confirm` or `fail`: an append that was interrupted is repeated.
        """
        if self._error is not None:
            return None
        if self._under_way is None and self._waiting:
            self._under_way = Batch(uuid4(), self._waiting)
            self._waiting, self._bytes = [], 0
        return self._under_way

    def confirm(self, last_seq: int) -> None:
        """Note that what was taken is written."""
        if self._under_way is not None:
            self._written += len(self._under_way.events)
        self._under_way = None
        self.last_seq = last_seq

    def fail(self, error: BaseException) -> None:
        """Note that what was taken could not be written: nothing more will be."""
        self._error = error
        error.add_note(self.loss())

    def loss(self) -> str:
        """Say how many events are not known to be written."""
        return f"events of run {self._run_id} that are not known to be written: {self.unwritten}"

    def settle(self, error: BaseException | None) -> None:
        """Raise the error of a failed append as the block ends, or note it on the block's own."""
        if self._error is None or self._error is error:
            return
        if error is None:
            raise self._error
        error.add_note(f"{self.loss()} ({type(self._error).__name__})")

    def _is_full(self) -> bool:
        return len(self._waiting) >= self._max_events or self._bytes >= self._max_bytes
