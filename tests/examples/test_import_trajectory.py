"""Trajectories as feature runs: nothing is lost, and nothing is recorded twice."""

import hashlib
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import JsonValue

from connections import Connect
from recorded_runs import TRAJECTORY, recorded_by_agents
from runstore import InvalidPayload, InvocationNode, RunTree, get_run_tree, list_runs
from runstore.embedded import Server
from swe_agent import (
    InvalidTrajectory,
    Trajectory,
    entries_of,
    parse_trajectory,
    split_into_phases,
)
from trajectory_run import read_trajectory, record_trajectory

ROOT = Path(__file__).parents[2]
IMPORT = ROOT / "examples" / "import_trajectory.py"


def new_entry(action: str, **fields: JsonValue) -> dict[str, JsonValue]:
    state: JsonValue = {"open_file": "/repo/src/money.py", "working_dir": "/repo"}
    entry: dict[str, JsonValue] = {
        "thought": f"Let us {action}",
        "response": f"Let us {action}\n```\n{action}\n```",
        "action": action,
        "observation": "",
        "execution_time": 0.25,
        "state": state,
    }
    return {**entry, **fields}


SCRIPT: JsonValue = {"open_file": "/repo/reproduce.py", "working_dir": "/repo"}


def new_trajectory(**fields: JsonValue) -> Trajectory:
    """Make a trajectory with what is easily lost: line ends, signs beyond ASCII, odd numbers."""
    trajectory: Trajectory = {
        "environment": "main",
        "trajectory": [
            new_entry("create reproduce.py", observation="[File: reproduce.py]\r\n1:\r\n"),
            new_entry("edit 1:1\nprint(split(1000, 3))\nend_of_edit", state=SCRIPT),
            new_entry("python reproduce.py", observation="[333, 333, 333]\r\n\r"),
            new_entry("open src/money.py", observation="\ufeff# Währung: € 💶 e\u0301\n\t \u2028"),
            new_entry(
                "edit 2:2\n    return fair\nend_of_edit", observation="[bold]ok[/bold]\\u0000"
            ),
            new_entry("python reproduce.py", observation="[334, 333, 333]", execution_time=1e-09),
            new_entry("submit", observation="diff --git a/src/money.py b/src/money.py\r\n"),
        ],
        "history": [{"role": "system", "content": "You fix bugs.", "tool_calls": None}],
        "info": {
            "exit_status": "submitted",
            "submission": "diff --git a/src/money.py b/src/money.py\r\n",
            "model_stats": {
                "instance_cost": 0.01952,
                "tokens_sent": 7141,
                "tokens_received": 243,
                "api_calls": 7,
            },
        },
        "replay_config": {
            "agent": {"model": {"name": "gpt-4o", "temperature": 1.0, "retries": [1, 2.5, 0.0]}},
            "env": {"deployment": {"type": "docker", "image": "repo:latest"}},
        },
        "a field of tomorrow": {"": [None, {"nested": True}]},
    }
    return {**trajectory, **fields}


def nodes(tree: RunTree) -> list[InvocationNode]:
    return [node for phase in tree.phases for node in phase.invocations]


def texts(trajectory: Trajectory, name: str) -> list[bytes]:
    return [str(entry[name]).encode() for entry in entries_of(trajectory)]


def assert_read_back(connect: Connect, trajectory: Trajectory) -> None:
    conn = connect()

    stored = read_trajectory(conn, record_trajectory(conn, trajectory, "key"))

    for name in ("thought", "action", "observation"):
        assert texts(stored, name) == texts(trajectory, name)
    assert stored == trajectory


def test_everything_reads_back_equal(connect: Connect) -> None:
    assert_read_back(connect, new_trajectory())


@recorded_by_agents
def test_what_an_agent_did_reads_back_equal(connect: Connect) -> None:
    trajectory = parse_trajectory(TRAJECTORY.read_bytes())

    assert len(entries_of(trajectory)) == 11
    assert_read_back(connect, trajectory)


