"""Type checkers know both kinds of connection, and find what is wrong before it runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]

HEADER = """\
# pyright: reportUnusedImport=false
from typing import Any, assert_type
from uuid import UUID

from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from runstore import *
from runstore import RunState

Rows = dict[str, Any]

"""

RIGHT = """\
def blocking(conn: Connection[Any], id: UUID, data: NewFeatureRun) -> None:
    assert_type(create_feature_run(conn, data), Run)
    assert_type(update_feature_run_phase(conn, id, "build"), RunState)
    assert_type(complete_feature_run(conn, id, output={"files": [1, None]}), RunState)
    assert_type(get_run(conn, run_id=id).status == "running", bool)
    assert_type(list_runs(conn, kind="chat", page_size=7), Page[Run])
    assert_type(list_runs(conn).items[0].metadata["key"] is None, bool)
    assert_type(update_sandbox_status(conn, "id", "stopped"), list[Sandbox])
    assert_type(create_agent_steps(conn, list[NewAgentStep]()), list[Created])
    assert_type(finish_agent_step(conn, id, content=None), Finished)
    assert_type(get_memory_records(conn, id), list[MemoryRecord])
    assert_type(complete_cta_event(conn, id, "yes"), Finished)
    assert_type(get_run_tree(conn, id).phases[0].invocations[0].steps, list[AgentStep])
    assert_type(connect("dsn"), Connection[Any])
    with transaction(conn):
        pass


def documents(
    conn: Connection[Any], id: UUID, found: dict[str, int], words: list[str], labels: dict[str, str]
) -> None:
    complete_feature_run(conn, id, output=found)
    finish_tool_call(conn, id, result=words)
    finish_agent_step(conn, id, content={"found": found, "words": words})
    append_run_events(conn, id, [("token", {"text": word}) for word in words])
    tokens = [("token", labels)]
    append_run_events(conn, id, tokens)
    NewRunEvent(type="token", payload=found)
    NewChatRun(input=words, metadata=labels)
    settle_usage(conn, id, {"tokens": 1}, metadata=labels)


async def asyncio(conn: AsyncConnection[Any], id: UUID, data: NewFeatureRun) -> None:
    assert_type(await create_feature_run(conn, data), Run)
    assert_type(await list_runs(conn, kind="chat"), Page[Run])
    assert_type((await get_run(conn, id)).error is None, bool)
    assert_type(await update_sandbox_status(conn, "id", "stopped"), list[Sandbox])
    assert_type(await expire_cta_events(conn), list[Finished])
    assert_type(await get_run_tree(conn, id, max_rows=5), RunTree)
    assert_type(await connect_async("dsn"), AsyncConnection[Any])
    async with transaction(conn):
        pass
    async with await open_pool_async("dsn") as pool, pool.connection() as pooled:
        assert_type(await get_run(pooled, id), Run)


def rows(one: Connection[TupleRow], other: Connection[Rows], id: UUID) -> None:
    assert_type(get_run(one, id), Run)
    assert_type(get_run(other, id), Run)
    with open_pool("dsn") as pool, pool.connection() as pooled:
        assert_type(get_run(pooled, id), Run)


async def async_rows(conn: AsyncConnection[TupleRow], other: AsyncConnection[Rows]) -> None:
    assert_type(await list_runs(conn), Page[Run])
    assert_type(await list_runs(other), Page[Run])


def run_again(pool: ConnectionPool[Connection[Any]], id: UUID) -> None:
    def work(conn: Connection[Any]) -> Run:
        return get_run(conn, id)

    assert_type(run_transaction(pool, work), Run)
    assert_type(run_transaction(pool, lambda conn: get_run(conn, id), attempts=3), Run)
    if is_retryable(KeyError()):
        pass


async def run_again_async(pool: AsyncConnectionPool[AsyncConnection[Any]], id: UUID) -> None:
    async def work(conn: AsyncConnection[Any]) -> Run:
        return await get_run(conn, id)

    assert_type(await run_transaction(pool, work), Run)
    assert_type(await run_transaction(pool, lambda conn: get_run(conn, id)), Run)
"""

WRONG = """\
async def forgotten(conn: AsyncConnection[Any], id: UUID, data: NewFeatureRun) -> Run:
    create_feature_run(conn, data)  # wrong
    complete_feature_run(conn, id)  # wrong
    get_run(conn, id).status  # wrong
    for _ in get_memory_records(conn, id):  # wrong
        pass
    run: Run = get_run(conn, id)  # wrong
    with transaction(conn):  # wrong
        pass
    return get_run(conn, id)  # wrong


