from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from connections import Caller
from factories import (
    create_call,
    create_cta,
    create_invocation,
    create_memory,
    create_phase,
    create_run,
    create_sandbox,
    create_snapshot,
    create_step,
)
from runstore import (
    InvalidPayload,
    InvocationNode,
    InvocationOutcome,
    NotFound,
    RunTree,
    complete_agent_invocation,
    get_agent_invocation,
    get_cta_event,
    get_memory_records,
    get_phase_results,
    get_run,
    get_run_tree,
    get_sandbox,
    list_agent_invocations,
    list_agent_steps,
    list_snapshots,
    list_tool_calls,
    new_run_id,
    pass_phase_result,
)


def grow(call: Caller) -> UUID:
    """Make a run with several rows of everything, and return its id."""
    run = create_run(call, input={"text": "ünïcode"}, metadata={"n": 1}).id
    for sandbox in ("sandbox-b", "sandbox-a"):
        create_sandbox(call, run, id=sandbox)
        for number in (2, 1):
            create_snapshot(call, run, id=f"{sandbox}-{number}", sandbox_id=sandbox, size_bytes=7)
    build, test = (create_phase(call, run, phase=phase).id for phase in ("build", "test"))
    call(pass_phase_result, build, {"done": [1, None]})
    planner = create_invocation(call, run).id
    coder = create_invocation(call, run, phase_result_id=build).id
    reviewers = [create_invocation(call, run, parent_invocation_id=coder).id for _ in range(2)]
    create_invocation(call, run, parent_invocation_id=reviewers[1], phase_result_id=build)
    create_invocation(call, run, phase_result_id=test)
    for invocation in (planner, coder, reviewers[0]):
        for position in (3, 1, 2):
            step = create_step(call, invocation, position=position, content=[position]).id
            tool_call = create_call(call, invocation, step_id=step, arguments={"x": 1.5}).id
    create_cta(call, run, tool_call_id=tool_call, request={"question": "?"})
    create_cta(call, run)
    create_memory(call, run, content="first")
    create_memory(call, run, content="second")
    call(complete_agent_invocation, coder, InvocationOutcome(cost_usd=Decimal("0.10")))
    return run


def invocations(nodes: Iterable[InvocationNode]) -> Iterator[InvocationNode]:
    for node in nodes:
        yield node
        yield from invocations(node.invocations)


def nodes(tree: RunTree) -> list[InvocationNode]:
    phases = [node for phase in tree.phases for node in phase.invocations]
    return list(invocations([*tree.invocations, *phases]))


def test_a_tree_has_what_the_other_functions_answer(call: Caller) -> None:
    grow(call)
    run = grow(call)
    grow(call)
    tree = call(get_run_tree, run)

    assert tree.run == call(get_run, run)
    assert [node.sandbox for node in tree.sandboxes] == [
        call(get_sandbox, id, run_id=run) for id in ("sandbox-b", "sandbox-a")
    ]
    for sandbox in tree.sandboxes:
        assert len(sandbox.snapshots) == 2
        id = sandbox.sandbox.id
        assert sandbox.snapshots == call(list_snapshots, run, sandbox_id=id).items
    assert [node.phase_result for node in tree.phases] == call(get_phase_results, run)
    ids = [invocation.id for invocation in call(list_agent_invocations, run).items]
    assert {node.invocation.id for node in nodes(tree)} == set(ids)
    assert len(nodes(tree)) == len(ids) == 6
    for node in nodes(tree):
        caller = node.invocation.id
        assert node.invocation == call(get_agent_invocation, caller)
        assert node.steps == call(list_agent_steps, caller).items
        assert node.tool_calls == call(list_tool_calls, run, invocation_id=caller).items
    assert tree.memory_records == call(get_memory_records, run)
    assert tree.cta_events == [call(get_cta_event, cta.id) for cta in tree.cta_events]
    assert [cta.tool_call_id is None for cta in tree.cta_events] == [False, True]
    assert tree.truncated == []


def test_a_tree_has_the_types_of_its_models(call: Caller) -> None:
    tree = call(get_run_tree, grow(call))
    assert RunTree.model_validate(tree.model_dump(), strict=True) == tree


