from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

import runstore
from connections import Caller
from contents import changes, clock, contents
from factories import create_run
from runstore import (
    InvalidPayload,
    InvalidTransition,
    NewChatRun,
    NotFound,
    cancel_run,
    complete_feature_run,
    fail_feature_run,
    find_runs_between,
    get_run,
    heartbeat_run,
    list_runs,
    list_stalled_runs,
    new_run_id,
    update_feature_run_phase,
)
from runstore._query import Query

SILENT = timedelta(minutes=5)


def tenant(call: Caller, name: str) -> None:
    call.execute("SELECT set_config('runstore.tenant_id', %s, true)", (name,))


def last_heard(call: Caller, run_id: UUID, minutes_ago: int) -> None:
    call.execute(
        "UPDATE runstore.run_heads SET heartbeat_at = now() - make_interval(mins => %s)"
        " WHERE run_id = %s",
        (minutes_ago, run_id),
    )


# get_run


def test_a_run_is_read_by_its_id(call: Caller) -> None:
    create_run(call)
    run = create_run(call)
    create_run(call)
    assert call(get_run, run.id) == run


def test_an_unknown_run_is_not_found(call: Caller) -> None:
    id = new_run_id()
    with pytest.raises(NotFound) as raised:
        call(get_run, id)
    assert str(raised.value) == f"run {id} does not exist"
    assert (raised.value.entity, raised.value.id) == ("run", id)


# list_runs


def test_a_list_has_the_runs_of_one_tenant(call: Caller) -> None:
    mine = create_run(call)
    acme = create_run(call, tenant_id="acme")

    assert call(list_runs).items == [mine]
    assert call(list_runs, tenant_id="acme").items == [acme]
    tenant(call, "acme")
    assert call(list_runs).items == [acme]
    assert call(list_runs, tenant_id="default").items == [mine]
    # An empty setting, which is what it is reset to, is none.
    tenant(call, "")
    assert call(list_runs).items == [mine]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"kind": "feature"}, {"kind": "chat"}),
        ({"status": "running"}, {"status": "pending"}),
        ({"thread_id": "thread-1"}, {"thread_id": "thread-2"}),
        ({"subject_id": "subject-1"}, {"subject_id": "subject-2"}),
        ({"name": "name-1"}, {"name": "name-2"}),
    ],
)
def test_a_filter_keeps_what_has_its_value(
    call: Caller, one: dict[str, Any], other: dict[str, Any]
) -> None:
    first = create_run(call, thread_id="thread-1", subject_id="subject-1", name="name-1")
    second = call(
        runstore.create_run,
        NewChatRun(thread_id="thread-2", subject_id="subject-2", name="name-2"),
    )
    assert call(list_runs, **one).items == [first]
    assert call(list_runs, **other).items == [second]
    assert call(list_runs, status="failed").items == []


def test_filters_narrow_each_other(call: Caller) -> None:
    create_run(call, name="a", subject_id="x")
    create_run(call, name="b", subject_id="y")
    kept = create_run(call, name="a", subject_id="y")
    assert call(list_runs, name="a", subject_id="y", kind="feature").items == [kept]
    assert call(list_runs, name="a", subject_id="y", kind="chat").items == []


def test_the_newest_run_is_the_first(call: Caller) -> None:
    runs = [create_run(call) for _ in range(3)]
    assert call(list_runs).items == runs[::-1]


# cancel_run


@pytest.mark.parametrize("kind", ["feature", "chat"])
def test_a_run_of_either_kind_is_cancelled(call: Caller, kind: str) -> None:
    run = create_run(call) if kind == "feature" else call(runstore.create_run, NewChatRun())
    state = call(cancel_run, run.id, error={"why": "asked to"})

    stored = call(get_run, run.id)
    assert (stored.kind, stored.status, stored.error) == (kind, "cancelled", {"why": "asked to"})
    assert stored.updated_at == state.updated_at


# heartbeat_run


def test_a_heartbeat_changes_the_head_alone(call: Caller) -> None:
    run = create_run(call)
    before, start = contents(call), clock(call)

    beat = call(heartbeat_run, run.id)
    assert start <= beat.heartbeat_at <= clock(call)
    assert (beat.run_id, beat.cancel_requested_at) == (run.id, None)
    written = changes(before, contents(call))
    assert written.keys() == {"run_heads"}
    assert [(row["run_id"], row["last_seq"]) for row in written["run_heads"]] == [(str(run.id), 1)]


def test_a_heartbeat_brings_the_request_to_stop(call: Caller) -> None:
    run = create_run(call)
    call.execute("UPDATE runstore.runs SET cancel_requested_at = now() WHERE id = %s", (run.id,))
    asked = call(get_run, run.id).cancel_requested_at
    assert asked is not None
    assert call(heartbeat_run, run.id).cancel_requested_at == asked


