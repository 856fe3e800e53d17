"""The pool of workers: the budget holds, what was refused is recorded, the counters add up."""

from __future__ import annotations

import itertools
import os
import signal

import pytest

import worker_pool
from connections import Connect
from runstore import get_usage, list_runs, open_pool, verify_usage


def test_the_budget_holds(database: str, connect: Connect) -> None:
    texts = [f"{number} two three four five six seven eight nine ten" for number in range(60)]
    with open_pool(database, max_size=worker_pool.WORKERS) as pool:
        outcomes = worker_pool.summarize_all(pool, texts, budget=300)

    conn = connect()
    [usage] = get_usage(conn, worker_pool.CUSTOMER)
    assert outcomes["done"] + outcomes["refused"] == 60
    assert usage.used == 10 * outcomes["done"]
    # Less than one more text needs at most is left.
    assert 300 - 20 - 20 * worker_pool.WORKERS < usage.used <= 300
    assert usage.held == 0
    assert verify_usage(conn).items == []
    statuses = [run.status for run in list_runs(conn, page_size=100).items]
    assert statuses.count("completed") == outcomes["done"]
    assert statuses.count("failed") == outcomes["refused"]


def test_it_says_what_became_of_it(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", database)

    worker_pool.main()

    shown = capsys.readouterr().out
    assert "of 260 tokens used, 0 held" in shown
    assert "the counters equal the log" in shown


def test_ctrl_c_lets_the_workers_finish_what_they_are_at(
    database: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not before all workers have begun: Python waits for no thread that it is only just starting.
    model, calls = worker_pool.model, itertools.count(1)

    def interrupt(text: str) -> tuple[str, int]:
        if next(calls) == worker_pool.WORKERS + 1:
            os.kill(os.getpid(), signal.SIGINT)
        return model(text)

    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setattr(worker_pool, "model", interrupt)
    with pytest.raises(SystemExit, match="Interrupted"):
        worker_pool.main()

    statuses = {run.status for run in list_runs(connect(), page_size=100).items}
    assert statuses <= {"completed", "failed"}