def test_invocations_hang_off_who_called_them(call: Caller) -> None:
    tree = call(get_run_tree, grow(call))

    def shape(nodes: list[InvocationNode]) -> list[Any]:
        return [shape(node.invocations) for node in nodes]

    # The planner; the coder with two reviewers, the second of which called somebody; the tester.
    assert shape(tree.invocations) == [[]]
    assert [shape(phase.invocations) for phase in tree.phases] == [[[[], [[]]]], [[]]]
    assert [phase.phase_result.phase for phase in tree.phases] == ["build", "test"]
    for node in nodes(tree):
        for child in node.invocations:
            assert child.invocation.parent_invocation_id == node.invocation.id


def test_a_run_of_which_nothing_hangs_is_a_tree(call: Caller) -> None:
    run = create_run(call)
    assert call(get_run_tree, run.id) == RunTree(
        run=run,
        sandboxes=[],
        phases=[],
        invocations=[],
        memory_records=[],
        cta_events=[],
        truncated=[],
    )


def test_an_unknown_run_is_no_tree(call: Caller) -> None:
    id = new_run_id()
    with pytest.raises(NotFound) as raised:
        call(get_run_tree, id)
    assert (raised.value.entity, raised.value.id) == ("run", id)


def test_a_large_tree_keeps_the_oldest_rows_and_says_what_it_left_out(call: Caller) -> None:
    run = create_run(call).id
    invocation = create_invocation(call, run).id
    steps = [create_step(call, invocation, position=place).id for place in (4, 9, 1, 2)]
    memories = [create_memory(call, run).id for _ in range(4)]
    calls = [create_call(call, invocation).id for _ in range(3)]

    tree = call(get_run_tree, run, max_rows=3)
    assert [step.id for step in tree.invocations[0].steps] == [steps[2], steps[0], steps[1]]
    assert [record.id for record in tree.memory_records] == memories[:3]
    assert [row.id for row in tree.invocations[0].tool_calls] == calls
    assert tree.truncated == ["agent_steps", "memory_records"]


def test_the_oldest_steps_are_kept_whichever_invocation_took_them(call: Caller) -> None:
    run = create_run(call).id
    invocations = [create_invocation(call, run).id for _ in range(4)]
    for invocation in invocations:
        create_step(call, invocation)
    tree = call(get_run_tree, run, max_rows=4)
    assert tree.truncated == []
    for invocation in invocations:
        create_step(call, invocation)

    tree = call(get_run_tree, run, max_rows=4)
    assert [[step.position for step in node.steps] for node in tree.invocations] == [[1]] * 4
    assert tree.truncated == ["agent_steps"]


@pytest.mark.owner
def test_agents_may_call_each_other_as_deep_as_they_like(call: Caller) -> None:
    run = create_run(call).id
    caller = create_invocation(call, run).id
    call.execute(
        """
        WITH RECURSIVE chain AS (
            SELECT 1 AS depth, %(caller)s::uuid AS parent, runstore.new_child_id(%(run)s) AS id
            UNION ALL
            SELECT depth + 1, id, runstore.new_child_id(%(run)s) FROM chain WHERE depth < 2000
        )
        INSERT INTO runstore.agent_invocations (run_id, id, parent_invocation_id, agent)
        SELECT %(run)s, id, parent, 'deep' FROM chain ORDER BY depth
        """,
        {"run": run, "caller": caller},
    )
    level, depth = call(get_run_tree, run).invocations, 0
    while level:
        [node] = level
        level, depth = node.invocations, depth + 1
    assert depth == 2001


@pytest.mark.parametrize("max_rows", [0, -1])
def test_a_tree_of_no_rows_is_refused(call: Caller, max_rows: int) -> None:
    with pytest.raises(InvalidPayload) as raised:
        call(get_run_tree, create_run(call).id, max_rows=max_rows)
    assert str(raised.value) == "max_rows: must be at least 1"


def test_a_tree_is_one_statement(committed_call: Caller, database: str, tmp_path: Path) -> None:
    run = grow(committed_call)
    with psycopg.connect(database, autocommit=True) as conn, (tmp_path / "trace").open("w") as file:
        conn.pgconn.trace(file.fileno())
        tree = get_run_tree(conn, run)
        conn.pgconn.untrace()
    assert nodes(tree)
    sent = [line for line in (tmp_path / "trace").read_text().splitlines() if "\tF\t" in line]
    assert [line.split("\t")[3] for line in sent] == [
        "Parse",
        "Bind",
        "Describe",
        "Execute",
        "Sync",
    ]
