"""The demonstration: as its user runs it, and its pipeline on a database of the tests."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from connections import Connect
from pipeline_run import run_pipeline, sandbox_of
from runstore import (
    InvocationNode,
    RunTree,
    complete_cta_event,
    connect,
    get_run_tree,
    list_cta_events,
    list_runs,
)
from runstore.embedded import persistent_server

PIPELINE = Path(__file__).parents[2] / "examples" / "pipeline.py"
AT_ONCE = timedelta(0)
ASKED = "asked a person"


def invocations(tree: RunTree) -> list[InvocationNode]:
    return [node for phase in tree.phases for node in phase.invocations]


def attempts(tree: RunTree) -> list[tuple[str, int, str]]:
    results = [phase.phase_result for phase in tree.phases]
    return [(result.phase, result.attempt, result.status) for result in results]


def runs_of_the_tests(tree: RunTree) -> list[tuple[str, dict[str, Any]]]:
    """Return status and result of each run of the tests in the sandbox."""
    return [
        (call.status, cast("dict[str, Any]", call.result))
        for node in invocations(tree)
        for call in node.tool_calls
        if "unittest" in cast("dict[str, Any]", call.arguments).get("command", [])
    ]


def statuses(tree: RunTree) -> set[str]:
    """Return the statuses of all that hangs off a run."""
    nodes = invocations(tree)
    return {
        *(node.sandbox.status for node in tree.sandboxes),
        *(phase.phase_result.status for phase in tree.phases),
        *(node.invocation.status for node in nodes),
        *(call.status for node in nodes for call in node.tool_calls),
        *(question.status for question in tree.cta_events),
    }


def ignore(_: str) -> None:
    """Take a report of the pipeline."""


def test_a_run_is_recorded_as_it_happened(connect: Connect) -> None:
    run_id = run_pipeline(connect, patience=AT_ONCE, report=ignore)

    tree = get_run_tree(connect(), run_id)
    [sandbox] = tree.sandboxes
    [question] = tree.cta_events
    first, second = sandbox.snapshots
    assert tree.run.status == "completed"
    assert tree.run.output == {"attempts": 2, "snapshot": second.id}
    assert attempts(tree) == [
        ("plan", 1, "passed"),
        ("build", 1, "passed"),
        ("verify", 1, "failed"),
        ("build", 2, "passed"),
        ("verify", 2, "passed"),
    ]
    assert sandbox.sandbox.status == "stopped"
    assert second.parent_snapshot_id == first.id
    assert first.size_bytes
    assert question.status == "timed_out"
    assert statuses(tree) == {"stopped", "passed", "failed", "completed", "timed_out"}
    assert not sandbox_of(run_id).folder.exists()


def test_the_failing_and_the_passing_test_run_are_there_in_full(connect: Connect) -> None:
    run_id = run_pipeline(connect, patience=AT_ONCE, report=ignore)

    [(failed, first), (passed, second)] = runs_of_the_tests(get_run_tree(connect(), run_id))
    assert (failed, first["exit_status"]) == ("failed", 1)
    assert "AssertionError: 999 != 1000" in first["stderr"]
    assert "FAILED (failures=1)" in first["stderr"]
    assert (passed, second["exit_status"]) == ("completed", 0)
    assert second["stderr"].endswith("\n\nOK\n")


def test_what_no_model_reported_is_unknown(connect: Connect) -> None:
    run_id = run_pipeline(connect, patience=AT_ONCE, report=ignore)

    for node in invocations(get_run_tree(connect(), run_id)):
        invocation = node.invocation
        assert invocation.agent.endswith("script")
        assert (invocation.provider, invocation.model, invocation.cost_usd) == (None, None, None)
        assert (invocation.input_tokens, invocation.output_tokens) == (None, None)


def test_a_failure_is_remembered_for_the_next_attempt(connect: Connect) -> None:
    run_id = run_pipeline(connect, patience=AT_ONCE, report=ignore)

    tree = get_run_tree(connect(), run_id)
    memories = {memory.kind: memory.content for memory in tree.memory_records}
    rebuilt = tree.phases[3].invocations[0]
    assert "AssertionError: 999 != 1000" in memories["failure"]
    assert memories["failure"] in str(rebuilt.steps[0].content)
    assert memories["decision"].endswith("the first")


def test_a_person_who_answers_in_time_decides(connect: Connect) -> None:
    person = connect()

    def answer(text: str) -> None:
        if text.startswith(ASKED):
            [question] = list_cta_events(person).items
            complete_cta_event(person, question.id, "the last", resolved_by="tester")

    run_id = run_pipeline(connect, patience=timedelta(minutes=10), report=answer)

    tree = get_run_tree(connect(), run_id)
    [question] = tree.cta_events
    written = tree.phases[3].invocations[0].tool_calls[-1]
    assert (question.status, question.resolved_by) == ("completed", "tester")
    assert "the last ones pay" in str(written.arguments)
    assert tree.run.status == "completed"


@pytest.mark.parametrize("error", [RuntimeError("the lights went out"), KeyboardInterrupt()])
@pytest.mark.parametrize("moment", ["plan:", "wrote test_split.py", "verify:", ASKED])
def test_an_error_leaves_nothing_open(connect: Connect, error: BaseException, moment: str) -> None:
    def fail(text: str) -> None:
        if text.startswith(moment):
            raise error

    with pytest.raises(type(error)):
        run_pipeline(connect, patience=AT_ONCE, report=fail)

    conn = connect()
    [run] = list_runs(conn).items
    tree = get_run_tree(conn, run.id)
    assert run.status == "failed"
    assert type(error).__name__ in str(run.error)
    assert tree.phases[-1].phase_result.status == "failed"
    assert not statuses(tree) & {"running", "paused", "creating", "open", "pending"}
    assert not sandbox_of(run.id).folder.exists()


def test_a_call_whose_outcome_nobody_saw_ends_as_unknown(connect: Connect) -> None:
    def fail(text: str) -> None:
        if text.startswith(ASKED):
            raise RuntimeError("the lights went out")

    with pytest.raises(RuntimeError, match="the lights went out"):
        run_pipeline(connect, patience=AT_ONCE, report=fail)

    conn = connect()
    [run] = list_runs(conn).items
    tree = get_run_tree(conn, run.id)
    call = invocations(tree)[-1].tool_calls[-1]
    assert (call.name, call.status) == ("ask_person", "unknown")
    assert call.error == "RuntimeError: the lights went out"
    assert tree.cta_events[0].status == "cancelled"
    assert tree.sandboxes[0].sandbox.status == "failed"


@pytest.mark.direct(reason="it ends all sessions but its own")
def test_a_connection_that_broke_does_not_keep_a_run_open(connect: Connect) -> None:
    observer = connect()

    def break_connection(text: str) -> None:
        if text.startswith(ASKED):
            observer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    with pytest.raises(psycopg.errors.AdminShutdown):
        run_pipeline(connect, patience=AT_ONCE, report=break_connection)

    [run] = list_runs(observer).items
    assert run.status == "failed"
    assert not statuses(get_run_tree(observer, run.id)) & {"running", "paused", "open", "pending"}


class Demonstration:
    """A user who runs the program on a folder of data."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "data"
        self.temporary = folder / "temporary"
        self.temporary.mkdir()

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(PIPELINE), "--data-dir", str(self.data_dir), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(self.temporary)},
        )

    def run(self, *options: str) -> str:
        """Run it to its end and return what it printed."""
        with self.start("--patience", "0", *options) as program:
            output, errors = program.communicate()
        assert program.returncode == 0, errors
        return output

    @contextmanager
    def trees(self) -> Generator[list[RunTree]]:
        """Read the pipeline's runs that were recorded, oldest first."""
        with (
            persistent_server(self.data_dir) as server,
            connect(server.dsn("runstore")) as conn,
        ):
            runs = reversed(list_runs(conn, kind="feature").items)
            yield [get_run_tree(conn, run.id) for run in runs]

    def left_over(self) -> list[str]:
        """Name what is there and should not be: a sandbox, or a server's lock file."""
        lock = self.data_dir / "postmaster.pid"
        return [path.name for path in self.temporary.iterdir()] + [lock.name] * lock.exists()


