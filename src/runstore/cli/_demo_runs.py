"""The runs of `runstore demo`: scripts stand where agents would, and no model is called."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from psycopg import Connection
from pydantic import JsonValue

import runstore as rs
from runstore.quotas import Period

SUBJECT: Final = "demo-user"
_MODEL: Final = ("example", "scripted-1")
_QUOTAS: Final[tuple[tuple[str, Period, int], ...]] = (
    ("tokens", "day", 20_000),
    ("tokens", "month", 200_000),
    ("cost_nanousd", "total", 50_000_000),
)


@dataclass(frozen=True, slots=True)
class DemoRuns:
    """What was recorded."""

    pipeline: UUID
    chat: UUID
    waiting: UUID
    question: UUID
    report: UUID
    subject: str = SUBJECT

    def named(self) -> dict[str, Any]:
        """Return the ids by what they are of."""
        return asdict(self)


def record_demo(conn: Connection[Any], pace: float, done: Callable[[], None]) -> DemoRuns:
    """Record a pipeline, a chat and a run that waits for a person; `done` is told of each."""
    for meter, period, limit in _QUOTAS:
        quota = rs.NewQuota(subject_id=SUBJECT, meter=meter, period=period, limit_amount=limit)
        rs.set_quota(conn, quota)
    script = _Script(conn, pace)
    pipeline, report = _pipeline(script)
    done()
    chat = _chat(script)
    done()
    waiting, question = _waiting(script)
    done()
    return DemoRuns(pipeline, chat, waiting, question, report)


@dataclass(frozen=True, slots=True)
class _Script:
    """Records what scripted agents do, at the pace that was asked for."""

    conn: Connection[Any]
    pace: float

    @contextmanager
    def phase(self, run_id: UUID, name: str) -> Generator[UUID]:
        rs.update_feature_run_phase(self.conn, run_id, name)
        result = rs.create_phase_result(self.conn, rs.NewPhaseResult(run_id=run_id, phase=name))
        yield result.id

    @contextmanager
    def agent(
        self, phase_id: UUID, name: str, tokens: tuple[int, int], output: str
    ) -> Generator[UUID]:
        provider, model = _MODEL
        made = rs.create_agent_invocation(
            self.conn,
            rs.NewAgentInvocation(
                phase_result_id=phase_id, agent=name, provider=provider, model=model
            ),
        )
        yield made.id
        asked, written = tokens
        nanousd = asked * 250 + written * 1_000
        with rs.transaction(self.conn):
            rs.complete_agent_invocation(
                self.conn,
                made.id,
                rs.InvocationOutcome(
                    output=output,
                    finish_reason="stop",
                    input_tokens=asked,
                    output_tokens=written,
                    cost_usd=Decimal(nanousd) / 10**9,
                ),
            )
            rs.record_usage(
                self.conn,
                rs.NewUsage(
                    subject_id=SUBJECT,
                    invocation_id=made.id,
                    provider=provider,
                    model=model,
                    amounts={"tokens": asked + written, "cost_nanousd": nanousd},
                ),
                force=True,
            )

    def step(self, invocation_id: UUID, position: int, thought: str) -> UUID:
        step = rs.NewAgentStep(
            invocation_id=invocation_id, position=position, kind="thought", content=thought
        )
        return rs.create_agent_step(self.conn, step).id

    def call(
        self,
        step_id: UUID,
        invocation_id: UUID,
        name: str,
        arguments: JsonValue,
        *,
        result: JsonValue = None,
        error: JsonValue = None,
    ) -> None:
        call = rs.create_tool_call(
            self.conn,
            rs.NewToolCall(
                invocation_id=invocation_id, step_id=step_id, name=name, arguments=arguments
            ),
        )
        time.sleep(self.pace)
        status: Any = "completed" if error is None else "failed"
        rs.finish_tool_call(self.conn, call.id, status=status, result=result, error=error)


def _pipeline(script: _Script) -> tuple[UUID, UUID]:
    conn = script.conn
    goal = "Add a dark mode."
    run = rs.create_feature_run(
        conn, rs.NewFeatureRun(name="dark mode", input={"goal": goal}, subject_id=SUBJECT)
    )
    box = rs.NewSandbox(run_id=run.id, id=f"demo-{run.id}", provider="local", template="node")
    rs.create_sandbox_record(conn, box)
    rs.update_sandbox_status(conn, box.id, "running")
    with script.phase(run.id, "plan") as phase:
        with script.agent(phase, "planner", (1_850, 212), "Three files have to change.") as made:
            step = script.step(made, 1, "Where are the colors?")
            script.call(step, made, "grep", {"pattern": "color:"}, result={"matches": 12})
        rs.pass_phase_result(conn, phase, {"files": 3})
    rs.create_memory_record(
        conn,
        rs.NewMemoryRecord(
            run_id=run.id, phase="plan", kind="fact", content="Colors are in theme.css."
        ),
    )
    _build(script, run.id, "The contrast of links is 3.1, and has to be 4.5.")
    choice = rs.NewCtaEvent(
        run_id=run.id, phase="build", kind="choice", request={"question": "Which blue for links?"}
    )
    rs.create_cta_event(conn, choice)
    time.sleep(script.pace)
    rs.complete_cta_event(conn, choice.id, {"text": "#8ab4f8"}, resolved_by="mia")
    _build(script, run.id, None)
    snapshot = rs.NewSnapshot(run_id=run.id, id=f"snap-{run.id}", sandbox_id=box.id, phase="build")
    rs.create_snapshot_record(conn, snapshot)
    rs.update_sandbox_status(conn, box.id, "stopped")
    report = _report(conn, run.id)
    rs.complete_feature_run(conn, run.id, output={"merged": True, "attempts": 2})
    return run.id, report


def _build(script: _Script, run_id: UUID, fault: str | None) -> None:
    with script.phase(run_id, "build") as phase:
        with script.agent(phase, "builder", (4_210, 655), "The theme is written.") as made:
            step = script.step(made, 1, "Write the dark theme, then measure its contrast.")
            script.call(step, made, "edit", {"file": "theme.css"}, result={"lines": 48})
            script.call(
                step,
                made,
                "npm",
                {"command": ["npm", "run", "contrast"]},
                result={"exit_status": 1 if fault else 0},
                error=fault,
            )
        if fault:
            rs.fail_phase_result(script.conn, phase, error=fault)
        else:
            rs.pass_phase_result(script.conn, phase, {"contrast": 4.9})


def _report(conn: Connection[Any], run_id: UUID) -> UUID:
    report = rs.NewReport(run_id=run_id, title="Dark mode", summary="It is merged.")
    rs.create_report(conn, report)
    for slug, heading, content in (
        ("result", "Result", "The theme follows the system.\n\n- contrast **4.9**\n- 48 lines"),
        ("open", "Left open", "Pictures with a white background."),
    ):
        section = rs.SectionDraft(slug=slug, heading=heading, content=content)
        rs.put_report_section(conn, report.id, section)
    rs.publish_report(conn, report.id)
    return report.id


def _chat(script: _Script) -> UUID:
    conn = script.conn
    run = rs.create_run(
        conn, rs.NewChatRun(name="support chat", thread_id="demo-thread", subject_id=SUBJECT)
    )
    rs.start_run(conn, run.id)
    question: JsonValue = {"role": "user", "content": "How do I turn the dark mode on?"}
    rs.append_run_events(conn, run.id, [rs.NewRunEvent(type="message", payload=question)])
    answer = "Settings, then Appearance, then Dark."
    for token in answer.split(" "):
        delta = rs.NewRunEvent(type="delta", payload={"text": token})
        rs.append_run_events(conn, run.id, [delta])
        time.sleep(script.pace / 4)
    message = rs.NewRunEvent(type="message", payload={"role": "assistant", "content": answer})
    rs.complete_run(conn, run.id, output=answer, events=[message])
    return run.id


def _waiting(script: _Script) -> tuple[UUID, UUID]:
    conn = script.conn
    run = rs.create_feature_run(
        conn, rs.NewFeatureRun(name="release", phase="approve", subject_id=SUBJECT)
    )
    question = rs.NewCtaEvent(
        run_id=run.id, phase="approve", kind="approval", request={"question": "Release 2.1 now?"}
    )
    rs.create_cta_event(conn, question)
    return run.id, question.id
