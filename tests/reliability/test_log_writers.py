"""Many writers of one log and of many, some of them killed: no gap, no double, nothing lost."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import TupleRow

from connections import Connect
from runstore import (
    NewChatRun,
    NewRunEvent,
    RunEvent,
    append_run_events,
    complete_run,
    create_run,
    get_run_head,
    read_run_events,
    tail_run_events,
)

WRITER = Path(__file__).with_name("log_writer.py")
WRITERS = 16
KILLS = 50


Write = tuple[str, int, int]
"""Who wrote, the number among the writer's own events, and the number in the log."""


def whole_log(conn: psycopg.Connection[TupleRow], run_id: UUID) -> list[RunEvent]:
    events: list[RunEvent] = []
    while page := read_run_events(conn, run_id, after=len(events), page_size=1000).events:
        events += page
    return events


@pytest.mark.parametrize("runs", [1, 64])
def test_sixteen_writers_leave_a_dense_log(database: str, connect: Connect, runs: int) -> None:
    conn = connect()
    run_ids = [create_run(conn, NewChatRun()).id for _ in range(runs)]

    def write(writer: int) -> dict[UUID, list[tuple[int, int]]]:
        choose = random.Random(writer)
        acknowledged: dict[UUID, list[tuple[int, int]]] = {run_id: [] for run_id in run_ids}
        with psycopg.connect(database, autocommit=True) as own:
            for _ in range(60):
                run_id, size = choose.choice(run_ids), choose.randint(1, 5)
                events = [NewRunEvent(type="token", payload={"writer": writer})] * size
                acknowledged[run_id].append((append_run_events(own, run_id, events), size))
        return acknowledged

    with ThreadPoolExecutor(WRITERS) as threads:
        answers = list(threads.map(write, range(WRITERS)))

    for run_id in run_ids:
        log = whole_log(conn, run_id)
        assert [event.seq for event in log] == list(range(1, len(log) + 1))
        assert get_run_head(conn, run_id).last_seq == len(log)
        # The numbers that the writers were told are all the numbers there are, each once.
        told = [
            seq
            for acknowledged in answers
            for last, size in acknowledged[run_id]
            for seq in range(last - size + 1, last + 1)
        ]
        assert sorted(told) == [event.seq for event in log]
        payloads: list[Any] = [event.payload for event in log]
        writers = Counter(payload["writer"] for payload in payloads)
        assert writers == {
            writer: count
            for writer, acknowledged in enumerate(answers)
            if (count := sum(size for _, size in acknowledged[run_id]))
        }


def spawn(dsn: str, run_id: UUID, writer: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(WRITER), dsn, str(run_id), str(writer)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill(writer: int, process: subprocess.Popen[str], lines: int) -> set[Write]:
    """Kill a writer after so many answers, and return all that it was told by then."""
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(lines)]
    process.kill()
    rest, _ = process.communicate()
    # What the kill cut off was not told.
    whole = [line for line in told + rest.splitlines(keepends=True) if line.endswith("\n")]
    return {
        (str(writer), number + place, last - size + 1 + place)
        for last, number, size in (map(int, line.split()) for line in whole)
        for place in range(size)
    }


def write_of(event: RunEvent) -> Write:
    payload: Any = event.payload
    return payload["writer"], payload["n"], event.seq


def kill_writers(dsn: str, run_id: UUID) -> set[Write]:
    """Start writers and kill each in the middle of its work, while three others write."""
    choose = random.Random(1)
    acknowledged: set[Write] = set()
    alive: list[tuple[int, subprocess.Popen[str]]] = []
    for writer in range(KILLS):
        alive.append((writer, spawn(dsn, run_id, writer)))
        if len(alive) == 4:
            acknowledged |= kill(*alive.pop(0), lines=choose.randint(1, 12))
    for writer, process in alive:
        acknowledged |= kill(writer, process, lines=choose.randint(1, 12))
    return acknowledged


def tail(dsn: str, run_id: UUID, after: int, page_size: int) -> list[RunEvent]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        return list(tail_run_events(conn, run_id, after=after, page_size=page_size))


def test_killed_writers_leave_a_dense_log_that_has_all_they_were_told(
    database: str, connect: Connect
) -> None:
    conn = connect()
    run_id = create_run(conn, NewChatRun()).id

    with ThreadPoolExecutor(3) as threads:
        tails = [threads.submit(tail, database, run_id, n * 10, 7**n) for n in range(3)]
        acknowledged = kill_writers(database, run_id)
        complete_run(conn, run_id)

    page = whole_log(conn, run_id)
    # A tail that was attached all the while has seen exactly the log.
    assert [followed.result() for followed in tails] == [page, page[10:], page[20:]]
    log = page[:-1]
    assert page[-1].type == "run.completed"
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    assert get_run_head(conn, run_id).last_seq == len(page)
    stored = {write_of(event) for event in log}
    assert len({(writer, number) for writer, number, _ in stored}) == len(log)
    assert len(acknowledged) > KILLS
    assert acknowledged <= stored
