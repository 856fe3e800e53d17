from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection

from command import runstore
from runstore import (
    InvocationOutcome,
    NewAgentInvocation,
    NewAgentStep,
    NewChatRun,
    NewCtaEvent,
    NewFeatureRun,
    NewMemoryRecord,
    NewPhaseResult,
    NewReport,
    NewSandbox,
    NewSnapshot,
    NewToolCall,
    cancel_run,
    complete_agent_invocation,
    complete_cta_event,
    complete_feature_run,
    create_agent_invocation,
    create_agent_step,
    create_cta_event,
    create_feature_run,
    create_memory_record,
    create_phase_result,
    create_report,
    create_run,
    create_sandbox_record,
    create_snapshot_record,
    create_tool_call,
    fail_feature_run,
    fail_phase_result,
    fail_run,
    finish_tool_call,
    get_run_tree,
)


@pytest.fixture
def run_id(conn: Connection[Any]) -> UUID:
    """A run with one of everything, a failed call and an answered question."""
    run = create_feature_run(
        conn, NewFeatureRun(name="dark mode", phase="build", input={"goal": "a dark mode"})
    )
    phase = create_phase_result(conn, NewPhaseResult(run_id=run.id, phase="build"))
    made = create_agent_invocation(
        conn, NewAgentInvocation(phase_result_id=phase.id, agent="builder", model="model-1")
    )
    step = create_agent_step(
        conn, NewAgentStep(invocation_id=made.id, position=1, kind="thought", content="Look first.")
    )
    call = create_tool_call(
        conn,
        NewToolCall(
            invocation_id=made.id, step_id=step.id, name="npm", arguments={"command": ["npm", "t"]}
        ),
    )
    finish_tool_call(conn, call.id, status="failed", result={"exit": 1}, error="[red]no disk")
    question = NewCtaEvent(
        run_id=run.id, kind="choice", tool_call_id=call.id, request={"question": "Which blue?"}
    )
    create_cta_event(conn, question)
    complete_cta_event(conn, question.id, {"text": "#8ab4f8"}, resolved_by="mia")
    sub = create_agent_invocation(
        conn, NewAgentInvocation(run_id=run.id, parent_invocation_id=made.id, agent="reviewer")
    )
    complete_agent_invocation(
        conn, sub.id, InvocationOutcome(input_tokens=900, cost_usd=Decimal("0.00030"))
    )
    complete_agent_invocation(
        conn,
        made.id,
        InvocationOutcome(
            output="written", input_tokens=1_200, output_tokens=80, cost_usd=Decimal("0.01")
        ),
    )
    fail_phase_result(conn, phase.id, error="the tests fail")
    create_sandbox_record(conn, NewSandbox(run_id=run.id, id="box-1", provider="docker"))
    snapshot = NewSnapshot(run_id=run.id, id="snap-1", sandbox_id="box-1", size_bytes=10_240)
    create_snapshot_record(conn, snapshot)
    memory = NewMemoryRecord(run_id=run.id, phase="plan", kind="fact", content="It is in a.css.")
    create_memory_record(conn, memory)
    create_report(conn, NewReport(run_id=run.id, title="What was done"))
    complete_feature_run(conn, run.id, output={"merged": True})
    return run.id


def shown(database: str, *options: object, columns: int = 120) -> list[str]:
    said = runstore("show", "latest", *options, "--dsn", database, COLUMNS=str(columns))
    assert (said.status, said.err) == (0, "")
    return said.out.splitlines()


