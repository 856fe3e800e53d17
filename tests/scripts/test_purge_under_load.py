"""No statement waits long for a purge or an erasure: the measurement, on a small database."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "drills" / "purge_under_load.py"


def test_nobody_waits_long_for_a_purge_or_an_erasure() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--runs", "150", "--events", "30000"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    _, *lines = done.stdout.splitlines()
    rows = {name: int(count) for name, count, *_ in map(str.split, lines)}
    assert list(rows) == [
        "purge_runs",
        "purge_run_events",
        "erase_subject",
        "purge_usage",
        "control",
    ]
    assert min(rows["purge_runs"], rows["purge_run_events"], rows["erase_subject"]) > 30_000
    assert rows["purge_usage"] == 2 * 20 * 150
