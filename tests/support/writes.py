"""Every public function that writes, with how to call it and what it answers a second time.

What holds for all of them is stated once, in reliability/test_faults.py and
reliability/test_cancellation.py. What is new in `runstore` and writes has to be here, among the
batched writes or among the writers; which functions and classes write is read off the statements
that they send.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import CodeType
from typing import Any, Literal
from uuid import UUID, uuid4

import runstore
from connections import Caller
from creates import CREATES, Create
from factories import (
    create_call,
    create_cta,
    create_invocation,
    create_phase,
    create_run,
    create_sandbox,
    create_step,
    new_agent_step,
    new_tool_call,
)
from report_factories import (
    create_branch,
    create_draft,
    create_fork,
    draft,
    new_branch,
    new_report,
    put_branch,
)
from runstore import InvocationOutcome, NewChatRun, NewPrice, NewRunEvent, NewRunFork, run_of
from usage_factories import let_expire, make_quota, new_quota, new_reservation, new_usage, reserve

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

Repeated = Literal["the same", "nothing", "NotFound", "StaleWrite"]

EVENTS = [
    NewRunEvent(type="token", payload={"text": "Hel"}),
    NewRunEvent(type="token", payload={"text": "lo"}),
]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Write:
    name: str
    arrange: Callable[[Caller], Arguments]
    """Makes the rows that the call needs, and its arguments."""
    repeated: Repeated = "the same"
    """What a second call answers: as the first one did, an empty list, or an error that says so."""
    moving: frozenset[str] = field(default_factory=frozenset[str])
    """What a second call moves on all the same: a sign of life, a count of writes."""
    alone: bool = False
    """Whether it is only another write by another name, when it is in a transaction."""

    @property
    def answers_again(self) -> bool:
        """Say whether what the first call answered can be had of the second one."""
        return self.repeated in ("the same", "StaleWrite")

    @property
    def public_name(self) -> str:
        """The name in `runstore`: of the function, or of the class whose method it is."""
        return self.name.partition(".")[0]

    @property
    def function(self) -> Any:
        """The function of a connection; a method's is that of an object of its own."""
        public = getattr(runstore, self.public_name)
        _, _, method = self.name.partition(".")
        return getattr(public(), method) if method else public

    def __str__(self) -> str:
        return self.name


def given(*args: Any, **kwargs: Any) -> Arguments:
    return args, kwargs


def creation(create: Create) -> Write:
    name = create.function.bind.__name__
    return Write(name, lambda call: given(create.least(call)))


def chat(call: Caller) -> UUID:
    return call(runstore.create_run, NewChatRun()).id


def invocation(call: Caller) -> UUID:
    return create_invocation(call, create_run(call).id).id


def open_step(call: Caller) -> UUID:
    return create_step(call, invocation(call), content="before", finished=False).id


def open_call(call: Caller) -> UUID:
    return create_call(call, invocation(call)).id


def phase(call: Caller) -> UUID:
    return create_phase(call, create_run(call).id).id


def question(call: Caller) -> UUID:
    return create_cta(call, create_run(call).id).id


def published(call: Caller) -> UUID:
    report_id = create_draft(call, "a")
    call(runstore.publish_report, report_id)
    return report_id


def branch(call: Caller) -> UUID:
    """Make a branch that changed a section and has one of its own."""
    branch_id = create_branch(call, create_draft(call, "a", "b"))
    put_branch(call, branch_id, "a", "changed")
    put_branch(call, branch_id, "new", "new")
    return branch_id


def hold(call: Caller) -> UUID:
    make_quota(call)
    make_quota(call, period="day")
    return reserve(call).id


def shared_sandbox(call: Caller) -> Arguments:
    for _ in range(2):
        create_sandbox(call, create_run(call).id, id="machine")
    return given("machine", "stopped")


def ended_run(call: Caller) -> Arguments:
    run_id = create_run(call).id
    call(runstore.complete_feature_run, run_id)
    return given(run_id)


def held_run(call: Caller) -> Arguments:
    run_id = create_run(call).id
    call(runstore.hold_run, run_id, "audit")
    return given(run_id, "audit")


def exported_run(call: Any) -> Arguments:
    (run_id,), _ = ended_run(call)
    lines: list[bytes] = [*runstore.iter_run_export(call.conn, run_id)]
    call(runstore.delete_run, run_id)
    return given(lines)


