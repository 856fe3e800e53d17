"""Where the microseconds of a call go, layer by layer.

Each layer is run by itself, many times, on the same data. What is left of the whole call when
they are taken away is psycopg's: it encodes the parameters, waits, and decodes the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any, Final

from psycopg import Connection

import runstore
from bare_libpq import bare_call
from contestants import cpu_seconds
from payloads import events
from preparation import filled_run, library_statement, new_child_id, new_invocation, new_run
from runstore import NewAgentStep, NewRunEvent

SERIES: Final = 7
WHOLE: Final = "whole call"
LIBPQ: Final = "libpq and the kernel"

Works = dict[str, Callable[[], object]]


@dataclass(frozen=True)
class Layer:
    """What a part of a call costs, in microseconds: of CPU, and on the clock."""

    call: str
    layer: str
    cpu_us: float
    wall_us: float


def profile(dsn: str, calls: int) -> list[Layer]:
    """Return the layers of an append, of a step and of a page."""
    with runstore.connect(dsn) as conn:
        return [
            *_layers("append_run_events, 1 event", _append(conn, 1), calls),
            *_layers("append_run_events, 500 events", _append(conn, 500), max(calls // 100, 1)),
            *_layers("create_agent_step", _step(conn), calls),
            *_layers("read_run_events, 200 events", _page(conn), max(calls // 20, 1)),
        ]


def _append(conn: Connection[Any], count: int) -> Works:
    run_id = new_run(conn)
    given = events(count)

    def make() -> list[NewRunEvent]:
        return [NewRunEvent(type=type, payload=payload) for type, payload in given]

    made = make()
    statement = runstore.append_run_events.bind(run_id, made)
    sql = library_statement("run_events", "append_run_events")
    return {
        WHOLE: lambda: runstore.append_run_events(conn, run_id, make()),
        "make and validate the input": make,
        "bind the statement": lambda: runstore.append_run_events.bind(run_id, made),
        LIBPQ: bare_call(conn, sql, statement.parameters),
    }


def _step(conn: Connection[Any]) -> Works:
    run_id, invocation_id = new_invocation(conn)
    kind, content = events(1)[0]

    def make() -> NewAgentStep:
        return NewAgentStep(invocation_id=invocation_id, kind=kind, content=content, tokens=96)

    made = make()
    statement = runstore.create_agent_step.bind(made)
    row = conn.execute(
        "SELECT %s::uuid, %s::uuid, now()", (run_id, new_child_id(run_id))
    ).fetchone()
    assert row
    sql = library_statement("agent_steps", "create_agent_step")
    # The server makes the id, so that one set of parameters serves for all calls.
    sql = sql.replace("%(id)s::uuid", "runstore.new_child_id(%(run_id)s)")
    return {
        WHOLE: lambda: runstore.create_agent_step(conn, make()),
        "make and validate the input": make,
        "bind the statement": lambda: runstore.create_agent_step.bind(made),
        "make the answer's model": lambda: statement.read([row]),
        LIBPQ: bare_call(conn, sql, statement.parameters),
    }


def _page(conn: Connection[Any]) -> Works:
    run_id = filled_run(conn, 200)
    statement = runstore.read_run_events.bind(run_id, page_size=200)
    sql = library_statement("run_events", "read_run_events")
    rows = conn.execute(sql, statement.parameters, binary=True).fetchall()
    return {
        WHOLE: lambda: runstore.read_run_events(conn, run_id, page_size=200),
        "bind the statement": lambda: runstore.read_run_events.bind(run_id, page_size=200),
        "make the answer's models": lambda: statement.read(rows),
        LIBPQ: bare_call(conn, sql, statement.parameters),
    }


def _layers(call: str, works: Works, calls: int) -> list[Layer]:
    """Measure the works of a call in turns, and sum up the medians."""
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(SERIES):
        for name, work in works.items():
            costs[name].append(_cost(work, calls))
    layers = [
        Layer(call, name, *(median(column) for column in zip(*series, strict=True)))
        for name, series in costs.items()
    ]
    known = sum(layer.cpu_us for layer in layers if layer.layer != WHOLE)
    whole = next(layer.cpu_us for layer in layers if layer.layer == WHOLE)
    return [*layers, Layer(call, "psycopg", whole - known, whole - known)]


def _cost(work: Callable[[], object], calls: int) -> tuple[float, float]:
    """Return the CPU and the time of one call, in microseconds."""
    work()
    wall, cpu = perf_counter(), cpu_seconds()
    for _ in range(calls):
        work()
    used, taken = cpu_seconds() - cpu, perf_counter() - wall
    return used / calls * 1e6, taken / calls * 1e6


def table(layers: Sequence[Layer]) -> str:
    """Return the layers as a Markdown table, with the share of each in its call."""
    lines = ["| call | layer | CPU us | share | wall us |", "| --- | --- | ---: | ---: | ---: |"]
    whole = {layer.call: layer.cpu_us for layer in layers if layer.layer == WHOLE}
    lines += [
        f"| {layer.call} | {layer.layer} | {layer.cpu_us:.1f} "
        f"| {layer.cpu_us / whole[layer.call]:.0%} | {layer.wall_us:.1f} |"
        for layer in layers
    ]
    return "\n".join(lines)
