from datetime import datetime, timedelta
from uuid import UUID

import pytest

from connections import Caller
from contents import changes, clock, contents
from factories import (
    create_call,
    create_cta,
    create_invocation,
    create_run,
    new_cta_event,
)
from runstore import (
    Conflict,
    Finished,
    InvalidPayload,
    InvalidTransition,
    NotFound,
    cancel_cta_event,
    complete_cta_event,
    create_cta_event,
    expire_cta_events,
    get_cta_event,
    list_cta_events,
    new_child_id,
    timeout_cta_event,
)
from runstore._query import Query


def overdue(call: Caller) -> datetime:
    return clock(call) - timedelta(hours=1)


def pending(call: Caller, tenant_id: str | None = None) -> list[UUID]:
    return [cta.id for cta in call(list_cta_events, tenant_id=tenant_id).items]


# create_cta_event


def test_a_tool_call_has_one_pending_question(call: Caller) -> None:
    run = create_run(call)
    tool_call = create_call(call, create_invocation(call, run.id).id).id
    first = create_cta(call, run.id, tool_call_id=tool_call)
    before = contents(call)
    with pytest.raises(Conflict) as raised:
        create_cta(call, run.id, tool_call_id=tool_call)
    assert raised.value.constraint == "cta_events_run_id_tool_call_id_key"
    assert contents(call) == before

    call(complete_cta_event, first.id, "no")
    second = create_cta(call, run.id, tool_call_id=tool_call)
    assert pending(call) == [second.id]


def test_a_repeated_create_after_the_answer_changes_nothing(call: Caller) -> None:
    data = new_cta_event(create_run(call).id)
    created = call(create_cta_event, data)
    call(complete_cta_event, data.id, {"approved": True})
    before = contents(call)

    assert call(create_cta_event, data) == created
    assert contents(call) == before


# get_cta_event


def test_an_unknown_question_is_not_found(call: Caller) -> None:
    id = new_child_id(create_run(call).id)
    with pytest.raises(NotFound) as raised:
        call(get_cta_event, id)
    assert str(raised.value) == f"call to action {id} does not exist"


# list_cta_events


def test_a_list_has_the_pending_questions_of_one_tenant(call: Caller) -> None:
    run, acme = create_run(call), create_run(call, tenant_id="acme")
    first = create_cta(call, run.id, expires_at=overdue(call)).id
    second = create_cta(call, run.id).id
    answered, theirs = create_cta(call, run.id).id, create_cta(call, acme.id).id
    call(complete_cta_event, answered, "yes")

    assert call(list_cta_events).items == [call(get_cta_event, id) for id in (first, second)]
    assert pending(call, "acme") == [theirs]
    call.execute("SELECT set_config('runstore.tenant_id', 'acme', true)")
    assert pending(call) == [theirs]
    assert pending(call, "default") == [first, second]


# complete_cta_event, timeout_cta_event, cancel_cta_event


def test_an_answer_may_come_late_while_nobody_gave_up(call: Caller) -> None:
    id = create_cta(call, create_run(call).id, expires_at=overdue(call)).id
    call(complete_cta_event, id, {"approved": False}, resolved_by="user-1")
    stored = call(get_cta_event, id)
    assert (stored.status, stored.response_data, stored.resolved_by) == (
        "completed",
        {"approved": False},
        "user-1",
    )


def test_giving_up_needs_no_deadline(call: Caller) -> None:
    id = create_cta(call, create_run(call).id).id
    call(timeout_cta_event, id)
    stored = call(get_cta_event, id)
    assert (stored.status, stored.response_data, stored.expires_at) == ("timed_out", None, None)


@pytest.mark.parametrize("name", ["", "x" * 256, "a\0b", "\ud800"])
@pytest.mark.parametrize(
    ("resolve", "arguments"), [(complete_cta_event, ["yes"]), (cancel_cta_event, [])]
)
def test_a_name_that_cannot_be_stored_is_refused(
    call: Caller, resolve: Query[..., Finished], arguments: list[str], name: str
) -> None:
    id = create_cta(call, create_run(call).id).id
    before = contents(call)
    with pytest.raises(InvalidPayload) as raised:
        call(resolve, id, *arguments, resolved_by=name)
    assert raised.value.path == "resolved_by"
    assert contents(call) == before


# expire_cta_events


def test_overdue_questions_of_every_tenant_expire_once(call: Caller) -> None:
    run, acme = create_run(call), create_run(call, tenant_id="acme")
    late = {
        create_cta(call, run.id, expires_at=overdue(call)).id,
        create_cta(call, run.id, expires_at=overdue(call)).id,
        create_cta(call, acme.id, expires_at=overdue(call)).id,
    }
    in_time = create_cta(call, run.id, expires_at=clock(call) + timedelta(hours=1)).id
    patient = create_cta(call, run.id).id
    answered = create_cta(call, run.id, expires_at=overdue(call)).id
    call(complete_cta_event, answered, "yes")
    before, start = contents(call), clock(call)

    expired = call(expire_cta_events)

    assert {key.id for key in expired} == late
    assert {row["id"] for row in changes(before, contents(call))["cta_events"]} == {
        str(id) for id in late
    }
    for key in expired:
        stored = call(get_cta_event, key.id)
        assert (stored.status, stored.run_id) == ("timed_out", key.run_id)
        assert stored.resolved_at == key.finished_at >= start
    assert call(expire_cta_events) == []
    assert pending(call) == [in_time, patient]


@pytest.mark.parametrize("late", [complete_cta_event, cancel_cta_event])
def test_what_expired_is_over(call: Caller, late: Query[..., Finished]) -> None:
    id = create_cta(call, create_run(call).id, expires_at=overdue(call)).id
    call(expire_cta_events)
    before = contents(call)
    arguments = ["yes"] if late is complete_cta_event else []
    with pytest.raises(InvalidTransition) as raised:
        call(late, id, *arguments)
    assert raised.value.status == "timed_out"
    assert contents(call) == before
