"""A pool of workers that share a budget: it is never passed, whoever asks first.

    pip install "runstore[binary]"
    DATABASE_URL=postgresql://... python worker_pool.py

Many threads summarize texts for one customer. Before each, a worker holds as many tokens as the
text may need; after it, it settles what was used, and what was left over is there for the others.
When the budget does not allow another text, its job is refused and says why. Nothing is
overspent, and the counters can be proven by the log.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any, Literal

from psycopg import Connection
from psycopg_pool import ConnectionPool

import runstore
from runstore import (
    InvocationOutcome,
    NewAgentInvocation,
    NewChatRun,
    NewQuota,
    NewReservation,
    QuotaExceeded,
)

CUSTOMER = "customer-7"
WORKERS = 8

Pool = ConnectionPool[Connection[Any]]
Outcome = Literal["done", "refused"]


def summarize_all(pool: Pool, texts: Sequence[str], budget: int) -> Counter[Outcome]:
    """Work through the texts with all workers, and count how they ended."""
    with pool.connection() as conn:
        quota = NewQuota(subject_id=CUSTOMER, meter="tokens", period="total", limit_amount=budget)
        runstore.set_quota(conn, quota)
    with ThreadPoolExecutor(WORKERS) as workers:
        return Counter(workers.map(partial(summarize, pool), texts))


def summarize(pool: Pool, text: str) -> Outcome:
    """Summarize one text, if the budget allows."""
    run = NewChatRun(subject_id=CUSTOMER, input=text)
    # Twice as many as the words is what a text may need. What it does need, only the model knows.
    hold = NewReservation(
        run_id=run.id,
        subject_id=CUSTOMER,
        amounts={"tokens": 2 * len(text.split())},
        hold_for=timedelta(minutes=2),
    )
    with pool.connection() as conn:
        runstore.create_run(conn, run)
        runstore.start_run(conn, run.id)
        try:
            runstore.reserve_usage(conn, hold)
        except QuotaExceeded as error:
            runstore.fail_run(conn, run.id, error=str(error))
            return "refused"
        call = runstore.create_agent_invocation(
            conn, NewAgentInvocation(run_id=run.id, agent="summarizer", input=text)
        )
    # No connection is held while the model works.
    summary, tokens = model(text)
    with pool.connection() as conn, runstore.transaction(conn):
        runstore.complete_agent_invocation(
            conn, call.id, InvocationOutcome(output=summary, output_tokens=tokens)
        )
        runstore.settle_usage(conn, hold.id, {"tokens": tokens}, invocation_id=call.id)
        runstore.complete_run(conn, run.id, output=summary)
    return "done"


def model(text: str) -> tuple[str, int]:
    """Stand in for a model: the summary of a text are its first three words."""
    words = text.split()
    return " ".join(words[:3]), len(words)


def main() -> None:
    """Summarize 40 texts on a budget for about half of them."""
    texts = [
        f"text {number} says many things that nobody has the time to read" for number in range(40)
    ]
    with runstore.open_pool(os.environ["DATABASE_URL"], max_size=WORKERS) as pool:
        try:
            print(dict(summarize_all(pool, texts, budget=260)))
        except KeyboardInterrupt:
            sys.exit("Interrupted: what was at work is recorded, the rest was not begun.")
        with pool.connection() as conn:
            [usage] = runstore.get_usage(conn, CUSTOMER)
            wrong = runstore.verify_usage(conn).items
    print(f"{usage.used} of {usage.limit_amount} tokens used, {usage.held} held")
    print("the counters equal the log" if not wrong else f"{len(wrong)} counters are wrong")


if __name__ == "__main__":
    main()
