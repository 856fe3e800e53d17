"""A create that is sent again: at the same time as the first, or after an index was rebuilt.

The server looks at a table's keys in the order in which their indexes were made.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from connections import Caller, Connect, wait_until_blocked
from contents import contents
from factories import (
    create_call,
    create_invocation,
    create_run,
    new_agent_step,
    new_cta_event,
    new_phase_result,
    new_tool_call,
)
from report_factories import create_draft, create_fork, new_branch
from runstore import (
    Conflict,
    NotFound,
    advance_feature_run,
    create_agent_step,
    create_agent_steps,
    create_branch_report,
    create_cta_event,
    create_phase_result,
    create_tool_call,
    create_tool_calls,
    new_child_id,
    transaction,
)
from runstore._models import Created, Input
from runstore._query import Query


def invocation_of(call: Caller) -> UUID:
    return create_invocation(call, create_run(call).id).id


def branch_of(call: Caller) -> Input:
    report_id = create_draft(call)
    return new_branch(create_fork(call, report_id), report_id)


def question_of(call: Caller) -> Input:
    tool_call = create_call(call, invocation_of(call))
    return new_cta_event(tool_call.run_id, tool_call_id=tool_call.id)


@dataclass(frozen=True)
class TwoKeys:
    """A create of a table that has a key besides the id."""

    create: Query[[Any], Created]
    key: str
    """The other key, without its table."""
    make: Callable[[Caller], Any]

    def __str__(self) -> str:
        return self.key.partition("_run_id")[0]


EVERY = pytest.mark.parametrize(
    "create",
    [
        TwoKeys(
            create_tool_call,
            "tool_calls_run_id_invocation_id_provider_call_id_key",
            lambda call: new_tool_call(invocation_of(call), provider_call_id="call-1"),
        ),
        TwoKeys(
            create_agent_step,
            "agent_steps_run_id_invocation_id_position_key",
            lambda call: new_agent_step(invocation_of(call)),
        ),
        TwoKeys(
            create_phase_result,
            "phase_results_run_id_phase_attempt_key",
            lambda call: new_phase_result(create_run(call).id),
        ),
        TwoKeys(create_cta_event, "cta_events_run_id_tool_call_id_key", question_of),
        TwoKeys(create_branch_report, "branch_reports_run_id_report_id_name_key", branch_of),
    ],
    ids=str,
)


def rebuild(call: Caller, *indexes: str) -> None:
    """Put these indexes behind all others of their table."""
    execute: Any = call.execute
    for index in indexes:
        execute(f"REINDEX INDEX CONCURRENTLY runstore.{index}")


def hold_back_writes(call: Caller, table: str) -> None:
    """Let an insert wait for the lock 7 between its look for the keys and their entries."""
    execute: Any = call.execute
    execute(
        "CREATE FUNCTION runstore.gate(id uuid) RETURNS uuid IMMUTABLE LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN id; END $$"
    )
    execute(f"CREATE INDEX gate ON runstore.{table} (runstore.gate(id))")


# Sent again while the first is written


@pytest.mark.owner
@EVERY
def test_a_create_that_is_sent_twice_at_once_is_one(
    committed_call: Caller, connect: Connect, create: TwoKeys
) -> None:
    call, first, observer = committed_call, connect(), connect()
    data = create.make(call)
    hold_back_writes(call, str(create))
    rebuild(call, f"{create}_pkey", create.key)

    with ThreadPoolExecutor(1) as pool:
        with transaction(first):
            first.execute("SELECT pg_advisory_xact_lock(7)")
            second = pool.submit(call, create.create, data)
            wait_until_blocked(observer)
            answer = create.create(first, data)
        assert second.result(timeout=10) == answer


@pytest.mark.owner
@EVERY
def test_of_two_creates_at_once_with_one_key_the_first_wins(
    committed_call: Caller, connect: Connect, create: TwoKeys
) -> None:
    call, first, observer = committed_call, connect(), connect()
    data = create.make(call)
    other = data.model_copy(update={"id": new_child_id(data.run_id)})
    hold_back_writes(call, str(create))
    rebuild(call, f"{create}_pkey", create.key)

    with ThreadPoolExecutor(1) as pool:
        with transaction(first):
            first.execute("SELECT pg_advisory_xact_lock(7)")
            second = pool.submit(call, create.create, data)
            wait_until_blocked(observer)
            create.create(first, other)
        with pytest.raises(Conflict) as raised:
            second.result(timeout=10)
    assert raised.value.constraint == create.key
    assert str(raised.value) == f"another row has the same key: {create.key}"


@EVERY
def test_a_key_that_is_taken_leaves_the_transaction_usable(
    committed_call: Caller, create: TwoKeys
) -> None:
    call = committed_call
    data = create.make(call)
    number = {"agent_steps": "position", "phase_results": "attempt"}.get(str(create))
    given = {"id": new_child_id(data.run_id)} | ({number: 1} if number else {})

    call.execute("BEGIN")
    created = call(create.create, data)
    with pytest.raises(Conflict) as raised:
        call(create.create, data.model_copy(update=given))
    assert raised.value.constraint == create.key
    assert call(create.create, data) == created
    call.execute("COMMIT")
    assert call(create.create, data) == created


def test_a_parent_that_is_unknown_is_not_taken_for_a_key(call: Caller) -> None:
    unknown = new_child_id(create_run(call).id)
    creates: list[tuple[Query[[Any], Created], Any]] = [
        (create_tool_call, new_tool_call(unknown, provider_call_id="call-1")),
        (create_agent_step, new_agent_step(unknown, position=1)),
    ]
    for create, data in creates:
        with pytest.raises(NotFound) as raised:
            call(create, data)
        assert (raised.value.entity, raised.value.id) == ("agent invocation", unknown)


# Sent again after an index was rebuilt


@pytest.mark.owner
@pytest.mark.parametrize("entity", ["agent_steps", "tool_calls"])
def test_a_batch_is_repeated_after_its_index_was_rebuilt(
    committed_call: Caller, entity: str
) -> None:
    call = committed_call
    invocation = invocation_of(call)
    batches: dict[str, tuple[Query[[Any], Any], list[Any]]] = {
        "agent_steps": (
            create_agent_steps,
            [new_agent_step(invocation, position=number) for number in range(2)],
        ),
        "tool_calls": (
            create_tool_calls,
            [new_tool_call(invocation, provider_call_id=f"call-{n}") for n in range(2)],
        ),
    }
    create, batch = batches[entity]
    created = call(create, batch)
    before = contents(call)
    rebuild(call, f"{entity}_pkey")

    assert call(create, batch) == created
    with pytest.raises(Conflict, match=r"^\[0\]: .* exists with another metadata$"):
        call(create, [batch[0].model_copy(update={"metadata": {"a": 1}}), batch[1]])
    with pytest.raises(Conflict, match=r"another row has the same key: .*_key$"):
        call(create, [batch[0].model_copy(update={"id": new_child_id(batch[0].run_id)})])
    assert contents(call) == before


@pytest.mark.owner
def test_a_phase_is_left_again_after_an_index_was_rebuilt(committed_call: Caller) -> None:
    call = committed_call
    run = create_run(call, phase="plan")
    invocation = create_invocation(call, run.id).id
    calls = [new_tool_call(invocation, provider_call_id=f"call-{n}") for n in range(2)]
    state = call(advance_feature_run, run.id, "build", calls)
    before = contents(call)
    rebuild(call, "tool_calls_pkey")

    assert call(advance_feature_run, run.id, "build", calls) == state
    with pytest.raises(Conflict, match=r"another row has the same key: .*_key$"):
        call(
            advance_feature_run,
            run.id,
            "test",
            [calls[0].model_copy(update={"id": new_child_id(run.id)})],
        )
    assert contents(call) == before
