"""The functions of the database make and read the same ids as those of Python."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import RFC_4122, UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connections import Caller
from contents import clock
from factories import create_run
from runstore import get_run, new_child_id, new_run_id, run_of

# It does not matter to the database how its client waits.
pytestmark = pytest.mark.parametrize("connection_kind", ["blocking"])

IDS = (
    st.uuids()
    | st.integers(0, 2**128 - 1).map(lambda number: UUID(int=number))
    | st.builds(new_run_id)
    | st.builds(lambda: new_child_id(new_run_id()))
)

# What each CHECK of an id demands. It says so without run_of(), which would slow down each INSERT.
CHECKS = {
    "runs_id_check": "runstore.run_of(id) = id",
    **{
        f"{table}_id_check": "runstore.run_of(id) = run_id"
        for table in (
            "agent_invocations",
            "agent_steps",
            "branch_reports",
            "cta_events",
            "memory_records",
            "phase_results",
            "report_sections",
            "reports",
            "tool_calls",
        )
    },
    "branch_reports_report_id_check": "runstore.run_of(report_id) <> run_id",
    **{
        f"{table}_run_id_check": "runstore.run_of(run_id) = run_id"
        for table in ("usage_logs", "usage_reservations")
    },
    **{
        f"{table}_{column}_check": (
            f"{column} IS NULL OR (run_id IS NOT NULL AND runstore.run_of({column}) = run_id)"
        )
        for table in ("usage_logs", "usage_reservations")
        for column in ("invocation_id", "tool_call_id")
    },
}
# None, a run, what differs from it in any one bit, and what differs in all.
RUN = new_run_id()
NEIGHBOURS = [
    None,
    RUN,
    *(UUID(int=RUN.int ^ 1 << bit) for bit in range(128)),
    UUID(int=~RUN.int % 2**128),
]

# An example asks the database and writes nothing.
asking = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)


@asking
@given(IDS)
def test_the_run_of_an_id_is_the_same(call: Caller, id: UUID) -> None:
    assert call.execute("SELECT runstore.run_of(%s::uuid)", (id,)) == [(run_of(id),)]


@asking
@given(IDS)
def test_a_child_of_an_id_is_of_the_same_run(call: Caller, id: UUID) -> None:
    [(child,)] = call.execute("SELECT runstore.new_child_id(%s::uuid)", (id,))
    assert run_of(child) == run_of(id) == run_of(new_child_id(id))


def test_children_have_48_random_bits(call: Caller) -> None:
    run = new_run_id()
    rows = call.execute(
        "SELECT runstore.new_child_id(%s::uuid) FROM generate_series(1, 1000)", (run,)
    )
    tails = [child.int & (1 << 48) - 1 for (child,) in rows]
    assert len(set(tails)) == 1000
    for bit in range(48):
        assert 300 < sum(tail >> bit & 1 for tail in tails) < 700
    assert {(child.version, child.variant) for (child,) in rows} == {(7, RFC_4122)}


def test_a_run_id_is_a_version_7_uuid_that_ends_in_zeros(call: Caller) -> None:
    start = clock(call)
    rows = call.execute("SELECT runstore.new_run_id() FROM generate_series(1, 1000)")
    end = clock(call)
    ids = [id for (id,) in rows]

    assert {(id.version, id.variant) for id in ids} == {(7, RFC_4122)}
    assert {id.int & (1 << 48) - 1 for id in ids} == {0}
    assert all(run_of(id) == id for id in ids)
    assert len(set(ids)) == 1000
    times = [id.int >> 80 for id in ids]
    assert milliseconds(start) <= min(times) <= max(times) <= milliseconds(end)
    for bit in (*range(48, 62), *range(64, 76)):
        assert 300 < sum(id.int >> bit & 1 for id in ids) < 700


def test_an_id_that_the_database_made_is_an_id(call: Caller) -> None:
    [(id,)] = call.execute("SELECT runstore.new_run_id()")
    run = create_run(call, id=id)
    assert call(get_run, id) == run
    assert abs(run.created_at - datetime.fromtimestamp((id.int >> 80) / 1000, UTC)).seconds < 60


def test_no_id_has_no_run(call: Caller) -> None:
    assert call.execute("SELECT runstore.run_of(NULL), runstore.new_child_id(NULL)") == [
        (None, None)
    ]


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_of_an_id_demands_what_run_of_says(call: Caller, name: str) -> None:
    [(check,)] = call.execute(
        "SELECT pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE conname = %s", (name,)
    )
    # Any, and so a LiteralString: it comes from the catalogue and from above.
    comparison: Any = f"""
        SELECT ({check}), count(*) FILTER (WHERE ({check}) IS DISTINCT FROM ({CHECKS[name]}))
        FROM unnest(%(ids)s::uuid[]) AS id
        CROSS JOIN unnest(%(ids)s::uuid[]) AS run_id
        CROSS JOIN LATERAL (SELECT id, id, id) AS same (report_id, invocation_id, tool_call_id)
        GROUP BY 1
    """
    answers = call.execute(comparison, {"ids": NEIGHBOURS})

    assert {True, False} <= {answer for answer, _ in answers}
    assert all(otherwise == 0 for _, otherwise in answers)
