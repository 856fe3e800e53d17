"""The privileges that docs/retention.md lists are what purges and erasures need."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from connections import BlockingCaller, Connect
from old_runs import LONG_AGO, add_children, make_old_run
from runstore import (
    NewRunFork,
    append_run_events,
    erase_subject,
    fork_run,
    purge_run_events,
    purge_runs,
)
from runstore.run_events import NewRunEvent
from usage_factories import make_quota, record, reserve

PAGE = Path(__file__).parents[2] / "docs" / "retention.md"
SUBJECT = "zoe"


def granted() -> list[str]:
    """Return what the page grants, in its paragraphs."""
    found = re.search(r"^```sql\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found
    first, second, third = found[1].split("\n\n")
    return [first, second, third]


@pytest.fixture
def janitor(connect: Connect) -> Iterator[Connection[TupleRow]]:
    """A connection whose role has no privileges yet."""
    conn, role = connect(), f"janitor_{os.getpid()}"
    conn.execute(f"CREATE ROLE {role}".encode())
    try:
        yield conn
    finally:
        conn.execute(b"RESET ROLE")
        conn.execute(f"DROP OWNED BY {role}".encode())
        conn.execute(f"DROP ROLE {role}".encode())


@pytest.mark.parametrize(
    ("work", "paragraphs"),
    [
        pytest.param(lambda conn: purge_run_events(conn, LONG_AGO), 1, id="purge_run_events"),
        pytest.param(lambda conn: purge_runs(conn, datetime.now(UTC)), 2, id="purge_runs"),
        pytest.param(lambda conn: erase_subject(conn, SUBJECT), 3, id="erase_subject"),
    ],
)
def test_a_work_needs_what_the_page_grants(
    connect: Connect, janitor: Connection[TupleRow], work: Any, paragraphs: int
) -> None:
    call = BlockingCaller(connect(), in_transaction=False)
    make_quota(call, subject_id=SUBJECT)
    record(call, subject_id=SUBJECT)
    reserve(call, subject_id=SUBJECT)
    run_id = make_old_run(call, subject_id=SUBJECT)
    add_children(call, run_id)
    shared = make_old_run(call, subject_id=SUBJECT)
    call(fork_run, shared, 2, NewRunFork(subject_id="other"))
    role = f"janitor_{os.getpid()}"

    for number, paragraph in enumerate(granted()[:paragraphs], 1):
        janitor.execute(paragraph.replace("runstore_janitor", role).encode())
        janitor.execute(f"SET ROLE {role}".encode())
        if number < paragraphs:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                work(janitor)
        else:
            work(janitor)
            # What the work does not need is not granted.
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                append_run_events(janitor, run_id, [NewRunEvent(type="token")])
        janitor.execute(b"RESET ROLE")
