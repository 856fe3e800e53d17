"""`--html`: a page in a file, whole or not at all."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from psycopg import Connection

from command import runstore
from runstore import NewFeatureRun, NewUsage, create_feature_run, new_run_id, record_usage


def test_a_run_is_written_as_a_page(conn: Connection[Any], database: str, tmp_path: Path) -> None:
    run = create_feature_run(conn, NewFeatureRun(name="dark mode"))
    file = tmp_path / "run.html"

    said = runstore("show", "latest", "--html", file, "--dsn", database)

    assert (said.status, said.out, said.err) == (0, "", f"Written: {file}\n")
    page = file.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert str(run.id) in page
    assert list(tmp_path.iterdir()) == [file]


def test_usage_is_written_as_a_page(conn: Connection[Any], database: str, tmp_path: Path) -> None:
    record_usage(conn, NewUsage(subject_id="zoe", amounts={"tokens": 128}))
    file = tmp_path / "usage.html"

    assert runstore("usage", "zoe", "--html", file, "--dsn", database).status == 0

    page = file.read_text(encoding="utf-8")
    assert "<h1>zoe</h1>" in page
    assert ">128<" in page


def test_a_page_that_cannot_be_made_leaves_no_file(database: str, tmp_path: Path) -> None:
    file = tmp_path / "run.html"

    assert runstore("show", new_run_id(), "--html", file, "--dsn", database).status == 5
    assert runstore("usage", "zoe", "--html", tmp_path / "no" / "f", "--dsn", database).status == 6
    assert list(tmp_path.iterdir()) == []


def test_a_page_may_go_to_standard_output(database: str) -> None:
    said = runstore("usage", "zoe", "--html", "-", "--dsn", database)

    assert (said.status, said.err) == (0, "")
    assert said.out.startswith("<!doctype html>")


def test_a_folder_that_is_not_there_is_said_of_the_file_that_was_asked_for(
    database: str, tmp_path: Path
) -> None:
    file = tmp_path / "no" / "f"

    said = runstore("usage", "zoe", "--html", file, "--dsn", database)

    assert said.err == f"Cannot use {file}: No such file or directory.\n"


def test_without_the_extra_it_says_what_to_install(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("runstore.pages")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "jinja2", None)

    said = runstore("usage", "zoe", "--html", tmp_path / "f", "--dsn", database)

    assert (said.status, said.err) == (6, "A page needs jinja2: pip install 'runstore[html]'.\n")
    with pytest.raises(ModuleNotFoundError, match=r"needs jinja2: pip install 'runstore\[html\]'"):
        importlib.import_module("runstore.pages")