def open_calls(call: Caller) -> Arguments:
    invocation_id = invocation(call)
    create_call(call, invocation_id)
    create_call(call, invocation_id)
    return given(runstore.run_of(invocation_id), "the worker died")


def overdue_questions(call: Caller) -> Arguments:
    create_cta(call, create_run(call).id, expires_at=LONG_AGO)
    create_cta(call, create_run(call).id, expires_at=LONG_AGO)
    return given()


def overdue_hold(call: Caller) -> Arguments:
    hold(call)
    let_expire(call)
    return given()


def wrong_counter(call: Caller) -> Arguments:
    hold(call)
    call.execute("UPDATE runstore.usage_counters SET held = held + 1")
    return given("user-1")


def two_quotas(call: Caller) -> None:
    """Make quotas whose window is new, so that a call has to make their counters first."""
    make_quota(call, period="day")
    make_quota(call, period="hour")
    call.execute("DELETE FROM runstore.usage_counters")


def hold_of_two(call: Caller) -> Arguments:
    two_quotas(call)
    return given(new_reservation())


def usage_of_two(call: Caller) -> Arguments:
    two_quotas(call)
    return given(new_usage())


def removed_quota(call: Caller) -> Arguments:
    make_quota(call)
    return given("user-1", "tokens", "total")


def phase_outcome(call: Caller) -> Arguments:
    return given(phase(call), error="it broke", output={"done": 1})


def reported(call: Caller) -> Arguments:
    data = InvocationOutcome(output="all", input_tokens=3, cost_usd=Decimal("0.10"))
    return given(invocation(call), data)


def branch_of_draft(call: Caller) -> Arguments:
    report_id = create_draft(call, "a")
    return given(new_branch(create_fork(call, report_id), report_id))


def a_price() -> NewPrice:
    return NewPrice(
        provider="p", model="m", meter="tokens", valid_from=LONG_AGO, price=Decimal("3.5")
    )


WRITES = [
    *map(creation, CREATES),
    Write("create_run", lambda _: given(NewChatRun(idempotency_key="key"))),
    Write("fork_run", lambda call: given(create_run(call).id, 1, NewRunFork())),
    Write(
        "create_agent_steps",
        lambda call: given([new_agent_step(id := invocation(call)), new_agent_step(id)]),
    ),
    Write(
        "create_tool_calls",
        lambda call: given([new_tool_call(id := invocation(call)), new_tool_call(id)]),
    ),
    Write("create_report", lambda call: given(new_report(create_run(call).id))),
    Write("create_branch_report", branch_of_draft),
    Write("append_run_events", lambda call: given(create_run(call).id, EVENTS, append_id=uuid4())),
    Write(
        "import_run_events",
        lambda call: given(create_run(call).id, EVENTS, expected_seq=1),
        repeated="StaleWrite",
    ),
    Write(
        "ingest_run_events",
        lambda call: given(create_run(call).id, EVENTS, ingest_id=uuid4()),
    ),
    Write("start_run", lambda call: given(chat(call), start_id=uuid4())),
    Write("complete_run", lambda call: given(chat(call), output={"a": 1}, events=EVENTS)),
    Write("fail_run", lambda call: given(chat(call), error="it broke", events=EVENTS)),
    Write("cancel_run", lambda call: given(chat(call), events=EVENTS)),
    Write("request_cancel", lambda call: given(chat(call))),
    Write(
        "heartbeat_run",
        lambda call: given(create_run(call).id),
        moving=frozenset({"heartbeat_at"}),
    ),
    Write("delete_run", ended_run, repeated="NotFound"),
    Write("hold_run", lambda call: given(create_run(call).id, "audit", held_by="Zoë")),
    Write("release_run_hold", held_run, repeated="NotFound"),
    Write("restore_run", exported_run, moving=frozenset({"created"})),
    Write("update_feature_run_phase", lambda call: given(create_run(call).id, "build")),
    Write(
        "advance_feature_run",
        lambda call: given(run_of(id := invocation(call)), "build", [new_tool_call(id)]),
    ),
    Write("complete_feature_run", lambda call: given(create_run(call).id, output=[1.5, None])),
    Write("fail_feature_run", lambda call: given(create_run(call).id, error={"code": 1})),
    Write("update_sandbox_status", shared_sandbox),
    Write("pass_phase_result", lambda call: given(phase(call), {"files": 3})),
    Write("fail_phase_result", phase_outcome),
    Write("complete_agent_invocation", reported),
    Write("finish_agent_step", lambda call: given(open_step(call), content="after", tokens=2)),
    Write("finish_tool_call", lambda call: given(open_call(call), status="failed", error="no")),
    Write("close_open_tool_calls", open_calls, repeated="nothing"),
    Write("complete_cta_event", lambda call: given(question(call), "yes", resolved_by="Zoë")),
    Write("timeout_cta_event", lambda call: given(question(call))),
    Write("cancel_cta_event", lambda call: given(question(call), resolved_by="Zoë")),
    Write("expire_cta_events", overdue_questions, repeated="nothing"),
    Write(
        "update_report",
        lambda call: given(create_draft(call), title="another", expected_revision=1),
    ),
    Write("publish_report", lambda call: given(create_draft(call, "a", "b"))),
    Write("revise_report", lambda call: given(published(call))),
    Write("archive_report", lambda call: given(published(call))),
    Write(
        "put_report_section",
        lambda call: given(create_draft(call, "a"), draft("a", "new"), expected_version=1),
    ),
    Write(
        "order_report_sections",
        lambda call: given(create_draft(call, "a", "b"), ["b"]),
        moving=frozenset({"revision", "updated_at"}),
    ),
    Write(
        "remove_report_section",
        lambda call: given(create_draft(call, "a"), "a", expected_version=1),
    ),
    Write("merge_branch_report", lambda call: given(branch(call))),
    Write("discard_branch_report", lambda call: given(branch(call))),
    Write(
        "put_branch_section",
        lambda call: given(branch(call), draft("b", "new"), expected_version=1),
    ),
    Write("remove_branch_section", lambda call: given(branch(call), "a", expected_version=2)),
    Write("revert_branch_section", lambda call: given(branch(call), "a")),
    Write("set_quota", lambda _: given(new_quota(period="day"))),
    Write("remove_quota", removed_quota, repeated="NotFound"),
    Write("reserve_usage", hold_of_two),
    Write("QuotaGate.reserve_usage", hold_of_two, alone=True),
    Write(
        "renew_reservation",
        lambda call: given(hold(call), hold_for=timedelta(hours=1)),
        moving=frozenset({"expires_at"}),
    ),
    Write("record_usage", usage_of_two),
    Write("settle_usage", lambda call: given(hold(call), {"tokens": 7, "runs": 1})),
    Write("release_usage", lambda call: given(hold(call))),
    Write("expire_reservations", overdue_hold, repeated="nothing"),
    Write("rebuild_usage_counters", wrong_counter, repeated="nothing"),
    Write("set_price", lambda _: given(a_price())),
]