@pytest.fixture
def demonstration(folder: Path) -> Demonstration:
    return Demonstration(folder)


def read_until(program: subprocess.Popen[str], beginning: str) -> str:
    """Read what a program prints up to a line that begins so, and return that line."""
    assert program.stdout
    seen = ""
    for line in program.stdout:
        seen += line
        if line.startswith(beginning):
            return line.strip()
    raise AssertionError(f"{beginning!r} is not in {seen!r}")


def psql_command(line: str) -> list[str]:
    return shlex.split(line.partition("To look around: ")[2])


def socket_folder(output: str) -> Path:
    """Return where the server listened: the folder is removed when the server has ended."""
    [line] = [line for line in output.splitlines() if line.startswith("To look around: ")]
    return Path(parse_qs(urlsplit(psql_command(line)[-1]).query)["host"][0])


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_second_demonstration_finds_the_first_one(demonstration: Demonstration) -> None:
    first = demonstration.run()
    second = demonstration.run()

    assert "The database holds no runs yet." in first
    assert "yoyo apply --batch --no-config-file --database postgresql+psycopg://" in (
        first.replace("'", "")
    )
    assert demonstration.left_over() == []
    assert not socket_folder(first).exists()
    assert not socket_folder(second).exists()
    with demonstration.trees() as [one, two]:
        assert (one.run.status, two.run.status) == ("completed", "completed")
        assert str(one.run.id) in second
        for tree in (one, two):
            assert [status for status, _ in runs_of_the_tests(tree)] == ["failed", "completed"]
            assert [question.status for question in tree.cta_events] == ["timed_out"]


