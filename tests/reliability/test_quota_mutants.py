"""Each guard in the statements is needed: without it a check finds what must never be.

A mutant is a query with one of its parts taken out. The checks find nothing in the queries as
they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, Final

import psycopg
import pytest

from connections import BlockingCaller, Connect
from quota_work import Conn, Violation, crowd_a_limit, verify, work_on_everything
from races import race
from runstore import (
    QuotaExceeded,
    RunstoreError,
    expire_reservations,
    get_usage,
    quota_gates,
    record_usage,
    release_usage,
    reserve_usage,
    set_quota,
    settle_usage,
    usage_logs,
    usage_reservations,
    usage_settlements,
)
from runstore.quota_gates import reserve_usages
from usage_factories import (
    SUBJECT,
    let_expire,
    new_quota,
    new_reservation,
    new_usage,
    pass_time,
)


class Scene:
    """A database in which one subject has a limit of 100 tokens, in total and in a month."""

    def __init__(self, dsn: str, connect: Connect) -> None:
        self.dsn = dsn
        self.connect = connect
        self.conn: Conn = connect()
        self.call = BlockingCaller(self.conn, in_transaction=False)
        set_quota(self.conn, new_quota(limit_amount=100))
        set_quota(self.conn, new_quota(limit_amount=100, period="month"))

    def check(self, *left: tuple[int, int]) -> None:
        """Check what is used and held, in the month and in total, and prove it."""
        verify(self.conn)
        found = [(quota.used, quota.held) for quota in get_usage(self.conn, SUBJECT)]
        if found != list(left):
            raise Violation(f"used and held are {found}, and should be {left}")

    def refuse(self, function: Callable[[Conn, Any], object], data: Any) -> None:
        """Check that a call is refused, and leaves nothing behind."""
        before = self.written()
        refused(lambda: function(self.conn, data))
        if self.written() != before:
            raise Violation("of what was refused something was written")

    def written(self) -> object:
        return self.conn.execute(
            """
            SELECT
                (SELECT count(*) FROM runstore.usage_reservations),
                (SELECT count(*) FROM runstore.usage_logs),
                (SELECT (sum(used), sum(held)) FROM runstore.usage_counters)
            """
        ).fetchone()


def refused(reserve: Callable[[], object]) -> None:
    try:
        reserve()
    except QuotaExceeded:
        return
    raise Violation("a limit was passed")


# The checks


def crowds(scene: Scene) -> None:
    crowd_a_limit(scene.dsn, writers=8, limit=200)


def one_after_the_other(scene: Scene) -> None:
    reserve_usage(scene.conn, new_reservation(60))
    scene.refuse(reserve_usage, new_reservation(60))
    record_usage(scene.conn, new_usage(40))
    scene.refuse(record_usage, new_usage(1))
    scene.check((40, 60), (40, 60))


def at_once(scene: Scene) -> None:
    refuse_the_second(scene, reserve_usage, lambda: new_reservation(60))
    refuse_the_second(scene, record_usage, lambda: new_usage(30))
    scene.check((30, 60), (30, 60))


def refuse_the_second(
    scene: Scene, function: Callable[[Conn, Any], object], new: Callable[[], Any]
) -> None:
    """Check that of two calls at once the second, for which there is no room left, is refused."""
    refused(
        lambda: race(
            scene.connect,
            lambda first: function(first, new()),
            lambda second: function(second, new()),
        )
    )


def one_soft_quota(scene: Scene) -> None:
    set_quota(scene.conn, new_quota(meter="runs", limit_amount=5, hard=False))
    for _ in range(2):
        reserve_usage(scene.conn, new_reservation(amounts={"runs": 4}))
        record_usage(scene.conn, new_usage(amounts={"runs": 4}))
    scene.check((8, 8), (0, 0), (0, 0))


def all_or_nothing(scene: Scene) -> None:
    set_quota(scene.conn, new_quota(meter="runs", limit_amount=0))
    amounts = {"tokens": 1, "runs": 1}
    scene.refuse(reserve_usage, new_reservation(amounts=amounts))
    scene.refuse(record_usage, new_usage(amounts=amounts))
    scene.check((0, 0), (0, 0), (0, 0))


def new_windows(scene: Scene) -> None:
    pass_time(scene.call)
    scene.refuse(reserve_usage, new_reservation(101))
    reserve_usage(scene.conn, new_reservation(60))
    scene.check((0, 60), (0, 60))
    settle_usage(scene.conn, reserve_usage(scene.conn, new_reservation(1)).id, {"tokens": 1})
    pass_time(scene.call)
    record_usage(scene.conn, new_usage(30))
    scene.check((30, 0), (31, 60))


def new_window_of_one_quota(scene: Scene) -> None:
    set_quota(scene.conn, new_quota(meter="runs", limit_amount=5, period="day"))
    pass_time(scene.call)
    scene.refuse(reserve_usage, new_reservation(amounts={"runs": 6}))
    reserve_usage(scene.conn, new_reservation(amounts={"runs": 5}))
    scene.check((0, 5), (0, 0), (0, 0))
    pass_time(scene.call)
    scene.refuse(record_usage, new_usage(amounts={"runs": 6}))
    record_usage(scene.conn, new_usage(amounts={"runs": 5}))
    scene.check((5, 0), (0, 0), (0, 0))


def ends(scene: Scene) -> None:
    ids = [reserve_usage(scene.conn, new_reservation(10)).id for _ in range(6)]
    settle_usage(scene.conn, ids[0], {"tokens": 20})
    settle_usage(scene.conn, ids[0], {"tokens": 20})
    release_usage(scene.conn, ids[1])
    release_usage(scene.conn, ids[1])
    scene.check((20, 40), (20, 40))
    let_expire(scene.call)
    expire_reservations(scene.conn, max_rows=3)
    # One is open all the time, so that what is given back twice is not refused by a CHECK.
    scene.conn.execute(
        "UPDATE runstore.usage_reservations SET status = 'expired', finished_at = now()"
        " WHERE status = 'held' AND id <> %s",
        (ids[5],),
    )
    scene.check((20, 10), (20, 10))
    settle_usage(scene.conn, ids[2], {"tokens": 5})
    scene.check((25, 10), (25, 10))
    release_usage(scene.conn, ids[3])
    scene.check((25, 10), (25, 10))


def together(scene: Scene) -> None:
    reserve_usages(scene.conn, [new_reservation(tokens) for tokens in (101, 60, 30, 20, 10)])
    scene.check((0, 90), (0, 90))
    reserve_usages(scene.conn, [new_reservation(tokens) for tokens in (11, 10)])
    scene.check((0, 100), (0, 100))


def together_at_once(scene: Scene) -> None:
    race(
        scene.connect,
        lambda first: reserve_usages(first, [new_reservation(40), new_reservation(20)]),
        lambda second: reserve_usages(second, [new_reservation(30), new_reservation(20)]),
    )
    scene.check((0, 60), (0, 60))


def everything(scene: Scene) -> None:
    work_on_everything(scene.dsn, writers=8, subjects=1, operations=3000)


def everything_until_it_clashes(scene: Scene) -> None:
    """Work until two statements have met in the wrong order, for a minute and a half at most."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        everything(scene)


