"""The statements of docs/dbas.md run as they stand there, where there is something to show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from connections import Caller
from factories import create_call, create_invocation, create_run
from runstore import (
    NewRunEvent,
    NewRunFork,
    append_run_events,
    complete_feature_run,
    fork_run,
)
from whole_runs import restore_in_place

TEXT = (Path(__file__).parents[2] / "docs" / "dbas.md").read_text(encoding="utf-8")
STATEMENTS: list[Any] = re.findall(r"^```sql\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture
def asked(call: Caller) -> Caller:
    run = create_run(call)
    call(append_run_events, run.id, [NewRunEvent(type="note")])
    create_call(call, create_invocation(call, run.id).id)
    call(complete_feature_run, run.id)
    return call


@pytest.mark.parametrize("statement", STATEMENTS, ids=range(len(STATEMENTS)))
def test_a_statement_runs(statement: Any, asked: Caller) -> None:
    asked.execute(statement.replace("%", "%%"), ())


@pytest.mark.owner
def test_a_dense_log_is_not_reported(asked: Caller) -> None:
    [statement] = [each for each in STATEMENTS if "Every log is dense" in each]
    forks = [asked(fork_run, create_run(asked).id, 1, NewRunFork()).id for _ in range(2)]
    restore_in_place(asked, forks[0])
    assert asked.execute(statement) == []

    asked.execute("UPDATE runstore.run_heads SET last_seq = last_seq + 1")
    assert len(asked.execute(statement)) == 5


def test_a_call_left_open_is_reported(asked: Caller) -> None:
    [statement] = [each for each in STATEMENTS if "Nothing is open" in each]
    assert len(asked.execute(statement)) == 1
