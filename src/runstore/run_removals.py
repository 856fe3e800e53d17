"""Run removals: deleting runs that have ended, or parts of them, batch by batch.

Purges and erasures are made of it; each says by `Judge` what keeps a run from it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeVar
from uuid import UUID

from psycopg.errors import LockNotAvailable

from . import _sql
from ._batches import Batches
from ._models import Row
from ._query import Rows, Statement, Steps, query, reads
from ._statements import maker, many

LogT = TypeVar("LogT", bound="RunLog")
R = TypeVar("R")

_SQL: Final = _sql.load("run_removals")

EVENTS_PER_BATCH: Final = 5_000
"""How many events a batch deletes at most, however fast the machine is."""

_BATCH_SECONDS: Final = 0.05
# In events: a run with its children, and the note on a run of what was purged.
_RUN_WEIGHT: Final = 50
_LOG_WEIGHT: Final = 10

KeptReason = Literal["active", "held", "forked", "branched", "in_use"]
"""Why a run was kept: it has not ended; a hold; a fork that reads its events; a fork's open
branch of one of its reports; or somebody else has it locked, and the next call takes it."""


class RunLog(Row):
    """A run, and which events of its own are there: those after `gone_seq`."""

    run_id: UUID
    gone_seq: int
    last_seq: int


class RunTies(Row):
    """What ties others to a run.

    Forks read its events up to `shared_seq`, 0: none. `followed` says that it started, or that
    from it was forked, a run that has no subject.
    """

    run_id: UUID
    held: bool
    shared_seq: int
    held_by_fork: bool
    branched: bool
    followed: bool


class PurgedEvents(Row):
    """How many events, and how many segments of forks, are no more."""

    run_events: int
    run_segments: int


Judge = Callable[[RunTies], KeptReason | None]
"""Says why a run is kept, or None."""


@dataclass(slots=True)
class Removal:
    """What was removed, in rows by table, and which runs were kept, and why."""

    rows: Counter[str] = field(default_factory=Counter[str])
    kept: dict[UUID, KeptReason] = field(default_factory=dict[UUID, KeptReason])

    def add(self, other: Removal) -> None:
        """Add what another one did."""
        self.rows.update(other.rows)
        self.kept.update(other.kept)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some events of a run to delete, those up to `to_seq`.

    `ends` says that they are the last; `shared` that events before them stay for a fork.
    """

    run_id: UUID
    after_seq: int
    to_seq: int
    ends: bool
    shared: bool


@query
@reads(str, str, str, str, str, str)
def begin_batch(tenant_id: str | None) -> Statement[None]:
    """Wait for no lock for over 50 ms, read by index, and be of this tenant: in a transaction."""
    return Statement(_SQL["begin_batch"], {"tenant_id": tenant_id}, lambda _: None)


@query
@reads(UUID)
def lock_finished_runs(run_ids: Sequence[UUID]) -> Statement[list[UUID]]:
    """Lock those of these runs that have ended and that nobody else has locked."""
    return Statement(
        _SQL["lock_finished_runs"],
        {"run_ids": list(run_ids)},
        lambda rows: [row[0] for row in rows],
        prepare=False,
    )


@query
def list_run_ties(run_ids: Sequence[UUID]) -> Statement[list[RunTies]]:
    """Return what ties others to these runs; nothing of those that do not exist."""
    return many(RunTies, _SQL["list_run_ties"], {"run_ids": list(run_ids)}, prepare=False)


@query
def delete_run_events(
    run_ids: list[UUID],
    after_seqs: list[int],
    to_seqs: list[int],
    ends: list[bool],
    shared: list[bool],
) -> Statement[PurgedEvents]:
    """Delete stretches of runs' own logs, one of each run, and note it on the runs."""
    parameters = {
        "run_ids": run_ids,
        "after_seqs": after_seqs,
        "to_seqs": to_seqs,
        "ends": ends,
        "shared": shared,
    }
    make = maker(PurgedEvents)
    return Statement(
        _SQL["delete_run_events"], parameters, lambda rows: make(rows[0]), prepare=False
    )


