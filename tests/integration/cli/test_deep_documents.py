"""Payloads and agents that nest as deep as the library lets them: 254 levels, and without end."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
import pytest
from psycopg import Connection

from command import runstore
from runstore import (
    NewAgentInvocation,
    NewCtaEvent,
    NewFeatureRun,
    NewRunEvent,
    append_run_events,
    cancel_run,
    create_agent_invocation,
    create_cta_event,
    create_feature_run,
)

DEEPEST = 254
AGENTS = 500


@pytest.fixture
def deep_id(conn: Connection[Any]) -> UUID:
    """A run in which every document is as deep as a payload may be."""
    deep: Any = "the bottom"
    for _ in range(DEEPEST):
        deep = [deep]
    run = create_feature_run(conn, NewFeatureRun(name="deep", input=deep))
    create_agent_invocation(conn, NewAgentInvocation(run_id=run.id, agent="a", input=deep))
    append_run_events(conn, run.id, [NewRunEvent(type="x", payload=deep)])
    create_cta_event(conn, NewCtaEvent(run_id=run.id, kind="k", request=deep))
    return run.id


@pytest.mark.parametrize("name", ["runs", "pending", "events", "show"])
def test_a_payload_may_be_as_deep_as_the_library_takes_it(
    deep_id: UUID, database: str, name: str
) -> None:
    arguments = [name, deep_id] if name in ("events", "show") else [name]

    text = runstore(*arguments, "--dsn", database)
    said = runstore(*arguments, "--json", "--dsn", database)

    assert (text.status, text.err) == (0, "")
    assert (said.status, said.err) == (0, "")
    deepest = "[" * DEEPEST + '"the bottom"' + "]" * DEEPEST
    lines = said.out.splitlines()
    assert sum(deepest in line for line in lines) == 1
    assert all(map(orjson.loads, lines))


@pytest.fixture
def chain_id(conn: Connection[Any]) -> UUID:
    """A run of agents each of which called the next."""
    run = create_feature_run(conn, NewFeatureRun(name="chain"))
    caller: UUID | None = None
    for number in range(AGENTS):
        caller = create_agent_invocation(
            conn,
            NewAgentInvocation(run_id=run.id, parent_invocation_id=caller, agent=f"a{number}"),
        ).id
    cancel_run(conn, run.id)
    return run.id


@pytest.mark.parametrize("options", [[], ["--brief"], ["--full"]], ids=["", "brief", "full"])
@pytest.mark.parametrize("columns", [60, 120])
def test_agents_that_called_each_other_are_drawn_however_many(
    chain_id: UUID, database: str, options: list[str], columns: int
) -> None:
    said = runstore("show", chain_id, *options, "--dsn", database, COLUMNS=str(columns))

    assert (said.status, said.err) == (0, "")
    lines = said.out.splitlines()
    tree = [line for line in lines if "─ a" in line]
    assert [line.split("─ ")[1].split()[0] for line in tree] == [f"a{n}" for n in range(AGENTS)]
    assert any(f"{AGENTS} open when the run ended" in line for line in lines)
    # A third of the terminal is for branches; how many are not drawn is said.
    assert tree[1].startswith("   ╰─ a1 ")
    levels = columns // 9
    assert tree[-1].startswith(f"…{AGENTS - 1 - levels} {'   ' * levels}╰─ a{AGENTS - 1} ")
    if "--full" not in options:
        assert max(map(len, tree)) <= columns


def test_machines_get_agents_that_called_each_other(chain_id: UUID, database: str) -> None:
    said = runstore("show", chain_id, "--json", "--dsn", database)

    assert (said.status, said.err) == (0, "")
    document = orjson.loads(said.out)
    assert document.keys() >= {"run", "invocations", "truncated", "reports"}
    found = [document]
    for _ in range(AGENTS):
        found.append(found[-1]["invocations"][0])
    assert [node["invocation"]["agent"] for node in found[1:]] == [f"a{n}" for n in range(AGENTS)]
    assert found[-1]["invocations"] == []
    assert found[-1]["invocation"]["created_at"].endswith("Z")


def test_a_deep_answer_says_what_any_other_does(chain_id: UUID, database: str) -> None:
    """It is written in another way, where orjson and pydantic stop."""
    options = ["--json", "--dsn", database]
    deep = orjson.loads(runstore("show", chain_id, *options).out)
    flat = runstore("show", chain_id, "--max-rows", 9, *options).json

    assert deep["run"] == flat["run"]
    assert deep["invocations"][0]["invocation"] == flat["invocations"][0]["invocation"]
    assert (deep["truncated"], flat["truncated"]) == ([], ["agent_invocations"])