CHECKS: Final = [
    crowds,
    one_after_the_other,
    at_once,
    one_soft_quota,
    all_or_nothing,
    new_windows,
    new_window_of_one_quota,
    ends,
    together,
    together_at_once,
    everything,
]


@pytest.mark.owner
@pytest.mark.parametrize("check", CHECKS)
def test_a_check_finds_nothing_in_the_queries_as_they_are(
    database: str, connect: Connect, check: Callable[[Scene], None]
) -> None:
    check(Scene(database, connect))


# The mutants

AMOUNT: Final = """asked.amount
    FROM asked
    WHERE EXISTS"""
CEILING: Final = "(SELECT asked.ceiling FROM asked WHERE asked.quota_id = usage_counters.quota_id)"
FITS_PLAINLY: Final = "asked.used + asked.amount > asked.ceiling - asked.held"
ORDER: Final = """ORDER BY
        quotas.id,
        change.window_start"""


@dataclass(frozen=True)
class Mutant:
    name: str
    module: ModuleType
    query: str
    changes: dict[str, str]
    check: Callable[[Scene], None]
    found: type[Exception] = Violation

    def __str__(self) -> str:
        return f"{self.query}: {self.name}"


def mutants_of_both(
    name: str,
    changes: dict[str, str],
    check: Callable[[Scene], None],
    found: type[Exception] = Violation,
) -> list[Mutant]:
    return [
        Mutant(name, usage_reservations, "reserve_usage", changes, check, found),
        Mutant(name, usage_logs, "record_usage", changes, check, found),
    ]