@query
@reads(int)
def sweep_run_events(run_id: UUID) -> Statement[int | None]:
    """Let the index of a run's events learn which are dead, and return the first that is not.

    It locks nothing, and takes a second for a million of them.
    """
    return Statement(
        _SQL["sweep_run_events"],
        {"run_id": run_id},
        lambda rows: rows[0][0] if rows else None,
        prepare=False,
    )


@query
@reads(str, int)
def delete_run_children(run_ids: Sequence[UUID]) -> Statement[Counter[str]]:
    """Delete what hangs off runs, but for heads, logs and holds, and count it by table."""
    return _counting("delete_run_children", run_ids)


@query
@reads(str, int)
def delete_finished_runs(run_ids: Sequence[UUID]) -> Statement[Counter[str]]:
    """Delete runs with their heads, logs and expired holds, and count it by table."""
    return _counting("delete_finished_runs", run_ids)


@query
@reads(str, int)
def count_run_rows(run_ids: Sequence[UUID]) -> Statement[Counter[str]]:
    """Count by table what deleting these runs would delete."""
    return _counting("count_run_rows", run_ids)


def _counting(name: str, run_ids: Sequence[UUID]) -> Statement[Counter[str]]:
    def read(rows: Rows) -> Counter[str]:
        return Counter(dict(rows))

    return Statement(_SQL[name], {"run_ids": list(run_ids)}, read, prepare=False)


def with_ties(
    read: Callable[[LogT | None], Statement[list[LogT]]], after: LogT | None
) -> Steps[list[tuple[LogT, RunTies]]]:
    """Read a page of runs, those after another one, each with its ties; none: there are no more."""
    while True:
        logs = yield from read(after)
        if not logs:
            return []
        found = yield from list_run_ties.bind([log.run_id for log in logs])
        ties = {each.run_id: each for each in found}
        # Others may have removed some between the two statements, or even all.
        page = [(log, ties[log.run_id]) for log in logs if log.run_id in ties]
        if page:
            return page
        after = logs[-1]


