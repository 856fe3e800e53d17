"""Names are drawn on one line each: a line break in one cannot draw a line of its own."""

from __future__ import annotations

from typing import Any

import pytest
from psycopg import Connection

from command import runstore, start
from runstore import (
    NewAgentInvocation,
    NewAgentStep,
    NewCtaEvent,
    NewFeatureRun,
    NewMemoryRecord,
    NewPhaseResult,
    NewQuota,
    NewReport,
    NewRunEvent,
    NewSandbox,
    NewSnapshot,
    NewToolCall,
    NewUsage,
    append_run_events,
    create_agent_invocation,
    create_agent_step,
    create_cta_event,
    create_feature_run,
    create_memory_record,
    create_phase_result,
    create_report,
    create_sandbox_record,
    create_snapshot_record,
    create_tool_call,
    record_usage,
    set_quota,
)

FORGED = "forged ✓ completed"
NAME = f"a\n{FORGED}"
SUBJECT = f"mia\r\n{FORGED}\u2028{FORGED}"


@pytest.fixture
def named(conn: Connection[Any]) -> dict[str, object]:
    """A run, and all that hangs off it, whose names have line breaks."""
    run = create_feature_run(
        conn,
        NewFeatureRun(
            name=NAME, phase=NAME, thread_id=NAME, subject_id=SUBJECT, input={NAME: 1, "b": NAME}
        ),
    )
    phase = create_phase_result(conn, NewPhaseResult(run_id=run.id, phase=NAME))
    made = create_agent_invocation(
        conn, NewAgentInvocation(phase_result_id=phase.id, agent=NAME, model=NAME)
    )
    create_agent_step(conn, NewAgentStep(invocation_id=made.id, kind=NAME, content=NAME))
    create_tool_call(conn, NewToolCall(invocation_id=made.id, name=NAME, arguments={NAME: NAME}))
    request: Any = {NAME: [NAME], "c": 1}
    create_cta_event(conn, NewCtaEvent(run_id=run.id, kind=NAME, phase=NAME, request=request))
    create_memory_record(conn, NewMemoryRecord(run_id=run.id, kind=NAME, content=NAME))
    create_sandbox_record(conn, NewSandbox(run_id=run.id, id=NAME, provider=NAME, template=NAME))
    create_snapshot_record(conn, NewSnapshot(run_id=run.id, id=NAME, sandbox_id=NAME))
    append_run_events(conn, run.id, [NewRunEvent(type=NAME, payload={NAME: NAME, "d": 1})])
    report = create_report(conn, NewReport(run_id=run.id, title=NAME))
    quota = NewQuota(subject_id=SUBJECT, meter="tokens", period="total", limit_amount=9)
    set_quota(conn, quota)
    amounts = {"tokens": 1}
    record_usage(conn, NewUsage(subject_id=SUBJECT, provider=NAME, model=NAME, amounts=amounts))
    return {"RUN": run.id, "REPORT": report.id, "SUBJECT": SUBJECT}


@pytest.mark.parametrize("columns", [100, 200])
@pytest.mark.parametrize(
    "words",
    [
        "runs",
        "show RUN",
        "show RUN --full",
        "events RUN",
        "events RUN --full",
        "pending",
        "report REPORT",
        "usage SUBJECT --by model --by provider",
    ],
)
def test_no_line_begins_with_what_stands_in_a_name(
    named: dict[str, object], database: str, words: str, columns: int
) -> None:
    arguments = [named.get(word, word) for word in words.split()]

    said = runstore(*arguments, "--dsn", database, COLUMNS=str(columns))

    assert (said.status, said.err) == (0, "")
    lines = said.out.splitlines()
    assert not [line for line in lines if line.lstrip(" │├╰─").startswith("forged")], said.out
    assert any("a forged" in line for line in lines)


def test_what_is_watched_stands_on_one_line(named: dict[str, object], database: str) -> None:
    arguments = ["runs", "--watch", "--interval", "0.1", "--dsn", database]
    with start(*arguments) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
        rest, _ = process.communicate(timeout=30)

    assert f" a {FORGED} a {FORGED} running\n" in line
    assert rest == ""
    del named
