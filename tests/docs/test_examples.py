"""Every Python example of README and docs runs, a document's examples one after another."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from logins import Logins

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    if BLOCK.search(path.read_text(encoding="utf-8"))
)


def program(document: str) -> str:
    """Return a document's examples as one program whose lines have the document's numbers."""
    text = (ROOT / document).read_text(encoding="utf-8")
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1))
        for number, line in enumerate(block[1].splitlines(), first):
            lines[number] = line
    return "\n".join(lines)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_examples_run(
    document: str, direct_database: str, logins: Logins, migrated_dbname: str, tmp_path: Path
) -> None:
    script = tmp_path / Path(document).with_suffix(".py").name
    script.write_text(program(document), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        env={
            "DATABASE_URL": direct_database,
            "JANITOR_URL": logins.dsn("janitor", migrated_dbname),
            "PATH": "",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