@recorded_by_agents
def test_the_phases_of_what_an_agent_did(connect: Connect) -> None:
    conn = connect()
    trajectory = parse_trajectory(TRAJECTORY.read_bytes())

    tree = get_run_tree(conn, record_trajectory(conn, trajectory, "key"))

    positions = [[step.position for step in node.steps] for node in nodes(tree)]
    assert [phase.phase_result.phase for phase in tree.phases] == ["reproduce", "edit", "verify"]
    assert positions == [[0, 1, 2], [3, 4, 5, 6, 7], [8, 9, 10]]
    # The file says that 0 tokens were sent in 11 calls: nobody counted.
    assert nodes(tree)[-1].invocation.input_tokens is None
    assert nodes(tree)[-1].invocation.cost_usd is None


def test_a_trajectory_becomes_a_run_with_its_parts(connect: Connect) -> None:
    conn = connect()
    trajectory = new_trajectory()

    tree = get_run_tree(conn, record_trajectory(conn, trajectory, "key"))

    assert tree.run.status == "completed"
    assert tree.run.output == {"info": trajectory["info"]}
    [sandbox] = tree.sandboxes
    assert (sandbox.sandbox.provider, sandbox.sandbox.template) == ("docker", "repo:latest")
    assert sandbox.sandbox.status == "stopped"
    assert [phase.phase_result.status for phase in tree.phases] == ["passed"] * 3
    for node in nodes(tree):
        assert node.invocation.model == "gpt-4o"
        assert [call.step_id for call in node.tool_calls] == [step.id for step in node.steps]
        assert {call.status for call in node.tool_calls} == {"completed"}
    first = nodes(tree)[0].tool_calls[0]
    assert first.name == "create"
    assert first.arguments == {"action": "create reproduce.py"}
    assert first.result == {"observation": "[File: reproduce.py]\r\n1:\r\n"}
    assert first.metadata["execution_time"] == 0.25


def test_what_was_counted_for_the_run_stands_on_its_last_invocation(connect: Connect) -> None:
    conn = connect()

    tree = get_run_tree(conn, record_trajectory(conn, new_trajectory(), "key"))

    *others, last = [node.invocation for node in nodes(tree)]
    assert (last.input_tokens, last.output_tokens) == (7141, 243)
    assert last.cost_usd == Decimal("0.01952")
    assert last.finish_reason == "submitted"
    assert [(other.input_tokens, other.cost_usd) for other in others] == [(None, None)] * 2


@pytest.mark.parametrize(
    "statistics",
    [
        None,
        {},
        {"tokens_sent": 0, "tokens_received": 0, "instance_cost": 0, "api_calls": 7},
        {"tokens_sent": "many", "tokens_received": 1.5, "instance_cost": "dear"},
    ],
)
def test_what_was_not_counted_is_unknown(connect: Connect, statistics: JsonValue) -> None:
    conn = connect()
    info: JsonValue = {"exit_status": "submitted", "model_stats": statistics}

    tree = get_run_tree(conn, record_trajectory(conn, new_trajectory(info=info), "key"))

    last = nodes(tree)[-1].invocation
    assert (last.input_tokens, last.output_tokens, last.cost_usd) == (None, None, None)
    assert last.usage_raw == statistics


def test_a_second_import_changes_nothing(connect: Connect) -> None:
    conn = connect()
    run_id = record_trajectory(conn, new_trajectory(), "key")
    before = get_run_tree(conn, run_id)

    assert record_trajectory(conn, new_trajectory(), "key") == run_id

    assert get_run_tree(conn, run_id) == before
    assert len(list_runs(conn).items) == 1


def test_another_trajectory_is_another_run(connect: Connect) -> None:
    conn = connect()

    one = record_trajectory(conn, new_trajectory(), "key")

    assert record_trajectory(conn, new_trajectory(), "another key") != one


