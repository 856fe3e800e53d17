"""The workloads, who takes part in each, and what each of ours may cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from contestants import Contestant


@dataclass(frozen=True)
class Workload:
    """What is done, and the ways to do it; one that commits nothing is measured once."""

    title: str
    contestants: Sequence[Contestant]
    commits: bool = True


WORKLOADS: Final = {
    "W1": Workload(
        "one event, each in a commit of its own",
        [
            Contestant("psycopg", "by_hand.single_writes:append"),
            Contestant("psycopg again", "by_hand.single_writes:append", "psycopg"),
            Contestant(
                "psycopg, a statement for one event",
                "by_hand.single_writes:append_as_one",
                "psycopg",
            ),
            Contestant("runstore", "ours.single_writes:append", "psycopg", bar=0.80),
            Contestant("psycopg, pool", "by_hand.single_writes:append_through_pool", "psycopg"),
            Contestant(
                "runstore, pool", "ours.single_writes:append_through_pool", "psycopg", bar=1.00
            ),
            Contestant(
                "runstore, pool without check",
                "ours.single_writes:append_through_unchecked_pool",
                "psycopg",
            ),
            Contestant("psycopg, async pool", "by_hand.single_writes:append_through_async_pool"),
            Contestant(
                "psycopg, async pool, a statement for one event",
                "by_hand.single_writes:append_as_one_through_async_pool",
                "psycopg, async pool",
            ),
            Contestant(
                "runstore, async pool",
                "ours.single_writes:append_through_async_pool",
                "psycopg, async pool",
                bar=0.85,
            ),
            Contestant(
                "runstore, async pool without check",
                "ours.single_writes:append_through_unchecked_async_pool",
                "psycopg, async pool",
            ),
        ],
    ),
    "W1-step": Workload(
        "one step of an agent, each in a commit of its own",
        [
            Contestant("psycopg", "by_hand.single_writes:step"),
            Contestant("psycopg again", "by_hand.single_writes:step", "psycopg"),
            Contestant(
                "psycopg, a statement for finished steps",
                "by_hand.single_writes:step_without_more",
                "psycopg",
            ),
            Contestant("runstore", "ours.single_writes:step", "psycopg", bar=0.80),
        ],
    ),
    "W2": Workload(
        "50,000 events into one run, 500 to a commit; the import in one",
        [
            Contestant("psycopg executemany", "by_hand.ingest:ingest_events"),
            Contestant(
                "runstore",
                "ours.ingest:ingest_events",
                "psycopg executemany",
                bar=0.25,
                wall_bar=0.45,
            ),
            Contestant(
                "runstore, batch by batch", "ours.ingest:append_events", "psycopg executemany"
            ),
            Contestant(
                "runstore, models", "ours.ingest:ingest_event_models", "psycopg executemany"
            ),
            Contestant(
                "runstore, import (COPY)",
                "ours.ingest:import_events",
                "psycopg executemany",
                bar=0.15,
            ),
            Contestant(
                "runstore, import of models",
                "ours.ingest:import_event_models",
                "psycopg executemany",
            ),
        ],
    ),
    "W2-steps": Workload(
        "50,000 steps of one invocation, 500 to a commit, with their ids",
        [
            Contestant("psycopg executemany", "by_hand.ingest:ingest_steps"),
            Contestant("runstore", "ours.ingest:ingest_steps", "psycopg executemany"),
        ],
    ),
    "W2-away": Workload(
        "50,000 events into one run, 1 ms away from the server, 500 and 5,000 to a commit",
        [
            Contestant("psycopg executemany", "by_hand.ingest:ingest_events_away"),
            Contestant("runstore", "ours.ingest:ingest_events_away", "psycopg executemany"),
            Contestant(
                "runstore, larger batches",
                "ours.ingest:ingest_large_batches_away",
                "psycopg executemany",
            ),
        ],
    ),
    "W3": Workload(
        "10,000 events read as models; by hand as tuples",
        [
            Contestant("psycopg, whole", "by_hand.replay:whole"),
            Contestant("psycopg, whole, again", "by_hand.replay:whole", "psycopg, whole"),
            Contestant("runstore, whole", "ours.replay:whole", "psycopg, whole", bar=0.85),
            Contestant("psycopg, pages of 200", "by_hand.replay:pages"),
            Contestant(
                "runstore, pages of 200", "ours.replay:pages", "psycopg, pages of 200", bar=0.85
            ),
        ],
        commits=False,
    ),
    "W4": Workload(
        "life of a run: created, an invocation, 5 phases with 2 tool calls each, completed; "
        "8 asyncio clients",
        [
            Contestant("psycopg", "by_hand.lives:live"),
            Contestant("psycopg again", "by_hand.lives:live", "psycopg"),
            Contestant("runstore, call by call", "ours.lives:live", "psycopg"),
            Contestant(
                "runstore, a phase's tool calls at once", "ours.lives:live_in_batches", "psycopg"
            ),
            Contestant(
                "runstore, a phase with its tool calls",
                "ours.lives:live_in_phases",
                "psycopg",
                bar=0.65,
            ),
        ],
    ),
    "W5": Workload(
        "reserve from one limit, of which nine tenths fit; 16 workers, tasks and threads",
        [
            Contestant("psycopg, conditional UPDATE", "by_hand.reservations:reserve"),
            Contestant(
                "psycopg, conditional UPDATE, again",
                "by_hand.reservations:reserve",
                "psycopg, conditional UPDATE",
            ),
            Contestant(
                "runstore",
                "ours.reservations:reserve",
                "psycopg, conditional UPDATE",
                bar=1.10,
            ),
            Contestant("psycopg, pool", "by_hand.reservations:reserve_through_pool"),
            Contestant(
                "runstore, pool",
                "ours.reservations:reserve_through_pool",
                "psycopg, pool",
                bar=1.10,
            ),
            Contestant(
                "runstore, pool and QuotaGate",
                "ours.reservations:reserve_through_gate",
                "psycopg, pool",
                bar=0.20,
            ),
            Contestant("psycopg, threads", "by_hand.reservations:reserve_in_threads"),
            Contestant(
                "runstore, threads", "ours.reservations:reserve_in_threads", "psycopg, threads"
            ),
            Contestant(
                "runstore, threads and QuotaGate",
                "ours.reservations:reserve_through_gate_in_threads",
                "psycopg, threads",
            ),
        ],
    ),
    "pipeline": Workload(
        "20 steps of an agent in a transaction; on the server's machine, and 1 ms away from it",
        [
            Contestant("call by call", "ours.pipelines:call_by_call"),
            Contestant("in a pipeline", "ours.pipelines:in_a_pipeline", "call by call"),
            Contestant("call by call, 1 ms away", "ours.pipelines:call_by_call_away"),
            Contestant(
                "in a pipeline, 1 ms away",
                "ours.pipelines:in_a_pipeline_away",
                "call by call, 1 ms away",
            ),
        ],
    ),
    "import": Workload(
        "the package imported by a fresh interpreter",
        [
            Contestant("psycopg, psycopg_pool, pydantic", "package_import:dependencies"),
            Contestant(
                "the same and one model",
                "package_import:dependencies_in_use",
                "psycopg, psycopg_pool, pydantic",
            ),
            Contestant(
                "the same and runstore",
                "package_import:dependencies_and_library",
                "psycopg, psycopg_pool, pydantic",
                bar=1.10,
            ),
            Contestant(
                "runstore by itself",
                "package_import:library",
                "psycopg, psycopg_pool, pydantic",
            ),
            Contestant(
                "runstore, to append and replay events",
                "package_import:library_for_events",
                "psycopg, psycopg_pool, pydantic",
            ),
            Contestant(
                "runstore, every module and every input",
                "package_import:library_in_use",
                "psycopg, psycopg_pool, pydantic",
            ),
        ],
        commits=False,
    ),
}
