"""Bare arguments are checked before anything is sent, whatever the connection."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection, Connection

import runstore
from connections import Kind
from runstore import InvalidPayload, new_child_id, new_run_id
from runstore._models import Input
from samples import runstore_samples

pytestmark = pytest.mark.once

SECRET = "hunter2"  # noqa: S105 - it opens nothing
# Of any type, since what is called wrongly here is what a type checker would find.
library: Any = runstore

AWARE = datetime.fromisoformat("2026-01-01T00:00:00Z")
NAIVE = datetime.fromisoformat("2026-01-01")
LONG = SECRET * 37

RUN = new_run_id()
STRANGER = new_child_id(new_run_id())

FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: function
    for name in runstore.__all__
    if hasattr(function := getattr(runstore, name), "bind")
}

SAMPLES = runstore_samples()

HOSTILE: dict[Any, list[Any]] = {
    UUID: ["01a2196c-261f-73b6-854b-000000000000", SECRET, 5, b"x", object()],
    str: [5, b"x", [SECRET], f"{SECRET}\0", f"{SECRET}\ud800"],
    int: ["1", 1.0, True, 1j, SECRET],
    bool: ["yes", 1, SECRET],
    datetime: [NAIVE, "2026-01-01T00:00:00Z", 0, SECRET],
    timedelta: [5, "P1D", SECRET, timedelta(-1)],
}


def silent(kind: type[Any]) -> Any:
    """Return a connection that fails with another error as soon as it is used."""
    return object.__new__(kind)


def bare(function: Callable[..., Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield the parameters whose values are checked here: their name, type and default."""
    hints = get_type_hints(inspect.unwrap(function), include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        if name != "conn":
            yield name, hints[name], parameter.default


def base_of(hint: Any) -> Any:
    """Return what a value is apart from None and from what is said of it."""
    if get_origin(hint) is Annotated:
        return base_of(get_args(hint)[0])
    parts = [part for part in get_args(hint) if part is not type(None)]
    if type(None) in get_args(hint) and len(parts) == 1:
        return base_of(parts[0])
    return hint


CASES = [
    (name, parameter, value)
    for name, function in FUNCTIONS.items()
    for parameter, hint, default in bare(function)
    for value in [
        *HOSTILE.get(base_of(hint), []),
        *([SECRET, 5] if get_origin(base_of(hint)) is Literal else []),
        *([None] if base_of(hint) in HOSTILE and default is inspect.Parameter.empty else []),
        *([5, None, {"a": 1}] if inspect.isclass(hint) and issubclass(hint, Input) else []),
    ]
]


# One of two options is needed.
ALTERNATIVES: dict[str, dict[str, Any]] = {"list_branch_reports": {"run_id": RUN}}


def needed(name: str) -> dict[str, Any]:
    """Return an argument for every parameter that a function needs."""
    return ALTERNATIVES.get(name, {}) | {
        parameter: SAMPLES.named(parameter, hint)
        for parameter, hint, default in bare(FUNCTIONS[name])
        if default is inspect.Parameter.empty
    }


@pytest.mark.parametrize("kind", [Connection, AsyncConnection])
def test_an_argument_of_another_type_is_refused_by_name(kind: type[Any]) -> None:
    assert len(CASES) > 500
    for name, parameter, value in CASES:
        arguments = {**needed(name), parameter: value}
        with pytest.raises(InvalidPayload) as raised:
            FUNCTIONS[name](silent(kind), **arguments)
        assert raised.value.path.startswith(parameter), (name, parameter, value)
        assert SECRET not in "".join(traceback.format_exception(raised.value))


MEANINGLESS: list[tuple[Callable[[Any], object], str, str]] = [
    (lambda c: library.get_run(c, STRANGER), "run_id", "is not a run id"),
    (lambda c: library.get_phase_results(c, STRANGER), "run_id", "is not a run id"),
    (
        lambda c: library.list_tool_calls(c, RUN, invocation_id=STRANGER),
        "invocation_id",
        "belongs to another run",
    ),
    (
        lambda c: library.list_agent_invocations(c, RUN, phase_result_id=STRANGER),
        "phase_result_id",
        "belongs to another run",
    ),
    (lambda c: library.update_feature_run_phase(c, RUN, ""), "phase", "String should have at"),
    (lambda c: library.update_feature_run_phase(c, RUN, LONG), "phase", "String should have"),
    (lambda c: library.list_runs(c, page_size=0), "page_size", "must be from 1 to"),
    (lambda c: library.list_runs(c, page_size=10_001), "page_size", "must be from 1 to"),
    (lambda c: library.list_runs(c, cursor=SECRET), "cursor", "is not one that this list"),
    (lambda c: library.read_run_events(c, RUN, after=-1), "after", "should be greater than"),
    (lambda c: library.read_run_events(c, RUN, after=2**63), "after", "should be less than"),
    (
        lambda c: library.finish_agent_step(c, STRANGER, tokens=-1),
        "tokens",
        "should be greater than or equal to 0",
    ),
    (
        lambda c: library.finish_tool_call(c, STRANGER, status="open"),
        "status",
        "should be 'completed', 'failed', 'denied' or 'unknown'",
    ),
    (
        lambda c: library.order_report_sections(c, STRANGER, ["a", f"{SECRET}\0"]),
        "slugs[1]",
        "holds a NUL character",
    ),
    (
        lambda c: library.order_report_sections(c, STRANGER, ["a", "a"]),
        "slugs",
        "holds a slug twice",
    ),
    (lambda c: library.append_run_events(c, RUN, 5), "events", "must be a list, not a int"),
    (
        lambda c: library.append_run_events(c, RUN, [{"type": SECRET}]),
        "events[0]",
        "must be a NewRunEvent, not a dict",
    ),
    (lambda c: library.create_agent_steps(c, SECRET), "data", "must be a list, not a str"),
    (lambda c: library.import_run_events(c, RUN, 5), "events", "must be a list, not a int"),
    (lambda c: library.import_run_events(c, SECRET, []), "run_id", "should be an instance"),
    (lambda c: library.ingest_run_events(c, RUN, SECRET), "events", "must be a list, not a str"),
    (
        lambda c: library.ingest_run_events(c, RUN, [], batch_size="2"),
        "batch_size",
        "should be a valid integer",
    ),
    (lambda c: library.tail_run_events(c, SECRET), "run_id", "should be an instance"),
    (
        lambda c: library.tail_run_events(c, RUN, min_poll="1"),
        "min_poll",
        "should be a valid number",
    ),
    (lambda c: library.iter_run_events(c, RUN, after="1"), "after", "should be a valid"),
    (lambda c: library.EventWriter(c, SECRET), "run_id", "should be an instance of UUID"),
    (
        lambda c: library.EventWriter(c, RUN, max_delay=SECRET),
        "max_delay",
        "should be a valid number",
    ),
    (
        lambda c: library.settle_usage(c, STRANGER, {"tokens": -1}),
        "amounts.tokens",
        "should be greater than or equal to 0",
    ),
    (
        lambda c: library.settle_usage(c, STRANGER, {SECRET * 37: 1}),
        "amounts[a key]",
        "String should have at most 255 characters",
    ),
    (
        lambda c: library.summarize_usage(c, "a", since=AWARE, until=AWARE, by=[[]]),
        "by",
        "must be of provider",
    ),
    (
        lambda c: library.list_stalled_runs(c, silent_for=timedelta.max),
        "silent_for",
        "should be less than or equal to",
    ),
    (lambda c: library.pass_phase_result(c, STRANGER, {"a": {1}}), "output.a", "is a set"),
]


@pytest.mark.parametrize(("call", "path", "reason"), MEANINGLESS)
@pytest.mark.parametrize("kind", [Connection, AsyncConnection])
def test_an_argument_that_cannot_be_meant_is_refused(
    kind: type[Any], call: Callable[[Any], object], path: str, reason: str
) -> None:
    with pytest.raises(InvalidPayload) as raised:
        call(silent(kind))
    assert raised.value.path == path
    assert raised.value.reason.startswith(reason)
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_a_call_without_its_arguments_is_pythons_own_error() -> None:
    call: Any = runstore.get_run
    for arguments in ([], [RUN, RUN]):
        with pytest.raises(TypeError):
            call(silent(Connection), *arguments)
    with pytest.raises(TypeError):
        call(silent(Connection), RUN, unknown=1)


def test_a_silent_connection_fails_as_soon_as_it_is_used() -> None:
    with pytest.raises((AttributeError, psycopg.Error)):
        runstore.get_run(silent(Connection), RUN)


EXCESS: list[tuple[Callable[[Any], Any], str]] = [
    (
        lambda conn: library.finish_tool_call(conn, STRANGER, {}),
        (
            "finish_tool_call() takes nothing after tool_call_id by position:"
            " name what follows (status=, result=, error=)"
        ),
    ),
    (
        lambda conn: library.get_run(conn, RUN, RUN),
        "get_run() takes nothing after run_id by position",
    ),
    (
        lambda conn: library.get_run_head(conn, RUN, RUN),
        "get_run_head() takes nothing after run_id by position",
    ),
]


@pytest.mark.parametrize(("call", "message"), EXCESS)
def test_too_many_positions_are_told_by_what_is_to_be_named(
    call: Callable[[Any], Any], message: str
) -> None:
    with pytest.raises(TypeError) as raised:
        call(silent(Connection))
    assert str(raised.value) == message


class Pool:
    """What is no connection, though it may lend one."""


CALLS: list[Callable[[Any], Any]] = [
    lambda conn: library.get_run(conn, RUN),
    lambda conn: library.delete_run(conn, RUN),
    lambda conn: library.append_run_events(conn, RUN, [runstore.NewRunEvent(type="token")]),
    lambda conn: library.purge_runs(conn, AWARE),
    lambda conn: library.purge_usage(conn, AWARE),
    lambda conn: library.import_run_events(conn, RUN, [("token", None)]),
    lambda conn: library.iter_run_export(conn, RUN),
    lambda conn: library.restore_run(conn, [b"{}"]),
    lambda conn: library.set_tenant(conn, "acme"),
    library.transaction,
    library.pipeline,
]


@pytest.mark.parametrize("conn", [Pool(), SECRET, None], ids=["pool", "DSN", "None"])
@pytest.mark.parametrize("call", CALLS)
def test_what_is_no_connection_is_refused(call: Callable[[Any], Any], conn: Any) -> None:
    with pytest.raises(InvalidPayload) as raised:
        call(conn)
    assert raised.value.path == "conn"
    kind = type(conn).__name__
    assert raised.value.reason == f"must be a connection of psycopg, not a {kind}"


SOURCES: list[Callable[[Any], Any]] = [
    lambda source: library.tail_run_events(source, RUN),
    lambda source: library.EventWriter(source, RUN),
]


@pytest.mark.parametrize("make", SOURCES)
def test_what_is_neither_a_connection_nor_a_pool_is_refused(make: Callable[[Any], Any]) -> None:
    with pytest.raises(InvalidPayload) as raised:
        make(SECRET)
    assert raised.value.path == "source"
    assert raised.value.reason == "must be a connection or a pool of psycopg, not a str"


OWN: list[Callable[[Any], Any]] = [library.listen_run_events, library.notify_run_events]


@pytest.mark.parametrize("source", [Pool(), None], ids=["pool", "None"])
@pytest.mark.parametrize("make", OWN)
def test_what_is_neither_a_connection_nor_a_dsn_is_refused(
    connection_kind: Kind, make: Callable[[Any], Any], source: Any
) -> None:
    def enter() -> None:
        with make(source):
            pass

    async def enter_async() -> None:
        async with make(source):
            pass

    with pytest.raises(InvalidPayload) as raised:
        enter() if connection_kind == "blocking" else asyncio.run(enter_async())
    assert raised.value.path == "source"
    kind = type(source).__name__
    assert raised.value.reason == f"must be a connection of psycopg or a DSN, not a {kind}"
