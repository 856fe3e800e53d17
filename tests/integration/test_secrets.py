"""No text of an error, no line of a log and no repr of ours holds a payload or a password."""

from __future__ import annotations

import asyncio
import io
import logging
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import AsyncConnection, Connection
from psycopg_pool import PoolTimeout

from connections import Caller, Kind
from factories import (
    create_call,
    create_cta,
    create_invocation,
    create_memory,
    create_phase,
    create_run,
    new_feature_run,
    new_memory_record,
    new_tool_call,
)
from report_factories import create_draft, draft, put
from runstore import (
    Conflict,
    EventWriter,
    InvalidPayload,
    InvalidTransition,
    InvocationOutcome,
    NewReservation,
    NewRunEvent,
    NotFound,
    QuotaExceeded,
    RunstoreError,
    StaleWrite,
    append_run_events,
    complete_cta_event,
    complete_feature_run,
    connect,
    connect_async,
    create_feature_run,
    create_memory_record,
    create_tool_calls,
    finish_tool_call,
    get_report,
    get_run_tree,
    listen_run_events,
    new_run_id,
    open_pool,
    open_pool_async,
    pass_phase_result,
    put_report_section,
    read_run_events,
    summarize_usage,
)
from runstore.cli import main
from usage_factories import SUBJECT, make_quota, new_reservation, record, reserve

SECRET = "s3cr3t-of-somebody"  # noqa: S105 - it opens nothing
DOCUMENT: Any = {"messages": [SECRET, {"text": f"{SECRET} and more"}]}


