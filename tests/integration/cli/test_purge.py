from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection

from command import runstore, stand_at_a_terminal
from runstore import (
    NewFeatureRun,
    NewQuota,
    NewRunEvent,
    NewUsage,
    append_run_events,
    complete_feature_run,
    create_feature_run,
    get_usage,
    hold_run,
    record_usage,
    set_quota,
)


@pytest.fixture
def ended(conn: Connection[Any]) -> list[UUID]:
    """Three runs that have ended, one of them held, and one that goes on."""
    runs = [create_feature_run(conn, NewFeatureRun(name="x")).id for _ in range(4)]
    for run_id in runs[:3]:
        append_run_events(conn, run_id, [NewRunEvent(type="token")])
        complete_feature_run(conn, run_id)
    hold_run(conn, runs[0], "complaint 17")
    return runs


def left(database: str) -> list[str]:
    runs = runstore("runs", "--json", "--dsn", database).json["runs"]
    return [run["id"] for run in reversed(runs)]


@pytest.mark.owner
def test_a_dry_run_counts_and_changes_nothing(ended: list[UUID], database: str) -> None:
    said = runstore("purge", "--before", "0s", "--dry-run", "--dsn", database)

    assert said.status == 0
    lines = [line.split() for line in said.out.splitlines()]
    assert lines[0][:5] == ["2", "runs", "that", "finished", "before"]
    assert said.out.splitlines()[0].endswith(" would be purged.")
    assert ["deleted", "run", "events", "6"] in lines
    assert ["runs", "2"] in lines
    assert ["kept", "held", "1"] in lines
    assert len(left(database)) == len(ended)


@pytest.mark.owner
def test_old_runs_are_purged_when_that_is_said(ended: list[UUID], database: str) -> None:
    said = runstore("purge", "--before", "0s", "--yes", "--json", "--dsn", database)

    assert said.json.items() >= {"runs": 2, "kept": {"held": 1}, "dry_run": False}.items()
    assert left(database) == [str(ended[0]), str(ended[3])]
    again = runstore("purge", "--before", "0s", "--yes", "--dsn", database)
    assert again.out.startswith("0 runs that finished before ")
    assert runstore("verify", "--dsn", database).status == 0


@pytest.mark.owner
def test_events_alone_are_purged(ended: list[UUID], database: str) -> None:
    said = runstore("purge", "--before", "0s", "--events-only", "--yes", "--dsn", database)

    assert said.out.startswith("The events of 2 runs that finished before ")
    assert len(left(database)) == len(ended)
    events = runstore("events", ended[1], "--dsn", database)
    assert (events.status, events.err) == (
        6,
        f"The events of run {ended[1]} up to 3 have been purged.\n",
    )
    assert runstore("verify", "--dsn", database).status == 0


@pytest.mark.owner
def test_old_usage_is_purged_and_no_quota_forgets_it(conn: Connection[Any], database: str) -> None:
    quota = NewQuota(subject_id="ann", meter="tokens", period="total", limit_amount=100)
    set_quota(conn, quota)
    for _ in range(3):
        record_usage(conn, NewUsage(subject_id="ann", amounts={"tokens": 20}))

    would = runstore("purge", "--usage", "--before", "0s", "--dry-run", "--dsn", database)
    assert would.out.startswith("3 rows of usage from before ")
    assert ["deleted", "usage", "logs", "3"] in [line.split() for line in would.out.splitlines()]
    said = runstore("purge", "--usage", "--before", "0s", "--yes", "--json", "--dsn", database)

    assert said.json.items() >= {"rows": {"usage_logs": 3}, "dry_run": False}.items()
    assert [usage.used for usage in get_usage(conn, "ann")] == [60]
    assert runstore("verify", "--dsn", database).status == 0


def test_one_purge_at_a_time(database: str) -> None:
    said = runstore(
        "purge", "--usage", "--events-only", "--before", "0s", "--yes", "--dsn", database
    )
    assert said.status == 2
    assert "call it twice" in said.err


@pytest.mark.owner
def test_what_is_younger_stays(ended: list[UUID], database: str) -> None:
    said = runstore("purge", "--before", "1h", "--yes", "--dsn", database)

    assert said.out.startswith("0 runs that finished before ")
    assert len(left(database)) == len(ended)


@pytest.mark.owner
@pytest.mark.parametrize(("answer", "runs"), [("y\n", 2), ("n\n", 4)])
def test_a_person_is_asked(
    ended: list[UUID], database: str, monkeypatch: pytest.MonkeyPatch, answer: str, runs: int
) -> None:
    del ended
    stand_at_a_terminal(monkeypatch)

    said = runstore("purge", "--before", "0s", "--dsn", database, input=answer, NO_COLOR="1")

    assert said.status == 0
    assert "2 runs that finished before" in said.err
    assert "Purge it?" in said.err
    assert len(left(database)) == runs


@pytest.mark.owner
def test_nobody_is_asked_where_nobody_is(ended: list[UUID], database: str) -> None:
    said = runstore("purge", "--before", "0s", "--dsn", database)

    assert said.status == 2
    assert "Give --yes to purge" in said.err
    assert len(left(database)) == len(ended)


def test_a_time_is_needed(database: str) -> None:
    assert "'--before'" in runstore("purge", "--dsn", database).err


def test_a_role_that_may_not_purge_is_told_so(conn: Connection[Any], database: str) -> None:
    run_id = create_feature_run(conn, NewFeatureRun(name="x")).id
    complete_feature_run(conn, run_id)

    said = runstore("purge", "--before", "0s", "--yes", "--dsn", database)

    assert said.status == 4
    assert said.err.startswith("The database refused: permission denied")
    assert left(database) == [str(run_id)]