MUTANTS: Final = [
    Mutant(
        "no guard",
        usage_reservations,
        "reserve_usage",
        {"CASE WHEN quotas.hard": "CASE WHEN false"},
        crowds,
    ),
    *mutants_of_both("no guard", {"quotas.hard": "false"}, one_after_the_other),
    *mutants_of_both("no guard on the counter", {CEILING: "NULL::bigint"}, at_once),
    *mutants_of_both(
        "a soft quota is a hard one",
        {CEILING: f"coalesce({CEILING}, 0)"},
        one_soft_quota,
        RunstoreError,
    ),
    *mutants_of_both("held is ignored", {"- usage_counters.held,": ","}, at_once),
    *mutants_of_both("no guard in a new window", {FITS_PLAINLY: "false"}, new_window_of_one_quota),
    *mutants_of_both(
        "a new window starts empty",
        {AMOUNT: AMOUNT.replace("asked.amount", "0")},
        new_windows,
    ),
    Mutant(
        "nothing is held",
        usage_reservations,
        "reserve_usage",
        {"THEN usage_counters.held + excluded.held": "THEN usage_counters.held"},
        one_soft_quota,
    ),
    Mutant(
        "what has no room is not held",
        usage_reservations,
        "reserve_usage",
        {"+ excluded.held\n            END": "+ excluded.held ELSE usage_counters.held END"},
        at_once,
    ),
    Mutant(
        "nothing is counted",
        usage_logs,
        "record_usage",
        {"THEN usage_counters.used + excluded.used": "THEN usage_counters.used"},
        one_soft_quota,
    ),
    Mutant(
        "what has no room is not counted",
        usage_logs,
        "record_usage",
        {"+ excluded.used\n            END": "+ excluded.used ELSE usage_counters.used END"},
        at_once,
    ),
    Mutant(
        "nothing is counted",
        usage_settlements,
        "settle_usage",
        {"usage_counters.used + excluded.used": "usage_counters.used"},
        ends,
    ),
    Mutant(
        "nothing is given back",
        usage_settlements,
        "settle_usage",
        {"usage_counters.held - (": "usage_counters.held - 0 * ("},
        ends,
    ),
    Mutant(
        "an expired hold is given back again",
        usage_settlements,
        "settle_usage",
        {"CASE WHEN reservation.status = 'held' THEN hold.amount ELSE 0 END": "hold.amount"},
        ends,
    ),
    Mutant(
        "settled again",
        usage_settlements,
        "settle_usage",
        {"AND status IN ('held', 'expired')": "AND status <> 'released'"},
        ends,
        RunstoreError,
    ),
    Mutant(
        "an expired hold is given back again",
        usage_settlements,
        "release_usage",
        {"reservation.status = 'held'": "true"},
        ends,
    ),
    Mutant(
        "released again",
        usage_settlements,
        "release_usage",
        {"AND status IN ('held', 'expired')": "", "reservation.status = 'held'": "true"},
        ends,
    ),
    Mutant(
        "nothing is given back",
        usage_settlements,
        "expire_reservations",
        {"usage_counters.held - (": "usage_counters.held - 0 * ("},
        ends,
    ),
    Mutant(
        "what follows a misfit is held too",
        quota_gates,
        "reserve_usages",
        {"WHERE line.place < coalesce(": "WHERE true OR line.place < coalesce("},
        together,
    ),
    Mutant(
        "what never fits stands in the way",
        quota_gates,
        "reserve_usages",
        {"HAVING bool_and(room IS NULL OR amount <= room)": ""},
        together,
    ),
    Mutant(
        "no guard on the counter",
        quota_gates,
        "reserve_usages",
        {CEILING: "NULL::bigint"},
        together_at_once,
    ),
    Mutant(
        "nothing is held",
        quota_gates,
        "reserve_usages",
        {"THEN usage_counters.held + excluded.held": "THEN usage_counters.held"},
        together,
    ),
    *(
        Mutant("locks in no order", module, query, {order: unordered}, everything_until_it_clashes)
        for module, query, order, unordered in [
            (usage_reservations, "reserve_usage", "ORDER BY quotas.id", "ORDER BY random()"),
            (usage_logs, "record_usage", "ORDER BY quotas.id", "ORDER BY random()"),
            (usage_settlements, "settle_usage", ORDER, "ORDER BY random()"),
        ]
    ),
]


@pytest.mark.owner
@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_a_mutant_is_found(
    database: str, connect: Connect, monkeypatch: pytest.MonkeyPatch, mutant: Mutant
) -> None:
    queries: dict[str, Any] = vars(mutant.module)["_SQL"]
    text = queries[mutant.query].text
    for part, instead in mutant.changes.items():
        assert part in text
        text = text.replace(part, instead)
    scene = Scene(database, connect)
    monkeypatch.setitem(queries, mutant.query, replace(queries[mutant.query], text=text))

    with pytest.raises(mutant.found) as raised:
        mutant.check(scene)

    # What is found is a fault of the counters, and none of the mutant's SQL.
    assert not isinstance(raised.value, psycopg.Error)