@contextmanager
def nothing_told(*expected: type[Exception]) -> Generator[None]:
    """Expect one of these errors in a block, and look for the secret in all that tells of it."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    handler.setLevel(logging.DEBUG)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with pytest.raises(expected) as raised:
            yield
        logging.getLogger("application").error("it failed", exc_info=raised.value)
    finally:
        root.removeHandler(handler)
    error: BaseException | None = raised.value
    told = [log.getvalue(), *traceback.format_exception(raised.value)]
    while error is not None:
        # What the traceback leaves out is looked at as well, unless it is none of our doing.
        told += [str(error), repr(error), *getattr(error, "__notes__", [])]
        error = None if error.__suppress_context__ else error.__cause__ or error.__context__
    assert log.getvalue()
    assert SECRET not in "".join(told)


# Errors that have a name


def refuse_transition(call: Caller) -> None:
    run = create_run(call)
    call(complete_feature_run, run.id, output=DOCUMENT)
    call(complete_feature_run, run.id, output=[DOCUMENT])


def repeat_finish(call: Caller) -> None:
    id = create_call(call, create_invocation(call, create_run(call).id).id).id
    call(finish_tool_call, id, result=DOCUMENT)
    call(finish_tool_call, id, error=SECRET)


def repeat_phase(call: Caller) -> None:
    id = create_phase(call, create_run(call).id, input=DOCUMENT).id
    call(pass_phase_result, id, DOCUMENT)
    call(pass_phase_result, id, [DOCUMENT])


def answer_twice(call: Caller) -> None:
    id = create_cta(call, create_run(call).id, request=DOCUMENT).id
    call(complete_cta_event, id, DOCUMENT)
    call(complete_cta_event, id, [DOCUMENT])


def change_content(call: Caller) -> None:
    run = create_run(call, input=DOCUMENT)
    create_run(call, id=run.id, input=[DOCUMENT])


def repeat_append(call: Caller) -> None:
    run_id, append_id = create_run(call).id, new_run_id()
    call(append_run_events, run_id, [event()], append_id=append_id)
    call(append_run_events, run_id, [event(SECRET)], append_id=append_id)


def repeat_provider_call(call: Caller) -> None:
    invocation_id = create_invocation(call, create_run(call).id).id
    create_call(call, invocation_id, provider_call_id="1", arguments=DOCUMENT)
    create_call(call, invocation_id, provider_call_id="1", arguments=DOCUMENT)


def exceed_quota(call: Caller) -> None:
    make_quota(call, limit_amount=1)
    reserve(call, 2, metadata=DOCUMENT)


def overtake_section(call: Caller) -> None:
    report_id = create_draft(call)
    put(call, report_id, "a", SECRET)
    call(put_report_section, report_id, draft("a", SECRET), expected_version=7)


def event(payload: Any = DOCUMENT) -> NewRunEvent:
    return NewRunEvent(type="a", payload=payload)


def unknown_parent(call: Caller) -> None:
    call(create_memory_record, new_memory_record(new_run_id(), content=SECRET))


def unknown_run(call: Caller) -> None:
    call(append_run_events, new_run_id(), [event()])


def expect_another_event(call: Caller) -> None:
    call(append_run_events, create_run(call).id, [event()], expected_seq=99)


def unknown_timezone(call: Caller) -> None:
    make_quota(call, timezone=SECRET, period="day")


def unknown_timezone_of_summary(call: Caller) -> None:
    [log] = record(call, 1)
    since, until = log.created_at - timedelta(1), log.created_at + timedelta(1)
    call(summarize_usage, SUBJECT, since=since, until=until, timezone=SECRET, by=["day"])


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (refuse_transition, InvalidTransition),
        (repeat_finish, InvalidTransition),
        (repeat_phase, InvalidTransition),
        (answer_twice, InvalidTransition),
        (change_content, Conflict),
        (repeat_append, Conflict),
        (repeat_provider_call, Conflict),
        (exceed_quota, QuotaExceeded),
        (overtake_section, StaleWrite),
        (expect_another_event, StaleWrite),
        (unknown_parent, NotFound),
        (unknown_run, NotFound),
        (unknown_timezone, InvalidPayload),
        (unknown_timezone_of_summary, InvalidPayload),
    ],
)
def test_an_error_with_a_name_tells_no_payload(
    call: Caller, act: Callable[[Caller], None], expected: type[RunstoreError]
) -> None:
    with nothing_told(expected):
        act(call)


BAD: list[Any] = [
    f"{SECRET}\0",
    f"{SECRET}\ud800",
    {f"{SECRET}\0": 1},
    {SECRET * 9: "\0"},
    {f"{SECRET} as a key": "\0"},
    {"a": SECRET.encode()},
    {1: SECRET},
    [SECRET, float("nan")],
    [SECRET, 2**64],
    {"a": {SECRET}},
    [SECRET * (1 << 16)],
]


@pytest.mark.parametrize("document", BAD, ids=lambda document: type(document).__name__)
def test_a_refused_payload_is_not_told(call: Caller, document: Any) -> None:
    run = create_run(call)
    unchecked = NewRunEvent.model_construct(type="a", payload=document)
    for send in (
        lambda: event(document),
        lambda: call(complete_feature_run, run.id, output=document),
        lambda: call(append_run_events, run.id, [event(), unchecked]),
        lambda: new_feature_run(metadata={"a": document}),
        lambda: new_feature_run().model_copy(update={"input": document}),
        lambda: InvocationOutcome(output=document),
    ):
        with nothing_told(InvalidPayload):
            send()


def test_a_refused_field_is_not_told(call: Caller) -> None:
    for values in (
        {"name": [SECRET]},
        {"name": SECRET * 20},
        {"id": SECRET},
        {"exclusive": SECRET},
        {"thread_id": f"{SECRET}\0"},
        {f"{SECRET} {SECRET}": 1},
        {"metadata": SECRET},
    ):
        with nothing_told(InvalidPayload):
            call(create_feature_run, new_feature_run(**values))


# Errors that have none


TRIGGERS = {
    "RAISE EXCEPTION 'no' USING DETAIL = new.content, HINT = new.content": psycopg.Error,
    "PERFORM new.content::integer": InvalidPayload,
    "PERFORM new.content::timestamptz": InvalidPayload,
    "PERFORM new.content::jsonb": InvalidPayload,
    "PERFORM repeat(new.content, 100000000)": InvalidPayload,
    "PERFORM timezone(new.content, now())": InvalidPayload,
    "PERFORM regexp_count(new.content, '[' || new.content)": psycopg.Error,
    "EXECUTE 'SELECT ' || quote_literal(new.content) || '::uuid'": InvalidPayload,
}


@pytest.mark.owner
@pytest.mark.parametrize(("body", "expected"), TRIGGERS.items())
def test_an_error_without_a_name_tells_no_payload(
    call: Caller, body: str, expected: type[Exception]
) -> None:
    run_id = create_run(call).id
    execute: Any = call.execute
    execute(
        "CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN {body}; RETURN new; END $$"
    )
    execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON runstore.memory_records"
        " FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse()"
    )
    with nothing_told(expected):
        create_memory(call, run_id, content=SECRET, metadata=DOCUMENT)


@pytest.mark.owner
def test_a_constraint_of_the_application_tells_no_row(call: Caller) -> None:
    run_id = create_run(call).id
    call.execute("ALTER TABLE runstore.memory_records ADD COLUMN owner text DEFAULT 'nobody'")
    call.execute("ALTER TABLE runstore.memory_records ALTER COLUMN owner DROP DEFAULT")
    call.execute("ALTER TABLE runstore.memory_records ALTER COLUMN owner SET NOT NULL")
    with nothing_told(InvalidPayload):
        create_memory(call, run_id, content=SECRET, metadata=DOCUMENT)


@pytest.mark.owner
def test_the_detail_is_there_for_who_asks(call: Caller) -> None:
    run_id = create_run(call).id
    execute: Any = call.execute
    execute(
        "CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no' USING DETAIL = new.content; END $$"
    )
    execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON runstore.memory_records"
        " FOR EACH ROW EXECUTE FUNCTION pg_temp.refuse()"
    )
    with pytest.raises(psycopg.errors.RaiseException) as raised:
        create_memory(call, run_id, content=SECRET)
    assert str(raised.value) == "no"
    assert (raised.value.sqlstate, raised.value.diag.message_detail) == ("P0001", SECRET)


# Reprs


def test_a_repr_tells_no_payload(call: Caller) -> None:
    run = create_run(
        call, input=DOCUMENT, subject_id=SECRET, thread_id=SECRET, metadata=DOCUMENT, name="a name"
    )
    invocation = create_invocation(call, run.id, input=DOCUMENT)
    create_call(call, invocation.id, arguments=DOCUMENT)
    create_memory(call, run.id, content=SECRET)
    call(append_run_events, run.id, [event()])
    report_id = create_draft(call, run_id=run.id, title=SECRET, summary=SECRET)
    call(put_report_section, report_id, draft("a", SECRET, heading=SECRET, citations=[SECRET]))
    page = call(read_run_events, run.id)
    told = [
        repr(told)
        for told in (
            run,
            event(),
            new_feature_run(input=DOCUMENT, idempotency_key=SECRET),
            new_reservation(metadata=DOCUMENT),
            NewReservation(subject_id=SECRET, amounts={"tokens": 1}),
            InvocationOutcome(output=DOCUMENT, error=SECRET),
            page,
            page.events,
            call(get_run_tree, run.id),
            call(get_report, report_id),
            complete_feature_run.bind(run.id, output=DOCUMENT),
            append_run_events.bind(run.id, [event()]),
            event().parameters(),
        )
    ]
    assert f"id={run.id!r}" in told[0]
    assert "name='a name'" in told[0]
    assert "status='running'" in told[0]
    assert SECRET not in "".join(told)


def test_the_loss_of_a_writer_tells_no_payload(call: Caller, connection_kind: Kind) -> None:
    run_id: UUID = new_run_id()

    def write(conn: Connection[Any]) -> None:
        with EventWriter(conn, run_id) as writer:
            writer.append(event())

    async def write_async(conn: AsyncConnection[Any]) -> None:
        async with EventWriter(conn, run_id) as writer:
            await writer.append(event())

    function: Any = write if connection_kind == "blocking" else write_async
    with nothing_told(NotFound):
        call(function)


def test_a_batch_tells_no_payload(call: Caller) -> None:
    invocation_id = create_invocation(call, create_run(call).id).id
    data = new_tool_call(invocation_id, arguments=DOCUMENT)
    call(create_tool_calls, [data])
    other = new_tool_call(invocation_id, id=data.id, arguments=[DOCUMENT])
    with nothing_told(Conflict):
        call(create_tool_calls, [other])
    with nothing_told(Conflict):
        call(create_tool_calls, [data, new_tool_call(invocation_id, arguments=DOCUMENT)])
    with nothing_told(InvalidPayload):
        call(create_tool_calls, [data, data])


# Passwords


NOBODY = f"postgresql://user:{SECRET}@127.0.0.1:1/db"
MISREAD = [
    f"postgresql://user:p@{SECRET}@127.0.0.1/db",
    f"postgresql://user:p/{SECRET}@127.0.0.1/db",
    f"postgresql://user:{SECRET}",
    f"postgresql//user:{SECRET}@127.0.0.1/db",
    f"host=127.0.0.1 port={SECRET}",
    f"host=127.0.0.1 password={SECRET} {SECRET}",
]


@pytest.mark.parametrize("dsn", [NOBODY, *MISREAD])
def test_a_password_is_not_told(dsn: str) -> None:
    async def open_async() -> None:
        await connect_async(dsn)

    async def pool_async() -> None:
        settings = {"timeout": 0.2, "reconnect_timeout": 0.1}
        pool = await open_pool_async(dsn, pool_settings=settings)
        try:
            await pool.wait(0.2)
        finally:
            await pool.close()

    def pool() -> None:
        settings = {"timeout": 0.2, "reconnect_timeout": 0.1}
        with open_pool(dsn, pool_settings=settings) as opened:
            opened.wait(0.2)

    def listen() -> None:
        with listen_run_events(dsn):
            pass

    for act in (
        lambda: connect(dsn),
        lambda: asyncio.run(open_async()),
        pool,
        lambda: asyncio.run(pool_async()),
        listen,
    ):
        with nothing_told(psycopg.Error, PoolTimeout):
            act()


@pytest.mark.parametrize("dsn", [NOBODY, *MISREAD])
def test_the_command_tells_no_password(dsn: str) -> None:
    result = CliRunner().invoke(main, ["check", "--dsn", dsn])
    assert result.exit_code in (2, 4)
    assert SECRET not in result.output
