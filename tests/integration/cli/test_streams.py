"""Standard streams that are cut off, full, raw or closed."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection

from command import command, start
from runstore import (
    NewAgentInvocation,
    NewAgentStep,
    NewFeatureRun,
    NewReport,
    NewRunEvent,
    SectionDraft,
    append_run_events,
    create_agent_invocation,
    create_agent_step,
    create_feature_run,
    create_report,
    put_report_section,
)

# More than a pipe holds, and than a file that may not grow.
LONG = "x" * 1_000_000
FULL = 200_000

pytestmark = [
    pytest.mark.direct(reason="its programs open connections that prepare"),
    pytest.mark.once,
]


@pytest.fixture
def run_id(conn: Connection[Any]) -> UUID:
    """A run whose tree, log, export and report are all long."""
    run = create_feature_run(conn, NewFeatureRun(name="long"))
    made = create_agent_invocation(conn, NewAgentInvocation(run_id=run.id, agent="a"))
    create_agent_step(conn, NewAgentStep(invocation_id=made.id, kind="s", content=LONG))
    append_run_events(conn, run.id, [NewRunEvent(type="t", payload=LONG)])
    return run.id


@pytest.fixture(params=["show --json", "events --full", "export", "report --raw"])
def arguments(request: pytest.FixtureRequest, conn: Connection[Any], run_id: UUID) -> list[object]:
    """A command with a long answer: one document, text, lines."""
    name, *options = str(request.param).split()
    if name != "report":
        return [name, run_id, *options]
    report = create_report(conn, NewReport(run_id=run_id, title="t"))
    put_report_section(conn, report.id, SectionDraft(slug="all", content=LONG))
    return [name, report.id, *options]


@pytest.fixture(params=["", "1"], ids=["buffered", "raw"])
def variables(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"PYTHONUNBUFFERED": str(request.param)}


def test_an_answer_that_is_cut_off_is_no_success(
    database: str, arguments: list[object], variables: dict[str, str]
) -> None:
    with start(*arguments, "--dsn", database, variables=variables) as process:
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_an_answer_that_finds_no_room_is_no_success(
    database: str, arguments: list[object], variables: dict[str, str], tmp_path: Path
) -> None:
    """A file that may not grow stands for a full disk."""
    out = tmp_path / "out"
    limit = (FULL, FULL)
    with (
        out.open("wb") as file,
        start(
            *arguments,
            "--dsn",
            database,
            variables=variables,
            stdout=file,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        ) as process,
    ):
        _, err = process.communicate(timeout=60)

    assert process.returncode == 6
    assert "Cannot use a file: File too large." in err
    assert err.count("\n") == 1
    assert out.stat().st_size == FULL


def test_an_answer_is_whole_where_nothing_is_buffered(
    run_id: UUID, database: str, variables: dict[str, str]
) -> None:
    with start("show", run_id, "--full", "--dsn", database, variables=variables) as process:
        out, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (0, "")
    assert LONG in out


def in_shell(words: Sequence[object], streams: str) -> tuple[int, str, str]:
    """Run a command whose standard streams a shell has closed or redirected."""
    quoted = " ".join(f"'{word}'" for word in command(words))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{quoted} {streams}"], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("words", ["runs", "runs --json", "tail latest"])
def test_an_answer_that_nobody_can_get_is_refused(database: str, run_id: UUID, words: str) -> None:
    del run_id

    status, _, err = in_shell([*words.split(), "--dsn", database], ">&-")

    assert status == 6
    assert "Cannot use standard output: Bad file descriptor." in err
    assert err.count("\n") == 1


def test_a_file_is_written_without_standard_output(
    database: str, run_id: UUID, tmp_path: Path
) -> None:
    file = tmp_path / "run.jsonl"

    status, _, err = in_shell(["export", run_id, "-o", file, "--dsn", database], ">&-")

    assert status == 0
    assert err.startswith(f"Run {run_id}: ")
    assert file.stat().st_size > len(LONG)


def test_nobody_is_told_where_there_is_no_standard_error(database: str, run_id: UUID) -> None:
    words = ["export", run_id, "-o", "/nowhere/x", "--dsn", database]

    assert in_shell(words, "2>&-") == (6, "", "")
    assert in_shell(["runs", "--json", "--dsn", database], "2>&-")[0] == 0


def test_a_standard_input_that_is_closed_is_an_empty_one(database: str, tmp_path: Path) -> None:
    file = tmp_path / "empty"
    file.touch()
    cut_off = (6, "", "Line 1: is missing: the export was cut off.\n")

    assert in_shell(["import", "--dsn", database], "<&-") == cut_off
    assert in_shell(["import", file, "--dsn", database], "<&-") == cut_off
    words = ["answer", "0199e4f0-0000-7000-8000-00000000c001", "--dsn", database]
    status, _, err = in_shell(words, "<&-")
    assert status == 2
    assert "nobody at a terminal" in err
