"""The proof costs nothing where it is not used."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("statement", "absent"),
    [("import runstore", "runstore.testing"), ("import runstore.testing", "pytest")],
)
def test_what_is_not_imported(statement: str, absent: str) -> None:
    program = f"{statement}; import sys; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
