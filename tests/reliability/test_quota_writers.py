"""Many writers of one quota and of many: no limit passed, no deadlock, counters that agree."""

from __future__ import annotations

import os
from typing import Any

import pytest

from quota_work import crowd_a_limit, work_on_everything
from runstore import NewReservation, QuotaGate, Reservation, open_pool, reserve_usage

WRITERS = 64

# scripts/stress-quotas does more of them.
OPERATIONS = int(os.environ.get("RUNSTORE_QUOTA_OPERATIONS", "4000"))
SUBJECTS = int(os.environ.get("RUNSTORE_QUOTA_SUBJECTS", "20"))


@pytest.mark.parametrize("gated", [False, True])
def test_many_writers_reach_a_hard_limit_and_never_pass_it(database: str, *, gated: bool) -> None:
    gate = QuotaGate()
    with open_pool(database) as pool:

        def through_the_gate(_conn: object, data: NewReservation) -> Reservation:
            return gate.reserve_usage(pool, data)

        reserve: Any = through_the_gate if gated else reserve_usage
        done = crowd_a_limit(database, writers=WRITERS, limit=1000, reserve=reserve)

    assert done["reserved"] >= 1000 / 9
    assert done["refused"] >= WRITERS


def test_everything_at_once_on_many_subjects_deadlocks_nowhere(database: str) -> None:
    done = work_on_everything(
        database, writers=16, subjects=SUBJECTS, operations=OPERATIONS, seed=OPERATIONS
    )
    assert done.total() > OPERATIONS * 0.9
    assert all(done[name] for name in ("_reserve", "_end", "_record", "_remove", "QuotaExceeded"))