async def awaited_in_vain(conn: Connection[Any], id: UUID) -> None:
    await get_run(conn, id)  # wrong
    async with transaction(conn):  # wrong
        pass


async def forgotten_again(pool: AsyncConnectionPool[AsyncConnection[Any]], id: UUID) -> Run:
    async def work(conn: AsyncConnection[Any]) -> Run:
        return await get_run(conn, id)

    def block(conn: Connection[Any]) -> Run:
        return get_run(conn, id)

    run_transaction(pool, work)  # wrong
    run: Run = run_transaction(pool, work)  # wrong
    await run_transaction(pool, block)  # wrong
    run_transaction(pool, work).status  # wrong
    with open_pool("dsn") as other:
        run_transaction(other, work)  # wrong
        await run_transaction(other, block)  # wrong
        run_transaction(other, id)  # wrong
    return run_transaction(pool, work)  # wrong


def arguments(conn: Connection[Any], id: UUID, data: NewFeatureRun) -> None:
    get_run(conn)  # wrong
    get_run(conn, "an id")  # wrong
    get_run(conn, id, id)  # wrong
    get_run(None, id)  # wrong
    get_run(id)  # wrong
    get_run(conn, id=id)  # wrong
    create_feature_run(conn, {"name": "a name"})  # wrong
    create_tool_call(conn, data)  # wrong
    create_agent_steps(conn, [data])  # wrong
    complete_feature_run(conn, id, {"output": 1})  # wrong
    complete_feature_run(conn, id, output=id)  # wrong
    update_sandbox_status(conn, "id", "unheard-of")  # wrong
    finish_tool_call(conn, id, status="open")  # wrong
    list_runs(conn, kind="other")  # wrong
    list_runs(conn, page_size="7")  # wrong
    list_runs(conn, limit=7)  # wrong


def answers(conn: Connection[Any], id: UUID) -> None:
    get_run(conn, id).nothing  # wrong
    get_run(conn, id).status == "unheard-of"  # wrong
    finished: Created = pass_phase_result(conn, id, None)  # wrong
    list_runs(conn)[0]  # wrong


def inputs(id: UUID) -> None:
    NewFeatureRun()  # wrong
    NewFeatureRun(name=7)  # wrong
    NewFeatureRun(name="a name", unknown=7)  # wrong
    NewFeatureRun(name="a name", input=id)  # wrong
    InvocationOutcome(status="running")  # wrong
"""


def lines(text: str) -> set[int]:
    """Return the numbers of the lines of a snippet that a checker has to find."""
    numbered = enumerate((HEADER + text).splitlines(), 1)
    return {number for number, line in numbered if line.endswith("# wrong")}


def mypy(path: Path, cache: Path) -> dict[int, str]:
    """Return what mypy finds in a file, by its lines."""
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(cache), str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = re.findall(rf"{path.name}:(\d+): error: (.*)", done.stdout)
    return {int(line): message for line, message in found}


def pyright(path: Path, _cache: Path) -> dict[int, str]:
    """Return what pyright finds in a file, by its lines."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    done = subprocess.run(
        [*command, str(path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return {
        found["range"]["start"]["line"] + 1: found["message"]
        for found in json.loads(done.stdout)["generalDiagnostics"]
        if found["severity"] == "error"
    }


def installed(checker: str) -> pytest.MarkDecorator:
    # Who has the extra `test` alone tests what he changed; CI has both.
    return pytest.mark.skipif(find_spec(checker) is None, reason="it comes with the extra `lint`")


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(mypy, marks=installed("mypy")),
        pytest.param(pyright, marks=installed("pyright")),
    ],
)
@pytest.mark.parametrize("text", [RIGHT, WRONG], ids=["right", "wrong"])
def test_a_checker_finds_what_is_wrong_and_nothing_else(
    check: Callable[[Path, Path], dict[int, str]],
    text: str,
    tmp_path: Path,
    pytestconfig: pytest.Config,
) -> None:
    path = tmp_path / "snippet.py"
    path.write_text(HEADER + text, encoding="utf-8")
    found = check(path, pytestconfig.cache.mkdir("mypy"))
    assert found.keys() == lines(text), found
