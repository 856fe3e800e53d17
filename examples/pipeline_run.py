"""A pipeline of three phases, recorded while it runs: plan, then build and verify until it works.

The scripts here stand where agents would. What they pass on to each other goes through the
run's memories, as it would between agents that do not share a context window.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from psycopg import Connection
from pydantic import JsonValue

from abandon import abandon_run
from feature import FIRST_DRAFT, FIXES, GOAL, MODULE, QUESTION, TEST_CODE, TESTS
from runstore import (
    InvocationOutcome,
    NewAgentInvocation,
    NewFeatureRun,
    NewMemoryRecord,
    NewPhaseResult,
    NewSandbox,
    NewSnapshot,
    complete_agent_invocation,
    complete_feature_run,
    create_agent_invocation,
    create_feature_run,
    create_memory_record,
    create_phase_result,
    create_sandbox_record,
    create_snapshot_record,
    fail_phase_result,
    get_memory_records,
    pass_phase_result,
    transaction,
    update_feature_run_phase,
    update_sandbox_status,
)
from sandbox import Sandbox
from scripted_agent import ScriptedAgent

NAME: Final = "split-the-bill"
MOST_ATTEMPTS: Final = 3


def run_pipeline(
    open_connection: Callable[[], Connection[Any]],
    *,
    patience: timedelta,
    report: Callable[[str], None],
) -> UUID:
    """Run the pipeline from its first phase to its end, and return the run's id.

    `patience` is how long a person has for an answer; `report` is told what happens. A run that
    meets an error, or Ctrl-C, is closed as failed before the error goes on its way.
    """
    with open_connection() as conn:
        run = create_feature_run(conn, NewFeatureRun(name=NAME, input={"goal": GOAL}))
    try:
        with open_connection() as conn:
            with recorded_sandbox(conn, run.id) as sandbox:
                output = Pipeline(conn, run.id, sandbox, patience, report).run()
            complete_feature_run(conn, run.id, output=output)
    except BaseException as error:
        # Whatever came may have come in the middle of a statement, which leaves its connection
        # of no use. That one is closed by now, and with it its transaction and its locks.
        with open_connection() as conn:
            abandon_run(conn, run.id, f"{type(error).__name__}: {error}".removesuffix(": "))
        raise
    return run.id


def sandbox_of(run_id: UUID) -> Sandbox:
    """Return the sandbox of a run, whether or not its folder exists."""
    return Sandbox(f"runstore-demo-{run_id}")


@contextmanager
def recorded_sandbox(conn: Connection[Any], run_id: UUID) -> Generator[Sandbox]:
    """Make a sandbox for a block. After an error `abandon_run` closes its record."""
    # The record comes before the folder: what was not written down, nobody would clean up.
    sandbox = sandbox_of(run_id)
    create_sandbox_record(
        conn,
        NewSandbox(
            run_id=run_id,
            id=sandbox.id,
            provider="temporary folder",
            metadata={"folder": str(sandbox.folder)},
        ),
    )
    try:
        sandbox.create()
        update_sandbox_status(conn, sandbox.id, "running")
        yield sandbox
    finally:
        sandbox.remove()
    update_sandbox_status(conn, sandbox.id, "stopped")


@dataclass(frozen=True)
class Pipeline:
    """The phases of one run."""

    conn: Connection[Any]
    run_id: UUID
    sandbox: Sandbox
    patience: timedelta
    report: Callable[[str], None]

    def run(self) -> JsonValue:
        """Go through the phases until the tests pass, and return what came of it."""
        self.plan()
        for attempt in range(1, MOST_ATTEMPTS + 1):
            snapshot_id = self.build()
            if self.verify():
                return {"attempts": attempt, "snapshot": snapshot_id}
        raise RuntimeError(f"the tests still fail after {MOST_ATTEMPTS} attempts")

    def plan(self) -> None:
        """Decide what is built and how it is tested."""
        attempt_id, agent = self._start("plan", "planning script")
        version = agent.run("Which Python will run the tests?", [sys.executable, "--version"])
        agent.write("Write down what done means.", TESTS, TEST_CODE)
        command = [sys.executable, "-m", "unittest", "--verbose", TESTS]
        self._remember("plan", "module", MODULE)
        self._remember("plan", "test command", shlex.join(command))
        output: JsonValue = {"python": version.stdout.strip(), "files": [TESTS, MODULE]}
        self._end(attempt_id, agent, output)

    def build(self) -> str:
        """Write the module, in the light of what failed before, and return a snapshot's id."""
        attempt_id, agent = self._start("build", "building script")
        known = self._memories()
        if "failure" not in known:
            thought, code = "Equal shares should do.", FIRST_DRAFT
        else:
            choice = agent.ask(
                f"The tests say: {known['failure']} The goal does not say how to share the rest.",
                QUESTION,
                options=[*FIXES],
                default=next(iter(FIXES)),
                patience=self.patience,
            )
            self._remember("build", "decision", f"{QUESTION} {choice}")
            thought, code = f"Share the rest: {choice} pay it.", FIXES[choice]
        agent.write(thought, known["module"], code)

        archive = self.sandbox.archive()
        snapshot = NewSnapshot(
            run_id=self.run_id,
            id=f"sha256:{archive.sha256}",
            sandbox_id=self.sandbox.id,
            phase="build",
            parent_snapshot_id=known.get("snapshot"),
            size_bytes=archive.size_bytes,
            metadata={"format": "tar", "kept": False},
        )
        create_snapshot_record(self.conn, snapshot)
        self._remember("build", "snapshot", snapshot.id)
        self._end(attempt_id, agent, {"snapshot": snapshot.id})
        return snapshot.id

    def verify(self) -> bool:
        """Run the tests, and say whether they pass."""
        attempt_id, agent = self._start("verify", "testing script")
        command = shlex.split(self._memories()["test command"])
        result = agent.run("Do the tests pass?", command)
        if result.exit_status == 0:
            self._end(attempt_id, agent, {"exit_status": 0})
            return True
        failure = " ".join(
            line
            for line in result.stderr.splitlines()
            if line.startswith(("ERROR:", "FAIL:", "AssertionError:"))
        )
        self._remember("verify", "failure", failure)
        self._end(attempt_id, agent, {"exit_status": result.exit_status}, error=failure)
        return False

    def _start(self, phase: str, name: str) -> tuple[UUID, ScriptedAgent]:
        """Enter a phase, and begin an attempt at it with one invocation."""
        with transaction(self.conn):
            update_feature_run_phase(self.conn, self.run_id, phase)
            attempt = create_phase_result(
                self.conn, NewPhaseResult(run_id=self.run_id, phase=phase)
            )
            invocation = create_agent_invocation(
                self.conn, NewAgentInvocation(phase_result_id=attempt.id, agent=name)
            )
        self.report(f"{phase}:")
        return attempt.id, ScriptedAgent(self.conn, invocation.id, self.sandbox, self.report)

    def _end(
        self, attempt_id: UUID, agent: ScriptedAgent, output: JsonValue, error: JsonValue = None
    ) -> None:
        """End the invocation, which did its work, and the attempt, which failed on an error."""
        with transaction(self.conn):
            # No model was called: who served it and what it used stay unknown (NULL), never 0.
            complete_agent_invocation(
                self.conn, agent.invocation_id, InvocationOutcome(output=output)
            )
            if error is None:
                pass_phase_result(self.conn, attempt_id, output)
            else:
                fail_phase_result(self.conn, attempt_id, error=error, output=output)

    def _remember(self, phase: str, kind: str, content: str) -> None:
        memory = NewMemoryRecord(run_id=self.run_id, phase=phase, kind=kind, content=content)
        create_memory_record(self.conn, memory)

    def _memories(self) -> dict[str, str]:
        """Return the newest memory of each kind."""
        return {
            memory.kind: memory.content for memory in get_memory_records(self.conn, self.run_id)
        }