def test_the_tree_stands_beside_what_it_took(run_id: UUID, database: str) -> None:
    lines = shown(database)

    assert lines[0].startswith("dark mode  ✓ completed  ")
    assert lines[1].startswith(f"pipeline {run_id} · made ")
    assert lines[2] == (
        "1 phase · 2 invocations · 1 tool call (1 failed) · 2,100 tokens in, 80 out · $0.0103"
    )
    assert lines[3:5] == ["input  a dark mode", "output merged: true"]
    tree = [line.split("  ")[0] if "─" not in line else line for line in lines[6:]]
    starts = [
        "├─ build ",
        "│  ├─ builder model-1 ",
        "│  │  ├─ 1 thought Look first.",
        "│  │  │  ╰─ npm npm t ",
        "│  │  │     ├─ choice Which blue? ",
        "│  │  │     │  ╰─ → mia: #8ab4f8",
        "│  │  │     ├─ → exit: 1",
        "│  │  │     ╰─ ✗ [red]no disk",
        "│  │  ├─ reviewer ",
        "│  │  ╰─ → written",
        "│  ╰─ ✗ the tests fail",
        "├─ report ",
        "├─ sandbox box-1 docker ",
        "│  ╰─ snapshot snap-1 10,240 bytes",
        "╰─ 1 memory",
        "   ╰─ plan fact It is in a.css.",
    ]
    assert len(tree) == len(starts)
    for line, start in zip(tree, starts, strict=True):
        assert line.startswith(start), (line, start)
    assert "✗ failed" in tree[0]
    assert tree[1].rstrip().endswith("1,200 → 80    $0.01")
    assert tree[8].rstrip().endswith("900 → ?  $0.0003")


@pytest.mark.parametrize("columns", [60, 80, 89, 90, 120, 200])
def test_no_line_of_the_tree_is_wider_than_the_terminal(
    run_id: UUID, database: str, columns: int
) -> None:
    del run_id
    lines = shown(database, columns=columns)

    tree = [line for line in lines if line.startswith(("├", "│", "╰"))]
    assert tree
    assert max(map(len, tree)) <= columns
    assert any("$" in line for line in tree) == (columns >= 90)


def test_brief_leaves_out_what_agents_did(run_id: UUID, database: str) -> None:
    del run_id
    text = "\n".join(shown(database, "--brief"))

    assert "builder" in text
    assert "reviewer" in text
    assert "✗ the tests fail" in text
    for left_out in ("thought", "npm", "sandbox", "memory", "written"):
        assert left_out not in text


def test_full_shows_whole_documents(conn: Connection[Any], database: str) -> None:
    run = create_run(conn, NewChatRun())
    made = create_agent_invocation(conn, NewAgentInvocation(run_id=run.id, agent="a"))
    text = " ".join(str(number) for number in range(1_000))
    create_agent_step(
        conn, NewAgentStep(invocation_id=made.id, position=1, kind="message", content=text)
    )

    assert not any(text in line for line in shown(database))
    assert any(text in line for line in shown(database, "--full"))
    cancel_run(conn, run.id, error=text)
    assert f"error  {text}" in shown(database, "--full")


def test_machines_get_the_whole_tree(conn: Connection[Any], run_id: UUID, database: str) -> None:
    document = runstore("show", run_id, "--json", "--dsn", database).json

    reports = document.pop("reports")
    assert document == get_run_tree(conn, run_id).model_dump(mode="json")
    assert [report["title"] for report in reports] == ["What was done"]
    [phase] = document["phases"]
    # A decimal is a text: no reader of JSON may round it.
    assert phase["invocations"][0]["invocation"]["cost_usd"] == "0.01"


def test_what_is_left_out_is_said(run_id: UUID, database: str) -> None:
    del run_id
    last = shown(database, "--max-rows", 1)[-1]

    assert last == "Not all rows are shown, of agent_invocations: see --max-rows."