def test_an_unknown_run_has_no_heart(call: Caller) -> None:
    id = new_run_id()
    with pytest.raises(NotFound) as raised:
        call(heartbeat_run, id)
    assert (raised.value.entity, raised.value.id) == ("run", id)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (complete_feature_run, "completed"),
        (fail_feature_run, "failed"),
        (cancel_run, "cancelled"),
    ],
)
def test_a_worker_of_an_ended_run_hears_so(
    call: Caller, end: Query[[UUID], Any], status: str
) -> None:
    run = create_run(call)
    call(end, run.id)
    before = contents(call)
    with pytest.raises(InvalidTransition) as raised:
        call(heartbeat_run, run.id)
    assert raised.value.status == status
    assert contents(call) == before


# find_runs_between


def test_the_newest_two_runs_of_a_range_are_found(call: Caller) -> None:
    first, second, third = (create_run(call, tenant_id="other") for _ in range(3))

    found = call(find_runs_between, first.id, third.id)
    assert [run.id for run in found] == [third.id, second.id]
    [alone] = call(find_runs_between, second.id, second.id)
    assert dict(alone) == {name: getattr(second, name) for name in type(alone).model_fields}
    assert call(find_runs_between, new_run_id(), new_run_id()) == []


# list_stalled_runs


def test_stalled_runs_are_the_silent_ones_longest_first(call: Caller) -> None:
    runs = [create_run(call, phase="build", thread_id="thread") for _ in range(4)]
    for run, minutes in zip(runs, [6, 60, 4, 7], strict=True):
        last_heard(call, run.id, minutes)

    stalled = call(list_stalled_runs, silent_for=SILENT).items
    assert [run.id for run in stalled] == [runs[1].id, runs[3].id, runs[0].id]
    first = dict(stalled[0])
    assert first.pop("heartbeat_at") < clock(call) - timedelta(minutes=59)
    assert first == {name: getattr(runs[1], name) for name in first}
    type(stalled[0]).model_validate(dict(stalled[0]), strict=True)


def test_without_patience_every_running_run_is_stalled(committed_call: Caller) -> None:
    run = create_run(committed_call)
    stalled = committed_call(list_stalled_runs, silent_for=timedelta(0)).items
    assert [row.id for row in stalled] == [run.id]


@pytest.mark.parametrize(
    ("sign_of_life", "arguments"), [(heartbeat_run, []), (update_feature_run_phase, ["next"])]
)
def test_a_sign_of_life_ends_the_silence(
    call: Caller, sign_of_life: Query[..., Any], arguments: list[str]
) -> None:
    run = create_run(call)
    last_heard(call, run.id, 60)
    assert len(call(list_stalled_runs, silent_for=SILENT).items) == 1
    call(sign_of_life, run.id, *arguments)
    assert call(list_stalled_runs, silent_for=SILENT).items == []


def test_only_a_running_run_can_stall(call: Caller) -> None:
    pending = call(runstore.create_run, NewChatRun())
    ended = create_run(call)
    call(complete_feature_run, ended.id)
    for run in (pending, ended):
        last_heard(call, run.id, 60)
    assert call(list_stalled_runs, silent_for=SILENT).items == []


def test_a_list_has_the_stalled_runs_of_one_tenant(call: Caller) -> None:
    mine, acme = create_run(call), create_run(call, tenant_id="acme")
    for run in (mine, acme):
        last_heard(call, run.id, 60)

    def stalled(**arguments: Any) -> list[UUID]:
        return [run.id for run in call(list_stalled_runs, silent_for=SILENT, **arguments).items]

    assert stalled() == [mine.id]
    assert stalled(tenant_id="acme") == [acme.id]
    tenant(call, "acme")
    assert stalled() == [acme.id]


# Values that no query can hold


@pytest.mark.parametrize("name", ["tenant_id", "thread_id", "subject_id", "name"])
def test_a_filter_that_no_row_can_have_is_refused(call: Caller, name: str) -> None:
    filters: dict[str, Any] = {name: "a\0b"}
    with pytest.raises(InvalidPayload, match="NUL"):
        call(list_runs, **filters)


def test_list_runs_finds_the_runs_that_a_run_started(call: Caller) -> None:
    parent = create_run(call)
    children = [create_run(call, parent_run_id=parent.id) for _ in range(2)]

    assert call(list_runs, parent_run_id=parent.id).items == children[::-1]
    assert call(list_runs, parent_run_id=children[0].id).items == []
