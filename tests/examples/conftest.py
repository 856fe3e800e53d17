"""The programs of `examples/` import each other as Python finds them when one of them is run."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

sys.path.insert(0, str(EXAMPLES))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the account of root's PostgreSQL can reach, which pytest's own is not."""
    path = Path(tempfile.mkdtemp(prefix="runstore-test-", dir="/tmp"))
    path.chmod(0o751)
    yield path
    shutil.rmtree(path)