def test_the_next_demonstration_closes_the_run_of_a_killed_one(
    demonstration: Demonstration,
) -> None:
    with demonstration.start("--patience", "600") as program:
        read_until(program, ASKED)
        program.kill()
    # The server notices by itself, and writes everything out before it goes.
    wait_until(lambda: "postmaster.pid" not in demonstration.left_over())
    assert len(demonstration.left_over()) == 1

    output = demonstration.run()

    assert "An earlier run was interrupted in its phase build" in output
    assert demonstration.left_over() == []
    with demonstration.trees() as [killed, complete]:
        assert killed.run.status == "failed"
        assert killed.run.error == "its demonstration was killed"
        assert statuses(killed) == {
            "completed", "failed", "passed", "unknown", "cancelled",
        }  # fmt: skip
        assert complete.run.status == "completed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demonstration_closes_its_run(
    demonstration: Demonstration, number: signal.Signals
) -> None:
    with demonstration.start("--patience", "600") as program:
        read_until(program, ASKED)
        program.send_signal(number)
        _, errors = program.communicate()

    assert errors.endswith("Interrupted.\n")
    assert "Traceback" not in errors
    assert program.returncode == 128 + signal.SIGINT
    assert demonstration.left_over() == []
    with demonstration.trees() as [tree]:
        assert (tree.run.status, tree.run.error) == ("failed", "KeyboardInterrupt")
        assert not statuses(tree) & {"running", "paused", "creating", "open", "pending"}


def test_a_kept_server_is_there_for_psql(demonstration: Demonstration) -> None:
    with demonstration.start("--patience", "0", "--keep") as program:
        command = psql_command(read_until(program, "To look around: "))
        question = "SELECT status FROM runstore.runs WHERE kind = 'feature'"
        asked = [*command, "--no-psqlrc", "--no-align", "--tuples-only", "--command", question]
        answer = subprocess.run(asked, check=True, capture_output=True, text=True)
        with demonstration.start() as another:
            _, errors = another.communicate()
        _, _ = program.communicate("\n")

    assert answer.stdout == "completed\n"
    assert another.returncode == 1
    assert "--data-dir chooses another folder" in errors
    assert "Traceback" not in errors
    assert program.returncode == 0
    assert demonstration.left_over() == []
