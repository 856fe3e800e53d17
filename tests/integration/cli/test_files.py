"""What stands where a command is told to write: a file is replaced, whatever else is written to."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection

from command import runstore, start
from runstore import NewFeatureRun, create_feature_run, iter_run_export

WRITING = [["export", "-o"], ["show", "--html"]]


@pytest.fixture
def run_id(conn: Connection[Any]) -> UUID:
    return create_feature_run(conn, NewFeatureRun(name="dark mode")).id


def write(words: list[str], run_id: UUID, file: Path, database: str) -> None:
    name, option = words
    said = runstore(name, run_id, option, file, "--dsn", database)
    assert (said.status, said.out) == (0, ""), said


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone makes a device")
@pytest.mark.parametrize("words", WRITING, ids=" ".join)
def test_a_device_stays_a_device(
    run_id: UUID, database: str, tmp_path: Path, words: list[str]
) -> None:
    null = tmp_path / "null"
    os.mknod(null, stat.S_IFCHR | 0o666, os.makedev(1, 3))

    write(words, run_id, null, database)

    assert stat.S_ISCHR(null.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["null"]


def test_a_pipe_is_written_to(conn: Connection[Any], run_id: UUID, database: str) -> None:
    """A shell's `>(...)` is the name of a pipe that has none of its own."""
    reader, writer = os.pipe()
    pipe = f"/dev/fd/{writer}"
    with start("export", run_id, "-o", pipe, "--dsn", database, pass_fds=[writer]) as process:
        os.close(writer)
        with os.fdopen(reader, "rb") as file:
            written = file.read()
        _, err = process.communicate(timeout=30)

    assert written == b"".join(iter_run_export(conn, run_id))
    assert (process.returncode, err) == (0, f"Run {run_id}: 3 rows in {pipe}\n")


@pytest.mark.parametrize("words", WRITING, ids=" ".join)
def test_a_link_and_a_mode_stay_as_they_are(
    run_id: UUID, database: str, tmp_path: Path, words: list[str]
) -> None:
    target, link = tmp_path / "target", tmp_path / "folder" / "link"
    target.write_text("an older one")
    target.chmod(0o600)
    link.parent.mkdir()
    link.symlink_to("../target")

    write(words, run_id, link, database)

    assert link.readlink() == Path("../target")
    assert target.read_text() != "an older one"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.rglob("*")} == {"target", "folder", "link"}


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone writes for another")
def test_a_file_of_another_stays_theirs(run_id: UUID, database: str, tmp_path: Path) -> None:
    file = tmp_path / "run.jsonl"
    file.touch(mode=0o640)
    os.chown(file, 4_321, 1_234)

    write(["export", "-o"], run_id, file, database)

    found = file.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (4_321, 1_234, 0o640)


def test_a_link_to_nothing_makes_what_it_names(run_id: UUID, database: str, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)

    write(["export", "-o"], run_id, link, database)

    assert link.is_symlink()
    assert target.read_bytes().startswith(b'{"runstore"')


@pytest.mark.parametrize("words", WRITING, ids=" ".join)
def test_a_file_without_a_name_is_refused(run_id: UUID, database: str, words: list[str]) -> None:
    name, option = words
    said = runstore(name, run_id, option, "", "--dsn", database)

    assert (said.status, said.out) == (2, "")
    assert "is empty: name a file, or - for standard output" in said.err
