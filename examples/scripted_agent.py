"""A script in the place of an agent: no model is called, and everything else is real.

What is shown here is the order of the writes. A step and its tool call are recorded before the
tool runs, and the call is finished after it: whatever happens in between, the database knows
what was begun. An exception leaves the call open, for `abandon_run` to close.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection
from pydantic import JsonValue

from runstore import (
    NewAgentStep,
    NewCtaEvent,
    NewToolCall,
    create_agent_step,
    create_cta_event,
    create_tool_call,
    expire_cta_events,
    finish_tool_call,
    get_cta_event,
    heartbeat_run,
    run_of,
    update_sandbox_status,
)
from sandbox import CommandResult, Sandbox


@dataclass(frozen=True)
class ScriptedAgent:
    """One invocation of an agent: it works in a sandbox and records all that it does."""

    conn: Connection[Any]
    invocation_id: UUID
    sandbox: Sandbox
    report: Callable[[str], None]

    def run(self, thought: str, command: list[str]) -> CommandResult:
        """Run a command in the sandbox. One that fails is a result, not an error."""
        call_id = self._begin(thought, "run_command", {"command": [*command]})
        result = self.sandbox.run(command)
        failed = result.exit_status != 0
        finish_tool_call(
            self.conn,
            call_id,
            status="failed" if failed else "completed",
            result={**result.as_json()},
            error=f"exit status {result.exit_status}" if failed else None,
        )
        self.report(f"$ {' '.join(command)}  (exit status {result.exit_status})")
        return result

    def write(self, thought: str, name: str, text: str) -> None:
        """Write a file in the sandbox."""
        call_id = self._begin(thought, "write_file", {"name": name, "text": text})
        self.sandbox.write(name, text)
        finish_tool_call(self.conn, call_id, result={"bytes": len(text.encode())})
        self.report(f"wrote {name}")

    def ask(
        self, thought: str, question: str, options: list[str], default: str, patience: timedelta
    ) -> str:
        """Ask a person to choose, and take the default when nobody does in time."""
        call_id = self._begin(thought, "ask_person", {"question": question})
        request = NewCtaEvent(
            run_id=run_of(call_id),
            kind="choice",
            invocation_id=self.invocation_id,
            tool_call_id=call_id,
            request={"question": question, "options": [*options], "default": default},
            expires_at=datetime.now(UTC) + patience,
        )
        create_cta_event(self.conn, request)
        update_sandbox_status(self.conn, self.sandbox.id, "paused")
        self.report(f"asked a person: {question} (waiting {patience.total_seconds():g} s)")

        while (asked := get_cta_event(self.conn, request.id)).status == "pending":
            # Whoever watches for runs that are silent sees that this one is alive and waits.
            heartbeat_run(self.conn, request.run_id)
            time.sleep(0.1)
            expire_cta_events(self.conn)

        answered = asked.status == "completed" and asked.response_data in options
        choice = str(asked.response_data) if answered else default
        update_sandbox_status(self.conn, self.sandbox.id, "running")
        finish_tool_call(self.conn, call_id, result={"question": asked.status, "choice": choice})
        self.report(f"the question is {asked.status}: {choice}")
        return choice

    def _begin(self, thought: str, tool: str, arguments: dict[str, JsonValue]) -> UUID:
        step = create_agent_step(
            self.conn,
            NewAgentStep(
                invocation_id=self.invocation_id, kind="action", content={"thought": thought}
            ),
        )
        call = create_tool_call(
            self.conn,
            NewToolCall(
                invocation_id=self.invocation_id, step_id=step.id, name=tool, arguments=arguments
            ),
        )
        return call.id