def test_a_trajectory_that_cannot_be_stored_leaves_nothing_behind(connect: Connect) -> None:
    conn = connect()
    trajectory = new_trajectory(
        trajectory=[new_entry("ls"), new_entry("cat image.png", observation="PNG\0")]
    )

    with pytest.raises(InvalidPayload, match=r"^result\.observation: holds a NUL character"):
        record_trajectory(conn, trajectory, "key")

    assert list_runs(conn).items == []


@pytest.mark.parametrize("status", ["exit_cost", "exit_error", None])
def test_a_run_whose_agent_did_not_submit_failed(connect: Connect, status: str | None) -> None:
    conn = connect()
    info: JsonValue = {"exit_status": status}

    tree = get_run_tree(conn, record_trajectory(conn, new_trajectory(info=info), "key"))

    assert (tree.run.status, tree.run.error) == ("failed", "the agent did not submit")
    assert [phase.phase_result.status for phase in tree.phases] == ["passed", "passed", "failed"]
    assert [node.invocation.status for node in nodes(tree)] == ["completed", "completed", "failed"]


def test_missing_fields_stay_missing(connect: Connect) -> None:
    entries: JsonValue = [{"action": "ls"}, {"action": "", "thought": None}, {"action": " \n"}]
    conn = connect()

    run_id = record_trajectory(conn, {"trajectory": entries}, "key")

    assert read_trajectory(conn, run_id) == {"trajectory": entries}
    names = [call.name for node in nodes(get_run_tree(conn, run_id)) for call in node.tool_calls]
    assert names == ["ls", "nothing", "nothing"]


def test_a_trajectory_may_be_empty(connect: Connect) -> None:
    conn = connect()

    run_id = record_trajectory(conn, {"trajectory": []}, "key")

    assert read_trajectory(conn, run_id) == {"trajectory": []}


SHELL: JsonValue = {"open_file": "n/a", "working_dir": "/repo"}
EDITOR = "str_replace_editor"


@pytest.mark.parametrize(
    ("actions", "phases"),
    [
        pytest.param([], {}, id="nothing was done"),
        pytest.param(["ls", "cat a.py"], {"reproduce": 2}, id="nothing but looking"),
        pytest.param(
            ["ls", "edit 1:1\nx", "submit"],
            {"reproduce": 1, "edit": 2},
            id="an edit that nobody verified",
        ),
        pytest.param(
            ["edit 1:1\nx", "pytest -q", "submit"],
            {"edit": 1, "verify": 2},
            id="no reproduction",
        ),
        pytest.param(
            ["ls", "edit 1:1\nx", "tox -e py", "edit 2:2\ny", "cd src && python -m money"],
            {"reproduce": 1, "edit": 3, "verify": 1},
            id="only the last edit counts",
        ),
        pytest.param(
            ["create 'bug.py'", "python3 ./bug.py", "ls", "submit"],
            {"reproduce": 2, "edit": 2},
            id="a reproduction and no edit",
        ),
        pytest.param(
            ["create bug.py", "edit 1:1\nx", "python bug.py"],
            {"reproduce": 1, "edit": 1, "verify": 1},
            id="an edit before the reproduction",
        ),
        pytest.param(
            ["create new.py", "pytest"],
            {"edit": 1, "verify": 1},
            id="a new file that is no script",
        ),
        pytest.param(
            [
                f"{EDITOR} create /repo/bug.py --file_text 'x'",
                "python /repo/bug.py",
                f"{EDITOR} view /repo/src/money.py",
                f"{EDITOR} str_replace /repo/src/money.py --old_str a",
                "python /repo/bug.py",
            ],
            {"reproduce": 2, "edit": 2, "verify": 1},
            id="the editor that names its file",
        ),
        pytest.param(
            ["set_cursors 5 5", "edit\nx\nend_of_edit", "pytest"],
            {"reproduce": 1, "edit": 1, "verify": 1},
            id="the editor with cursors",
        ),
        pytest.param(
            ["edit 1:1\nsubprocess.run('x')\n; python bug.py\nend_of_edit"],
            {"edit": 1},
            id="a text that looks like a command",
        ),
    ],
)
def test_phases_follow_from_the_actions(actions: list[str], phases: dict[str, int]) -> None:
    entries = [new_entry(action, state=SHELL) for action in actions]

    found = split_into_phases(entries)

    assert {name: len(indexes) for name, indexes in found.items()} == phases
    assert [index for indexes in found.values() for index in indexes] == [*range(len(actions))]


