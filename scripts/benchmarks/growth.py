"""What calls cost on 10,000 events and on millions, and the plans that they then have.

A database of each size is filled; then they take turns at one call after the other. A call goes
to other rows than the one before, out of some hundreds that are drawn from all of the database,
and all of these are touched before anything is measured: what can grow is then the depth of the
indexes and what a plan reads, and not the share of the data that memory holds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, Final

import psycopg
from psycopg import Connection

import runstore
from databases import database
from filling import fill, subjects_of
from observer import Observer, between
from payloads import payload
from plans import whole_scans
from runstore import NewReservation, NewRunEvent
from runstore.embedded import Server

DRAWN: Final = 200
BAR: Final = 1.3


@dataclass(frozen=True)
class Growth:
    """What a call costs on a database of so many events, in microseconds.

    The ratios are to the smallest database, within a round. `scans` are tables that the call
    reads from end to end.
    """

    call: str
    events: int
    wall_us: float
    execution_us: float
    wall_ratio: float
    execution_ratio: float
    scans: list[str]


@dataclass(frozen=True)
class Call:
    """A function of the library, and what it is called with."""

    function: Any
    arguments: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()

    def __call__(self, conn: Connection[Any]) -> object:
        return self.function(conn, *self.arguments, **dict(self.options))

    def scans(self, conn: Connection[Any]) -> list[str]:
        return whole_scans(conn, self.function.bind(*self.arguments, **dict(self.options)))


class Filled:
    """A filled database, and calls that go to rows drawn from all of it."""

    def __init__(self, conn: Connection[Any], observer: Observer, events: int) -> None:
        self.events = events
        self.conn = conn
        self._observer = observer
        fill(conn, events)
        drawn = "SELECT id FROM runstore.runs WHERE status = ANY(%s) ORDER BY random() LIMIT %s"
        ended = [row[0] for row in conn.execute(drawn, (["completed"], DRAWN))]
        running = [row[0] for row in conn.execute(drawn, (["running"], DRAWN))]
        subjects = [f"subject {n}" for n in random.choices(range(subjects_of(events)), k=DRAWN)]
        event = NewRunEvent(type="message", payload=payload(1))
        page = ("page_size", 20)
        self.calls: dict[str, Callable[[], list[Call]]] = {
            "append_run_events": lambda: [
                Call(runstore.append_run_events, (run_id, [event])) for run_id in running
            ],
            "read_run_events": lambda: [Call(runstore.read_run_events, (id,)) for id in ended],
            "get_run": lambda: [Call(runstore.get_run, (run_id,)) for run_id in ended],
            "list_runs": lambda: [Call(runstore.list_runs, (), (page,))] * DRAWN,
            "list_runs, of a subject": lambda: [
                Call(runstore.list_runs, (), (("subject_id", subject), page))
                for subject in subjects
            ],
            "list_runs, running": lambda: (
                [Call(runstore.list_runs, (), (("status", "running"), page))] * DRAWN
            ),
            "reserve_usage": lambda: [
                Call(
                    runstore.reserve_usage,
                    (NewReservation(subject_id=subject, amounts={"tokens": 1}),),
                )
                for subject in subjects
            ],
        }

    def round(self, name: str) -> tuple[float, float]:
        """Make a call some hundred times; return its time and the server's, in microseconds."""
        calls = self.calls[name]()
        before = self._observer.so_far()
        start = perf_counter()
        for call in calls:
            call(self.conn)
        taken = perf_counter() - start
        execution = between(before, self._observer.so_far()).execution
        return taken / len(calls) * 1e6, execution / len(calls) * 1e6


def grow(server: Server, sizes: Sequence[int], rounds: int) -> Iterator[Growth]:
    """Yield what each call costs on each size, the smallest first."""
    with ExitStack() as stack:
        admin = stack.enter_context(
            psycopg.connect(server.dsn(server.maintenance_dbname), autocommit=True)
        )
        filled: list[Filled] = []
        for events in sizes:
            dbname = f"bench_{events}"
            dsn = stack.enter_context(database(server, dbname, "relaxed"))
            conn = stack.enter_context(runstore.connect(dsn))
            filled.append(Filled(conn, Observer(admin, dbname), events))
        for name in filled[0].calls:
            yield from _compared(name, filled, rounds)


def _compared(name: str, filled: Sequence[Filled], rounds: int) -> Iterator[Growth]:
    played: list[list[tuple[float, float]]] = []
    for each in filled:
        # Plans, prepared statements and the drawn rows are there from here on.
        each.round(name)
    for _ in range(rounds):
        order = random.sample(range(len(filled)), len(filled))
        costs = {index: filled[index].round(name) for index in order}
        played.append([costs[index] for index in range(len(filled))])
    for index, each in enumerate(filled):
        walls, executions = zip(*(costs[index] for costs in played), strict=True)
        yield Growth(
            call=name,
            events=each.events,
            wall_us=median(walls),
            execution_us=median(executions),
            wall_ratio=median(costs[index][0] / costs[0][0] for costs in played),
            execution_ratio=median(costs[index][1] / costs[0][1] for costs in played),
            scans=each.calls[name]()[0].scans(each.conn),
        )


def table(rows: Sequence[Growth]) -> str:
    """Return the rows as a Markdown table; a ratio over the bar stands out."""
    lines = [
        "| call | events | wall us | ratio | server us | ratio | read from end to end |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    lines += [
        f"| {row.call} | {row.events:,} | {row.wall_us:.1f} | {_ratio(row.wall_ratio)} "
        f"| {row.execution_us:.1f} | {_ratio(row.execution_ratio)} | {', '.join(row.scans)} |"
        for row in rows
    ]
    return "\n".join(lines)


def _ratio(ratio: float) -> str:
    return f"**{ratio:.2f}**" if ratio > BAR else f"{ratio:.2f}"