WRITERS = frozenset({"AsyncioEventWriter", "BlockingEventWriter"})
"""Classes that write in a block; the same is done to them in reliability/test_event_writers.py."""

_WRITES = re.compile(r"\b(INSERT INTO|UPDATE runstore|DELETE FROM|COPY runstore)\b")


def public_functions() -> dict[str, bool]:
    """Name every public function of a connection, and say whether it writes."""
    functions = {name: getattr(runstore, name) for name in runstore.__all__}
    return {
        name: _writes(function)
        for name, function in functions.items()
        if hasattr(function, "bind") or inspect.isfunction(function)
    }


def public_writes() -> set[str]:
    """Name every public function of a connection that writes, and every class that does."""
    functions = {name for name, writes in public_functions().items() if writes}
    return functions | {
        name
        for name in runstore.__all__
        if inspect.isclass(public := getattr(runstore, name)) and _writes(public)
    }


def _writes(function: Any) -> bool:
    return any(_WRITES.search(text) for text in _sent_by(function, set()))


def _sent_by(function: Any, seen: set[object]) -> Iterator[str]:
    """Give the texts of all statements that a function may send, itself or through others."""
    if inspect.isclass(function):
        if function not in seen and function.__module__.startswith("runstore"):
            seen.add(function)
            for method in filter(inspect.isfunction, vars(function).values()):
                yield from _sent_by(method, seen)
        return
    define = inspect.unwrap(getattr(function, "bind", function))
    if define in seen or not define.__module__.startswith("runstore"):
        return
    seen.add(define)
    known = define.__globals__
    for code in _codes(define.__code__):
        for constant in code.co_consts:
            if isinstance(constant, str) and constant in known.get("_SQL", ()):
                yield known["_SQL"][constant].text
        for name in code.co_names:
            if inspect.isfunction(value := known.get(name)) or inspect.isclass(value):
                yield from _sent_by(value, seen)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