@pytest.mark.parametrize("state", [None, "not JSON", json.dumps(SCRIPT), 7])
def test_the_state_may_be_a_text_or_missing(state: JsonValue) -> None:
    actions = ["create reproduce.py", "python reproduce.py", "ls"]

    found = split_into_phases([new_entry(action, state=state) for action in actions])

    assert found == {"reproduce": range(2), "edit": range(2, 3)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "it is not a JSON object"),
        (b"{}", "trajectory: is not a list"),
        (b'{"trajectory": {}}', "trajectory: is not a list"),
        (b'{"trajectory": [{"action": "ls"}, 7]}', r"trajectory\[1\]: is not an object"),
        (b'{"trajectory": [{"thought": "?"}]}', r"trajectory\[0\]\.action: is not a text"),
        (b'{"trajectory": [{"action": null}]}', r"trajectory\[0\]\.action: is not a text"),
    ],
)
def test_a_malformed_file_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(InvalidTrajectory, match=f"^{message}"):
        parse_trajectory(content)


def import_file(path: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    return subprocess.run(
        [sys.executable, str(IMPORT), str(path), *options],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "made-up.traj"
    path.write_text(json.dumps(new_trajectory()), encoding="utf-8")
    return path


EQUAL = "Every thought, action and observation of 7 turns reads back equal"


@pytest.mark.direct(reason="the program opens a connection that prepares")
def test_a_file_is_imported_once(file: Path, database: str, connect: Connect) -> None:
    first = import_file(file, "--database", database)
    file = file.rename(file.with_name("renamed.traj"))
    second = import_file(file, DATABASE_URL=database)

    [run] = list_runs(connect()).items
    for done in (first, second):
        assert done.returncode == 0, done.stderr
        assert EQUAL in done.stdout
        assert str(run.id) in done.stdout
        assert "[bold]ok[/bold]" in done.stdout
    assert run.idempotency_key == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"


@pytest.mark.direct(reason="the program opens a connection that prepares")
def test_what_is_not_equal_is_named(file: Path, database: str, connect: Connect) -> None:
    import_file(file, "--database", database)
    connect().execute("""UPDATE runstore.tool_calls SET result = '{"observation": "lost"}'""")

    done = import_file(file, "--database", database)

    assert done.returncode == 1
    assert "NOT equal to what the file says: trajectory" in done.stdout


def test_a_file_is_imported_into_the_demonstrations_database(file: Path, folder: Path) -> None:
    done = import_file(file, "--data-dir", str(folder / "data"))

    assert done.returncode == 0, done.stderr
    assert EQUAL in done.stdout
    assert not (folder / "data" / "postmaster.pid").exists()


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_an_import_that_fails_says_why(
    file: Path, tmp_path: Path, database: str, empty_dbname: str, server: Server
) -> None:
    malformed = tmp_path / "malformed.traj"
    malformed.write_text('{"trajectory": [{}]}')

    assert "No such file" in refusal(import_file(tmp_path / "absent", "--database", database))
    assert "trajectory[0].action: is not a text" in refusal(
        import_file(malformed, "--database", database)
    )
    assert "apply the migrations first" in refusal(
        import_file(file, "--database", server.dsn(empty_dbname))
    )


@pytest.mark.parametrize(
    ("query", "message"),
    [("?host=/nowhere", "The database cannot be reached"), ("%zz", "--database: is not a DSN")],
)
def test_a_password_is_not_printed(file: Path, query: str, message: str) -> None:
    done = import_file(file, DATABASE_URL=f"postgresql://me:secret@/db{query}")

    assert done.returncode != 0
    assert message in done.stderr
    assert "secret" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
