from typing import Any, get_args

import pytest

from connections import Caller
from contents import changes, contents
from factories import create_run, create_sandbox, new_sandbox
from runstore import (
    InvalidPayload,
    InvalidTransition,
    NewSandbox,
    NotFound,
    create_sandbox_record,
    get_sandbox,
    new_run_id,
    update_sandbox_status,
)
from runstore.sandboxes import SandboxStatus

# create_sandbox_record


def test_a_sandbox_is_being_created_unless_it_is_said_otherwise(call: Caller) -> None:
    run = create_run(call)
    assert create_sandbox(call, run.id).status == "creating"
    assert create_sandbox(call, run.id, id="other", status="paused").status == "paused"


@pytest.mark.parametrize("status", ["stopped", "failed", "unheard-of"])
def test_a_sandbox_is_not_over_when_it_is_recorded(status: str) -> None:
    with pytest.raises(InvalidPayload) as raised:
        new_sandbox(new_run_id(), status=status)
    assert raised.value.path == "status"


def test_a_repeated_create_answers_the_row_as_it_is_now(call: Caller) -> None:
    data = NewSandbox(run_id=create_run(call).id, id="machine")
    call(create_sandbox_record, data)
    [stopped] = call(update_sandbox_status, "machine", "stopped")
    before = contents(call)

    assert call(create_sandbox_record, data) == stopped
    assert contents(call) == before


def test_runs_share_a_machine_that_each_describes_for_itself(call: Caller) -> None:
    first, second = create_run(call), create_run(call)
    create_sandbox(call, first.id, id="machine", template="a")
    create_sandbox(call, second.id, id="machine", template="b")
    assert call(get_sandbox, "machine", run_id=first.id).template == "a"
    assert call(get_sandbox, "machine", run_id=second.id).template == "b"


# get_sandbox


def test_without_a_run_it_is_the_newest_runs_row(call: Caller) -> None:
    first, second = create_run(call), create_run(call)
    newest = create_sandbox(call, second.id, id="machine")
    create_sandbox(call, first.id, id="machine")
    assert call(get_sandbox, "machine") == newest


def test_a_sandbox_of_another_run_is_not_found(call: Caller) -> None:
    create_sandbox(call, create_run(call).id, id="machine")
    with pytest.raises(NotFound) as raised:
        call(get_sandbox, "machine", run_id=create_run(call).id)
    assert (raised.value.entity, raised.value.id) == ("sandbox", "machine")


# update_sandbox_status


def test_a_change_reaches_every_run_that_uses_the_machine(call: Caller) -> None:
    first, second, other = create_run(call), create_run(call), create_run(call)
    for run in (first, second):
        create_sandbox(call, run.id, id="machine")
    create_sandbox(call, other.id, id="another")
    before = contents(call)

    changed = call(update_sandbox_status, "machine", "stopped")

    assert {row.run_id for row in changed} == {first.id, second.id}
    assert {row.status for row in changed} == {"stopped"}
    assert all(row == call(get_sandbox, "machine", run_id=row.run_id) for row in changed)
    assert {row["id"] for row in changes(before, contents(call))["sandboxes"]} == {"machine"}


def test_rows_that_are_over_stay_as_they_are(call: Caller) -> None:
    first, second = create_run(call), create_run(call)
    create_sandbox(call, first.id, id="machine")
    [failed] = call(update_sandbox_status, "machine", "failed")
    create_sandbox(call, second.id, id="machine")

    assert [row.run_id for row in call(update_sandbox_status, "machine", "running")] == [second.id]
    assert call(get_sandbox, "machine", run_id=first.id) == failed


def test_a_machine_runs_pauses_and_runs_again(call: Caller) -> None:
    create_sandbox(call, create_run(call).id, id="machine")
    path: list[SandboxStatus] = ["creating", "running", "paused", "running", "running", "stopped"]
    for status in path:
        [sandbox] = call(update_sandbox_status, "machine", status)
        assert (sandbox.status, sandbox.terminated_at is None) == (status, status != "stopped")


@pytest.mark.parametrize("status", ["running", "paused"])
def test_nothing_is_created_a_second_time(call: Caller, status: SandboxStatus) -> None:
    create_sandbox(call, create_run(call).id, id="machine")
    call(update_sandbox_status, "machine", status)
    before = contents(call)
    with pytest.raises(InvalidTransition) as raised:
        call(update_sandbox_status, "machine", "creating")
    assert raised.value.status == status
    assert contents(call) == before


def test_a_status_that_does_not_exist_is_refused(call: Caller) -> None:
    create_sandbox(call, create_run(call).id, id="machine")
    before = contents(call)
    status: Any = "unheard-of"
    with pytest.raises(InvalidPayload) as raised:
        call(update_sandbox_status, "machine", status)
    assert raised.value.path == "status"
    assert "unheard-of" not in str(raised.value)
    assert contents(call) == before


def test_every_status_can_be_stored(call: Caller) -> None:
    for status in get_args(SandboxStatus):
        create_sandbox(call, create_run(call).id, id=status)
        assert [row.status for row in call(update_sandbox_status, status, status)] == [status]
