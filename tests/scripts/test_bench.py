"""Every row of the benchmark runs, and reports what can be read: on sizes that measure nothing."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from page_commands import ROOT, page_commands

pytestmark = pytest.mark.once

BENCH = str(ROOT / "scripts" / "bench")
WORKLOADS = {"W1", "W1-step", "W2", "W2-steps", "W2-away", "W3", "W4", "W5", "pipeline", "import"}
CHOSEN = ["W1", "W3", "--commits", "relaxed"]


def bench(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """Run the benchmark on its smallest sizes, and return what it wrote."""
    report = tmp_path / "bench.json"
    command = [BENCH, *arguments, "--smoke", "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return document


def test_these_are_the_lines_of_the_page() -> None:
    """Each of them runs here, in small, but for the one whose peers come from the network."""
    lines = [words[1:] for words in page_commands("docs/performance.md")]

    assert lines == [[], CHOSEN, ["--peers"], ["--profile"], ["--limits"], ["--grow"]]
    help = subprocess.run([BENCH, "--help"], capture_output=True, text=True, check=True)
    assert "--peers" in help.stdout


@pytest.mark.slow
def test_workloads_are_chosen_by_name(tmp_path: Path) -> None:
    document = bench(tmp_path, *CHOSEN, "--sessions", "1", "--rounds", "1")

    assert {row["workload"] for row in document["workloads"]} == {"W1", "W3"}
    assert {row["commits"] for row in document["workloads"]} == {"relaxed"}


@pytest.mark.slow
def test_every_workload_compares_the_library_with_a_floor(tmp_path: Path) -> None:
    document = bench(tmp_path, "--commits", "relaxed", "--sessions", "1", "--rounds", "2")

    rows = document["workloads"]
    assert {row["workload"] for row in rows} == WORKLOADS
    names = {(row["workload"], row["name"]) for row in rows}
    assert len(names) == len(rows)
    for row in rows:
        assert row["rounds"] == 2
        assert row["cpu_us"] > 0
        assert row["wall_us"] > 0
        if row["against"] is None:
            assert row["cpu_ratio"] is None
        else:
            assert (row["workload"], row["against"]) in names
            assert 0 < row["cpu_ratio"]["low"] <= row["cpu_ratio"]["median"]
    barred = {row["workload"] for row in rows if row["bar"] is not None}
    assert barred == WORKLOADS - {"W2-steps", "W2-away", "pipeline"}
    statements = {row["name"]: row["statements"] for row in rows if row["workload"] == "W4"}
    assert statements["psycopg"] == statements["runstore, call by call"] == 18
    assert statements["runstore, a phase's tool calls at once"] == 13


@pytest.mark.slow
def test_profile_limits_and_growth_report_what_they_measured(tmp_path: Path) -> None:
    document = bench(tmp_path, "--profile", "--limits", "--grow", "--grow-to", "1000")

    assert {row["layer"] for row in document["profile"]} >= {"whole call", "psycopg"}
    assert {(row["commits"], row["clients"]) for row in document["limits"]} == {
        (commits, clients) for commits in ("relaxed", "durable") for clients in (1, 32)
    }
    assert {row["events"] for row in document["growth"]} == {1000}
    assert all(row["wal_bytes"] > 400 for row in document["storage"])
    assert document["memory"][0]["peak_mib"] > 10


def test_a_workload_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="there is no workload W9"):
        bench(tmp_path, "W9")
