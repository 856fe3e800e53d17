from __future__ import annotations

from typing import Any

import pytest
from psycopg import Connection

from command import runstore
from runstore import (
    NewChatRun,
    NewFeatureRun,
    cancel_run,
    complete_feature_run,
    create_feature_run,
    create_run,
    fail_feature_run,
    new_child_id,
)
from runstore.cli._statuses import Status


def test_an_empty_database_is_said_to_be(database: str) -> None:
    said = runstore("runs", "--dsn", database)

    assert (said.status, said.out) == (Status.DONE, "There are no such runs.\n")
    assert runstore("runs", "--json", "--dsn", database).json == {"runs": [], "next_cursor": None}


def test_runs_are_listed_newest_first(conn: Connection[Any], database: str) -> None:
    done = create_feature_run(conn, NewFeatureRun(name="dark mode", phase="build"))
    complete_feature_run(conn, done.id)
    failed = create_feature_run(conn, NewFeatureRun(name="[bold]broken", subject_id="mia"))
    fail_feature_run(conn, failed.id, error={"message": "no disk"})
    chat = create_run(conn, NewChatRun(thread_id="thread-7"))

    head, *lines = runstore("runs", "--dsn", database).out.splitlines()

    assert head.split() == ["run", "status", "name", "phase", "subject", "started", "took"]
    # The beginning of an id is what other commands take for it.
    assert [line.split()[0] for line in lines] == [
        str(run.id).removesuffix("-000000000000") for run in (chat, failed, done)
    ]
    assert "○ pending" in lines[0]
    assert "thread-7" in lines[0]
    assert "✗ failed" in lines[1]
    assert "[bold]broken  no disk" in lines[1]
    assert "✓ completed" in lines[2]


def test_runs_are_filtered(conn: Connection[Any], database: str) -> None:
    parent = create_feature_run(conn, NewFeatureRun(name="one", subject_id="mia"))
    child = create_run(conn, NewChatRun(parent_run_id=parent.id, thread_id="t", name="two"))
    cancel_run(conn, child.id)

    def listed(*options: object) -> list[str]:
        answer = runstore("runs", "--json", *options, "--dsn", database).json
        return [run["name"] for run in answer["runs"]]

    assert listed() == ["two", "one"]
    assert listed("--kind", "chat") == listed("--status", "cancelled") == ["two"]
    assert listed("--thread", "t") == listed("--name", "two") == ["two"]
    assert listed("--subject", "mia") == ["one"]
    assert listed("--parent", parent.id) == listed("--parent", new_child_id(parent.id)) == ["two"]
    assert listed("--parent", child.id) == []


def test_a_list_goes_on_at_its_cursor(conn: Connection[Any], database: str) -> None:
    runs = [create_feature_run(conn, NewFeatureRun(name="x")) for _ in range(3)]

    first = runstore("runs", "-n", 2, "--json", "--dsn", database).json
    rest = runstore("runs", "--cursor", first["next_cursor"], "--json", "--dsn", database).json

    found = [run["id"] for run in first["runs"] + rest["runs"]]
    assert found == [str(run.id) for run in reversed(runs)]
    assert f"--cursor {first['next_cursor']}" in runstore("runs", "-n", 2, "--dsn", database).out
    said = runstore("runs", "--cursor", "nonsense", "--dsn", database)
    assert (said.status, said.err) == (
        Status.REFUSED,
        "Cursor: is not one that this list gave.\n",
    )


@pytest.mark.direct(reason="a pooler refuses the option that names the tenant")
def test_a_tenant_sees_its_own_runs(conn: Connection[Any], database: str) -> None:
    create_feature_run(conn, NewFeatureRun(name="theirs", tenant_id="acme"))

    assert "theirs" not in runstore("runs", "--dsn", database).out
    assert "theirs" in runstore("runs", "--tenant", "acme", "--dsn", database).out
    odd = "a b\\c\td"
    create_feature_run(conn, NewFeatureRun(name="odd", tenant_id=odd))
    assert "odd" in runstore("runs", "--tenant", odd, "--dsn", database).out
    assert "theirs" in runstore("runs", "--dsn", database, RUNSTORE_TENANT="acme").out


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_table_is_as_wide_as_the_terminal_at_most(
    conn: Connection[Any], database: str, columns: int
) -> None:
    create_feature_run(conn, NewFeatureRun(name="n" * 250, phase="p" * 250, subject_id="s" * 250))

    out = runstore("runs", "--dsn", database, COLUMNS=str(columns)).out

    assert max(map(len, out.splitlines())) <= columns
    assert "\x1b" not in out


def test_a_run_is_named_by_the_beginning_of_its_id(conn: Connection[Any], database: str) -> None:
    one, two = (create_feature_run(conn, NewFeatureRun(name=name)) for name in ("one", "two"))

    def shown(run: object) -> str:
        return str(runstore("show", run, "--json", "--dsn", database).json["run"]["name"])

    assert shown(one.id) == shown(str(one.id)[:23]) == shown(str(one.id).upper()) == "one"
    assert shown(one.id.hex) == shown(new_child_id(one.id)) == "one"
    assert shown("latest") == "two"
    said = runstore("show", str(one.id)[:6], "--dsn", database)
    assert said.status == Status.USAGE
    assert "begins the ids of several runs, such as" in said.err
    assert str(two.id)[:23] in said.err
