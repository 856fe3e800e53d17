"""What docs/reliability.md says of errors and of calls is what the library says."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

import psycopg
import pytest

from batched_writes import BATCHED_WRITES
from reads import OTHERS
from runstore import Retry, is_retryable
from writes import WRITES

DOCUMENT = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8")

CODES = [
    (code, Retry[retry])
    for cells, retry in re.findall(r"^\| (.*) \| `(SAFE|UNKNOWN|NO)` \|$", DOCUMENT, re.MULTILINE)
    for code in re.findall(r"`([0-9A-Z]{5})`", cells)
]


@pytest.mark.parametrize(("code", "retry"), CODES, ids=[code for code, _ in CODES])
def test_a_code_of_the_document_is_worth_what_it_says(code: str, retry: Retry) -> None:
    error = psycopg.OperationalError("said by the server")
    error.sqlstate = code
    assert is_retryable(error) is retry


def test_every_write_has_its_place_in_the_document() -> None:
    assert len(CODES) > 25
    section = DOCUMENT.split("## What a repetition answers")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.*`) \|", section.replace("...", "*"), re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`([a-z_*]+)`", cell)]
    for write in [*WRITES, *BATCHED_WRITES]:
        name = write.name.rpartition(".")[2]
        assert any(fnmatchcase(name, pattern) for pattern in named), name
    assert not any(name in OTHERS for name in named)