@pytest.mark.parametrize(("max_rows", "left_out"), [(10_000, False), (101, False), (100, True)])
def test_reports_are_shown_as_all_rows_are(
    conn: Connection[Any], database: str, max_rows: int, left_out: bool
) -> None:
    """The newest of them, where there are more than is asked for."""
    run = create_feature_run(conn, NewFeatureRun(name="x"))
    for number in range(101):
        create_report(conn, NewReport(run_id=run.id, title=f"number {number}"))

    options = ["--max-rows", max_rows, "--dsn", database]
    document = runstore("show", run.id, "--json", *options).json
    lines = runstore("show", run.id, *options).out.splitlines()

    titles = [f"number {number}" for number in reversed(range(101))][:max_rows]
    assert [report["title"] for report in document["reports"]] == titles
    assert sum("number" in line for line in lines) == len(titles)
    assert document["truncated"] == (["reports"] if left_out else [])
    said = "Not all rows are shown, of reports: see --max-rows."
    assert (lines[-1] == said) == left_out


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (InvocationOutcome(input_tokens=500), "1 invocation · 500 tokens in"),
        (InvocationOutcome(output_tokens=80), "1 invocation · 80 tokens out"),
        (
            InvocationOutcome(input_tokens=500, output_tokens=0),
            "1 invocation · 500 tokens in, 0 out",
        ),
        (InvocationOutcome(cost_usd=Decimal(0)), "1 invocation · $0.00"),
        (InvocationOutcome(), "1 invocation"),
    ],
)
def test_what_was_not_reported_is_not_told(
    conn: Connection[Any], database: str, outcome: InvocationOutcome, said: str
) -> None:
    run = create_feature_run(conn, NewFeatureRun(name="x"))
    made = create_agent_invocation(conn, NewAgentInvocation(run_id=run.id, agent="a"))
    complete_agent_invocation(conn, made.id, outcome)

    assert shown(database)[2] == said


def test_a_run_that_does_nothing_yet_is_shown(conn: Connection[Any], database: str) -> None:
    run = create_run(conn, NewChatRun(thread_id="thread-7"))

    assert shown(database)[0] == "chat  ○ pending"
    assert len(shown(database)) == 2
    fail_run(conn, run.id, error="its worker died")
    assert shown(database)[-1] == "error  its worker died"


def test_what_a_run_left_open_ends_with_it(conn: Connection[Any], database: str) -> None:
    run = create_feature_run(conn, NewFeatureRun(name="dark mode"))
    phase = create_phase_result(conn, NewPhaseResult(run_id=run.id, phase="plan"))
    made = create_agent_invocation(
        conn, NewAgentInvocation(phase_result_id=phase.id, agent="planner")
    )
    create_tool_call(conn, NewToolCall(invocation_id=made.id, name="grep"))
    create_cta_event(conn, NewCtaEvent(run_id=run.id, kind="approval"))
    assert runstore("show", run.id, "--dsn", database).out.count(" …") == 5

    fail_feature_run(conn, run.id)

    said = runstore("show", run.id, "--dsn", database)
    assert "1 phase · 1 invocation · 1 tool call · 4 open when the run ended" in said.out
    assert "● open" in said.out
    # Nothing goes on: it is the same whenever one looks.
    assert " …" not in said.out
    assert said == runstore("show", run.id, "--dsn", database)


def test_all_that_was_left_open_is_counted_also_where_it_is_not_drawn(
    conn: Connection[Any], database: str
) -> None:
    run = create_feature_run(conn, NewFeatureRun(name="x"))
    made = create_agent_invocation(conn, NewAgentInvocation(run_id=run.id, agent="a"))
    for finished in (True, False):
        step = NewAgentStep(invocation_id=made.id, kind="message", finished=finished)
        create_agent_step(conn, step)
    call = create_tool_call(conn, NewToolCall(invocation_id=made.id, name="deploy"))
    create_cta_event(conn, NewCtaEvent(run_id=run.id, kind="approval", tool_call_id=call.id))
    complete_agent_invocation(conn, made.id, InvocationOutcome())
    assert "open when" not in "\n".join(shown(database))
    complete_feature_run(conn, run.id)

    for options in ([], ["--brief"]):
        assert shown(database, *options)[2].endswith(" · 3 open when the run ended")
    steps = [line for line in shown(database) if "message" in line]
    assert ["● open" in line for line in steps] == [False, True]


def test_a_payload_cannot_command_the_terminal(conn: Connection[Any], database: str) -> None:
    hostile = "a\x1b[2J\x1b]0;title\x07b\u202e\u009b31m"
    run = create_feature_run(conn, NewFeatureRun(name=hostile, input={"text": hostile}))
    create_agent_invocation(conn, NewAgentInvocation(run_id=run.id, agent=hostile, input=hostile))

    for command in (["show", "latest"], ["runs"], ["events", "latest", "--full"]):
        out = runstore(*command, "--dsn", database).out
        assert all(char.isprintable() or char == "\n" for char in out), command
