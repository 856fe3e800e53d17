from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection

from command import runstore
from runstore import (
    NewAgentInvocation,
    NewFeatureRun,
    NewQuota,
    NewToolCall,
    NewUsage,
    complete_feature_run,
    create_agent_invocation,
    create_feature_run,
    create_tool_call,
    record_usage,
    set_quota,
)

PROMISES = [
    "Usage counters are what the log and the holds add up to",
    "Event logs have no gap and end with their runs",
    "No tool call of a dead run is open",
]


@pytest.fixture
def call_id(conn: Connection[Any]) -> UUID:
    """An open tool call of a run that is alive, and a quota that is used."""
    run = create_feature_run(conn, NewFeatureRun(name="x"))
    made = create_agent_invocation(conn, NewAgentInvocation(run_id=run.id, agent="a"))
    set_quota(conn, NewQuota(subject_id="mia", meter="tokens", period="total", limit_amount=100))
    record_usage(conn, NewUsage(subject_id="mia", amounts={"tokens": 10}))
    return create_tool_call(conn, NewToolCall(invocation_id=made.id, name="npm")).id


@pytest.mark.usefixtures("call_id")
def test_what_is_sound_is_said_to_be(database: str) -> None:
    said = runstore("verify", "--dsn", database)

    assert (said.status, said.out) == (0, "".join(f"✓ {promise}\n" for promise in PROMISES))
    assert runstore("verify", "--json", "--dsn", database).json == {
        "ok": True,
        "usage_counters": [],
        "run_logs": [],
        "abandoned_tool_calls": [],
    }


@pytest.mark.owner
def test_every_fault_is_told(conn: Connection[Any], call_id: UUID, database: str) -> None:
    conn.execute("UPDATE runstore.usage_counters SET used = 11")
    conn.execute("DELETE FROM runstore.run_events")
    [(run_id,)] = conn.execute("SELECT id FROM runstore.runs").fetchall()
    complete_feature_run(conn, run_id)

    said = runstore("verify", "--dsn", database)

    assert said.status == 1
    lines = said.out.splitlines()
    assert lines[0] == f"✗ {PROMISES[0]}: 1 fault"
    assert lines[1].startswith("    mia in total: used 11, logged 10; held 0, reserved 0 (quota ")
    assert lines[2] == f"✗ {PROMISES[1]}: 1 fault"
    assert lines[3] == f"    {run_id} has 1 events after 0 and up to 2"
    assert lines[4] == f"✗ {PROMISES[2]}: 1 fault"
    assert lines[5].startswith(f"    {call_id} npm: its run is completed, last heard of 0 s ago")
    document = runstore("verify", "--json", "--dsn", database)
    assert document.status == 1
    assert document.json["ok"] is False
    [log] = document.json["run_logs"]
    assert (log["run_id"], log["fault"]) == (str(run_id), "has 1 events after 0 and up to 2")
    assert document.json["usage_counters"][0]["logged"] == 10
    assert document.json["abandoned_tool_calls"][0]["id"] == str(call_id)


@pytest.mark.owner
@pytest.mark.usefixtures("call_id")
def test_how_long_a_run_may_be_silent_is_chosen(conn: Connection[Any], database: str) -> None:
    conn.execute("UPDATE runstore.run_heads SET heartbeat_at = now() - interval '30 min'")

    assert runstore("verify", "--dsn", database).status == 0
    assert runstore("verify", "--silent-for", "29m", "--dsn", database).status == 1


@pytest.mark.owner
def test_many_faults_are_not_all_shown(conn: Connection[Any], database: str) -> None:
    for _ in range(23):
        create_feature_run(conn, NewFeatureRun(name="x"))
    conn.execute("DELETE FROM runstore.run_events")

    said = runstore("verify", "--dsn", database)

    assert "and 3 more; --json names all" in said.out
    assert len(runstore("verify", "--json", "--dsn", database).json["run_logs"]) == 23
