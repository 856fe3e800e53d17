"""The commands of pages that have no test of their own do what the pages say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from command import DSN_VARIABLES
from deploys import atomic_url
from page_commands import ROOT, page_commands
from runstore.embedded import Server

pytestmark = pytest.mark.once

PAGES = {page: page_commands(page) for page in ("README.md", "docs/pages.md")}
INSTALLS = {
    words[2]
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    for words in page_commands(str(page.relative_to(ROOT)))
    if words[:2] == ["pip", "install"]
}


@dataclass(frozen=True)
class Environment:
    """A new virtual environment, and the archives that are to be had there."""

    folder: Path
    archives: Path

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def install(self, requirement: str) -> str:
        """Do what `pip install` does, with our own archives in the place of the index."""
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python"), "install"]
        offline = ["--no-index", "--find-links", str(self.archives)]
        return self.run(*pip, *offline, requirement)

    def run(self, *command: str, cwd: Path | None = None, **variables: str) -> str:
        """Run a command, and return what it said."""
        environment = {name: os.environ[name] for name in os.environ if name not in DSN_VARIABLES}
        done = subprocess.run(
            command,
            cwd=cwd or self.folder,
            env={**environment, "COLUMNS": "100", **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, (command, done.stdout)
        return done.stdout


@pytest.fixture(scope="module")
def dependencies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the tests' environment has, except the project itself."""
    folder = tmp_path_factory.mktemp("dependencies")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "runstore" not in path.name and path.suffix != ".pth":
            (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture
def environment(archives: Path, dependencies: Path, tmp_path: Path) -> Environment:
    made = Environment(tmp_path / "environment", archives)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made.folder], check=True)
    [packages] = made.folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(str(dependencies))
    return made


def test_there_are_no_other_kinds_of_commands() -> None:
    kinds = {words[0].partition("/")[0] for page in PAGES.values() for words in page}
    assert kinds == {"pip", "yoyo", "runstore", "scripts"}
    assert len(INSTALLS) >= 4


@pytest.mark.parametrize("requirement", sorted(INSTALLS))
def test_what_is_installed_can_be(requirement: str, environment: Environment) -> None:
    """With all that its extras need: without one of them pip would end with an error."""
    said = environment.install(requirement)

    assert re.search(r"^Successfully installed runstore-\S+$", said, re.MULTILINE), said
    # Such as that there is no extra of that name.
    assert "WARNING: runstore" not in said


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(
    page: str, environment: Environment, server: Server, empty_dbname: str, tmp_path: Path
) -> None:
    """In their order, on a database in the place of the page's own, as it was installed."""
    dsn = server.dsn(empty_dbname)
    url = "postgresql+atomic://user:secret@host/database"
    ours = [words for words in PAGES[page] if not words[0].startswith("scripts/")]
    if page != "README.md":
        ours[1:1] = [["runstore", "migrate"], ["runstore", "demo"]]
    for program, *arguments in ours:
        # It goes on until it is stopped.
        given = [atomic_url(server, empty_dbname) if word == url else word for word in arguments]
        given = [word for word in given if word != "--watch"]
        if program == "pip":
            environment.install(arguments[1])
        elif program == "yoyo":
            assert url in arguments
            environment.run(str(environment.bin / "python"), "-m", "yoyo", *given)
        else:
            more = ["--dsn", dsn, "--pace", "0"] if given == ["demo"] else []
            installed = str(environment.bin / program)
            environment.run(installed, *given, *more, cwd=tmp_path, RUNSTORE_DSN=dsn)

    written = {word for words in ours for word in words if re.search(r"\.(html|jsonl)$", word)}
    assert written
    for name in written:
        assert (tmp_path / name).stat().st_size > 1000
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT count(*) FROM runstore.runs").fetchall() == [(3,)]


def test_the_demonstration_of_the_readme_runs(folder: Path) -> None:
    assert ["scripts/demo"] in PAGES["README.md"]
    done = subprocess.run(
        [ROOT / "scripts" / "demo", "--data-dir", folder / "data"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "The server stops now" in done.stdout


def test_the_tests_of_the_readme_are_found() -> None:
    """All of them cannot run within one of them."""
    assert ["scripts/test"] in PAGES["README.md"]
    command = [str(ROOT / "scripts" / "test"), "--collect-only", "-q", "tests/packaging"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "test_the_wheel_has_the_package" in done.stdout
