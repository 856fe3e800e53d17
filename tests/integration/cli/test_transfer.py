from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection
from pydantic import JsonValue

from command import command, runstore
from connections import caller
from runstore import (
    NewFeatureRun,
    NewRunEvent,
    cancel_run,
    create_feature_run,
    import_run_events,
    iter_run_export,
)
from whole_runs import record_whole_run


@pytest.fixture
def run_id(database: str) -> UUID:
    """A run with something in every table."""
    with caller("blocking", database, rolled_back=False) as call:
        return record_whole_run(call)


def test_a_run_moves_through_a_file(
    conn: Connection[Any], run_id: UUID, database: str, other_database: str, tmp_path: Path
) -> None:
    file = tmp_path / "run.jsonl"

    out = runstore("export", run_id, "-o", file, "--usage", "--dsn", database)
    back = runstore("import", file, "--dsn", other_database)
    again = runstore("import", file, "--dsn", other_database)

    rows = file.read_bytes().count(b"\n") - 2
    assert (out.status, out.out, out.err) == (0, "", f"Run {run_id}: {rows} rows in {file}\n")
    assert back.out == f"Run {run_id}: {rows} rows.\n"
    assert again.out == f"Run {run_id} was there already.\n"
    assert file.read_bytes() == b"".join(iter_run_export(conn, run_id, usage=True))
    assert [path.name for path in tmp_path.iterdir()] == ["run.jsonl"]
    for name in ("show", "events"):
        shown = [
            runstore(name, run_id, "--json", "--dsn", dsn).out for dsn in (database, other_database)
        ]
        assert shown[0] == shown[1]


def test_runs_move_through_a_pipe(
    conn: Connection[Any], run_id: UUID, database: str, other_database: str
) -> None:
    other = create_feature_run(conn, NewFeatureRun(name="another")).id
    exported = "".join(runstore("export", id, "--dsn", database).out for id in (run_id, other))

    said = runstore("import", "--json", "--dsn", other_database, input=exported)

    assert [line["run_id"] for line in said.lines] == [str(run_id), str(other)]
    assert all(line["created"] for line in said.lines)
    assert runstore("export", other, "--dsn", other_database).out in exported


def test_machines_are_told_of_a_file(run_id: UUID, database: str, tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"

    document = runstore("export", run_id, "-o", file, "--json", "--dsn", database).json

    assert document["run_id"] == str(run_id)
    assert document["output"] == str(file)
    assert document["rows"] == file.read_bytes().count(b"\n") - 2


def test_a_file_appears_when_it_is_whole(run_id: UUID, database: str, tmp_path: Path) -> None:
    del run_id
    file = tmp_path / "run.jsonl"
    file.write_text("an older export")

    said = runstore("export", "01980000-0000-7000-8000", "-o", file, "--dsn", database)

    assert said.status == 5
    assert file.read_text() == "an older export"
    assert [path.name for path in tmp_path.iterdir()] == ["run.jsonl"]


def test_a_dash_is_standard_output(run_id: UUID, database: str) -> None:
    said = runstore("export", run_id, "-o", "-", "--json", "--dsn", database)

    assert (said.status, said.err) == (0, "")
    assert said.out == runstore("export", run_id, "--dsn", database).out


def test_a_file_that_cannot_be_written_is_named(run_id: UUID, database: str) -> None:
    said = runstore("export", run_id, "-o", "/nowhere/run.jsonl", "--dsn", database)

    assert said.status == 6
    assert said.err == "Cannot use /nowhere/run.jsonl: No such file or directory.\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Line 1: is missing: the export was cut off.\n"),
        (b"nothing\n", "Line 1: is not one JSON object.\n"),
        (b"\xff\xfe\n", "Line 1: is not one JSON object.\n"),
    ],
)
def test_what_is_no_export_is_refused(database: str, content: bytes, message: str) -> None:
    said = runstore("import", "--dsn", database, input=content)

    assert (said.status, said.out, said.err) == (6, "", message)


def test_an_export_that_was_cut_off_is_refused(
    conn: Connection[Any], database: str, other_database: str
) -> None:
    run = create_feature_run(conn, NewFeatureRun(name="x"))
    lines = [*iter_run_export(conn, run.id)]

    said = runstore("import", "--dsn", other_database, input=b"".join(lines[:-1]))

    assert (said.status, said.err) == (6, "Line 5: is missing: the export was cut off.\n")
    assert runstore("runs", "--json", "--dsn", other_database).json["runs"] == []


def test_a_run_of_another_content_is_not_overwritten(conn: Connection[Any], database: str) -> None:
    run = create_feature_run(conn, NewFeatureRun(name="x"))
    exported = b"".join(iter_run_export(conn, run.id))
    cancel_run(conn, run.id)

    said = runstore("import", "--dsn", database, input=exported)

    assert (said.status, said.err) == (6, f"Run {run.id} exists with another content.\n")


def test_the_memory_that_a_move_takes_does_not_grow_with_the_run(
    conn: Connection[Any], database: str, other_database: str, tmp_path: Path
) -> None:
    """A process that moves 60 MB holds a small part of that at a time."""
    run = create_feature_run(conn, NewFeatureRun(name="x"))
    payload: JsonValue = {"text": "x" * 10_000}
    import_run_events(
        conn, run.id, (NewRunEvent(type="token", payload=payload) for _ in range(6_000))
    )
    file = tmp_path / "run.jsonl"

    peaks = [
        peak_kilobytes("export", run.id, "-o", file, "--dsn", database),
        peak_kilobytes("import", file, "--dsn", other_database),
    ]

    assert file.stat().st_size > 60_000_000
    idle = peak_kilobytes("runs", "--dsn", database)
    assert max(peaks) - idle < 30_000


def peak_kilobytes(*arguments: object) -> int:
    """Return the most memory that a command held."""
    program = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    measured = [sys.executable, "-c", program, *command(arguments)]
    return int(subprocess.run(measured, check=True, stdout=subprocess.PIPE).stdout)
