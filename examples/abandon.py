"""How a run that cannot go on is closed, so that nothing of it stays open for ever."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from psycopg import Connection

from runstore import (
    AgentInvocation,
    InvocationNode,
    InvocationOutcome,
    RunTree,
    cancel_cta_event,
    close_open_tool_calls,
    complete_agent_invocation,
    fail_feature_run,
    fail_phase_result,
    get_run_tree,
    transaction,
    update_sandbox_status,
)


def abandon_run(conn: Connection[Any], run_id: UUID, reason: str) -> None:
    """Fail a running feature run with all that it left unfinished.

    All of it commits together. A tool call that is still open ends as `unknown`: it may have done
    its work or not, and nobody is left who knows.
    """
    with transaction(conn):
        # The run first: whoever changes a run locks its head before anything else.
        fail_feature_run(conn, run_id, error=reason)
        close_open_tool_calls(conn, run_id, reason)
        tree = get_run_tree(conn, run_id)
        for question in tree.cta_events:
            if question.status == "pending":
                cancel_cta_event(conn, question.id)
        for invocation in invocations_of(tree):
            if invocation.status == "running":
                outcome = InvocationOutcome(status="failed", error=reason)
                complete_agent_invocation(conn, invocation.id, outcome)
        for phase in tree.phases:
            if phase.phase_result.status == "running":
                fail_phase_result(conn, phase.phase_result.id, error=reason)
        for node in tree.sandboxes:
            if node.sandbox.terminated_at is None:
                update_sandbox_status(conn, node.sandbox.id, "failed")


def invocations_of(tree: RunTree) -> Iterator[AgentInvocation]:
    """Walk all invocations of a run, those that other invocations made included."""
    nodes: list[InvocationNode] = [*tree.invocations]
    for phase in tree.phases:
        nodes += phase.invocations
    while nodes:
        node = nodes.pop()
        nodes += node.invocations
        yield node.invocation