@dataclass(slots=True)
class Remover:
    """Removes runs of a tenant, or their events, but those that a judge keeps.

    A batch is as large as takes about 50 ms, on any machine under any load, since whoever wants
    one of its runs waits for so long. Its size is counted in events; `budget` is what the next
    one may have, and starts low.
    """

    tenant_id: str | None
    judge: Judge
    budget: int = 500

    def remove_runs(self, logs: Sequence[RunLog]) -> Batches[Removal]:
        """Delete runs with all that hangs off them, those of long logs after their events."""
        long = [log for log in logs if log.last_seq - log.gone_seq > EVENTS_PER_BATCH]
        removal = yield from self.remove_events([(log, 0) for log in long])
        for log in long:
            yield iter(sweep_run_events.bind(log.run_id))
        for group in self._groups([log for log in logs if log.run_id not in removal.kept]):
            removal.add((yield from self._attempt(group)))
        return removal

    def _groups(self, logs: Sequence[RunLog]) -> Iterator[list[UUID]]:
        """Yield runs that together are a batch."""
        group: list[UUID] = []
        room = self.room()
        for log in logs:
            events = log.last_seq - log.gone_seq
            # One whose log was long is a batch by itself.
            weight = _RUN_WEIGHT + min(events, EVENTS_PER_BATCH)
            if group and weight > room:
                yield group
                group, room = [], self.room()
            group.append(log.run_id)
            room -= weight
        if group:
            yield group

    def _attempt(self, run_ids: list[UUID]) -> Batches[Removal]:
        removal = Removal()
        try:
            removal = yield from self.timed(self.delete(run_ids))
        except LockNotAvailable:
            # Somebody has a row locked that hangs off one of them; the others need not stay.
            if len(run_ids) == 1:
                removal.kept[run_ids[0]] = "in_use"
                return removal
            for run_id in run_ids:
                removal.add((yield from self._attempt([run_id])))
        return removal

    def delete(self, run_ids: list[UUID]) -> Steps[Removal]:
        """Delete runs that fit into a batch."""
        removal = Removal()
        free = [ties.run_id for ties in (yield from self.seize(run_ids, removal))]
        if free:
            removal.rows.update((yield from delete_run_children.bind(free)))
            removal.rows.update((yield from delete_finished_runs.bind(free)))
        return removal

    def seize(self, run_ids: list[UUID], removal: Removal) -> Steps[list[RunTies]]:
        """Lock runs, note which of them are kept, and answer the others."""
        yield from begin_batch.bind(self.tenant_id)
        locked = set((yield from lock_finished_runs.bind(run_ids)))
        free: list[RunTies] = []
        # Another statement, and so a snapshot from after the locks were taken.
        for ties in (yield from list_run_ties.bind(run_ids)):
            reason = self.judge(ties) if ties.run_id in locked else "in_use"
            if reason is None:
                free.append(ties)
            else:
                removal.kept[ties.run_id] = reason
        return free

    def remove_events(self, logs: Sequence[tuple[RunLog, int]]) -> Batches[Removal]:
        """Delete the events of runs, but those up to a number that is given with each of them."""
        removal = Removal()
        for piece in self.pieces(logs):
            stretches = [one for one in piece if one.run_id not in removal.kept]
            try:
                removal.add((yield from self.timed(self.delete_stretches(stretches))))
            except LockNotAvailable:
                removal.kept |= {stretch.run_id: "in_use" for stretch in stretches}
        return removal

    def pieces(self, logs: Sequence[tuple[RunLog, int]]) -> Iterator[list[Stretch]]:
        """Yield stretches of logs that together are a batch."""
        piece: list[Stretch] = []
        room = self.room()
        for log, kept_seq in logs:
            after, ends = max(log.gone_seq, kept_seq), False
            shared = kept_seq > log.gone_seq
            while not ends:
                to = min(log.last_seq, after + room)
                ends = to == log.last_seq
                piece.append(Stretch(log.run_id, after, to, ends, shared))
                room -= to - after + _LOG_WEIGHT
                after = to
                if room <= 0:
                    yield piece
                    piece, room = [], self.room()
        if piece:
            yield piece

    def delete_stretches(self, stretches: list[Stretch]) -> Steps[Removal]:
        """Delete stretches of logs that fit into a batch, at most one of each run."""
        removal = Removal()
        run_ids = [stretch.run_id for stretch in stretches]
        free = {ties.run_id: ties.shared_seq for ties in (yield from self.seize(run_ids, removal))}
        stretches = [stretch for stretch in stretches if stretch.run_id in free]
        if stretches:
            purged = yield from delete_run_events.bind(
                [stretch.run_id for stretch in stretches],
                # A fork may have been made since.
                [max(stretch.after_seq, free[stretch.run_id]) for stretch in stretches],
                [stretch.to_seq for stretch in stretches],
                [stretch.ends for stretch in stretches],
                [stretch.shared or free[stretch.run_id] > 0 for stretch in stretches],
            )
            removal.rows.update(dict(purged))
        return removal

    def timed(self, steps: Steps[R]) -> Batches[R]:
        """Take the steps of a batch, and learn from it how large the next one may be."""
        start = time.monotonic()
        try:
            answer: R = yield steps
        finally:
            taken = time.monotonic() - start
            fitting = self.budget * min(max(_BATCH_SECONDS / max(taken, 1e-6), 0.25), 2)
            self.budget = round(min(max(fitting, _RUN_WEIGHT), EVENTS_PER_BATCH))
        return answer

    def room(self) -> int:
        """Return how many events fit into the next batch."""
        return min(self.budget, EVENTS_PER_BATCH)
