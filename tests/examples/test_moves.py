"""What the programs of `examples/` record moves into another database, and gives the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from psycopg import Connection

from chat import run_chat
from import_conversations import parse_conversations, record_conversation
from pipeline_run import run_pipeline
from recorded_runs import CONVERSATIONS, TRAJECTORY, recorded_by_agents
from runstore import (
    connect,
    get_run_tree,
    iter_run_events,
    iter_run_export,
    list_runs,
    restore_run,
    verify_run_events,
    verify_usage,
)
from swe_agent import parse_trajectory
from trajectory_run import record_trajectory

OpenConnection = Callable[[], Connection[Any]]


def record_demo(open_connection: OpenConnection) -> None:
    run_pipeline(open_connection, patience=timedelta(0), report=lambda _: None)
    run_chat(open_connection, report=lambda _: None, pace=0)


def record_agents_work(open_connection: OpenConnection) -> None:
    with open_connection() as conn:
        record_trajectory(conn, parse_trajectory(TRAJECTORY.read_bytes()), "key")
        for conversation in parse_conversations(CONVERSATIONS.read_bytes()):
            record_conversation(conn, conversation)


@pytest.mark.parametrize(
    ("record", "runs"),
    [
        pytest.param(record_demo, 3, id="demo"),
        pytest.param(
            record_agents_work,
            41,
            id="recorded",
            marks=recorded_by_agents,
        ),
    ],
)
def test_every_run_moves_with_all_that_it_has(
    database: str, other_database: str, record: Callable[[OpenConnection], None], runs: int
) -> None:
    record(partial(connect, database))

    with connect(database) as here, connect(other_database) as there:
        moved = [run.id for run in list_runs(here, page_size=1_000).items]
        assert len(moved) == runs
        for run_id in moved:
            assert restore_run(there, iter_run_export(here, run_id, usage=True)).created
            exports = [[*iter_run_export(conn, run_id, usage=True)] for conn in (here, there)]
            assert exports[0] == exports[1]
            assert get_run_tree(here, run_id) == get_run_tree(there, run_id)
            assert [*iter_run_events(here, run_id)] == [*iter_run_events(there, run_id)]
        assert verify_usage(there).items == []
        assert verify_run_events(there).items == []
