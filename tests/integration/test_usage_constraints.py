"""What the database itself refuses of quotas and usage, whoever writes."""

from typing import Any

import psycopg
import pytest

from connections import Caller
from runstore import NewPrice, record_usage, set_price
from usage_factories import make_quota, new_usage, reserve

LONG = "repeat('x', 256)"
A_RUN = "'01890000-0000-7000-8000-000000000000'"
A_CHILD = "'01890000-0000-7000-8000-000000000001'"
ANOTHER_CHILD = "'01890000-0001-7000-8000-000000000001'"

# For each constraint, what an UPDATE would have to set to break it, and it alone.
REFUSED = {
    "quotas": {
        "quotas_tenant_id_check": "tenant_id = ''",
        "quotas_subject_id_check": f"subject_id = {LONG}",
        "quotas_meter_check": "meter = ''",
        "quotas_period_check": "period = 'year'",
        "quotas_timezone_check": "timezone = ''",
        "quotas_limit_amount_check": "limit_amount = -1",
        "quotas_metadata_check": "metadata = '[]'",
    },
    "usage_counters": {
        "usage_counters_tenant_id_subject_id_quota_id_fkey": "subject_id = 'another'",
        "usage_counters_held_check": "held = -1",
    },
    "usage_reservations": {
        "usage_reservations_tenant_id_check": "tenant_id = ''",
        "usage_reservations_subject_id_check": "subject_id = ''",
        "usage_reservations_amounts_check": "amounts = '[]'",
        "usage_reservations_window_starts_check": "window_starts = '{}'",
        "usage_reservations_held_amounts_check": "held_amounts = '{-1}'",
        "usage_reservations_status_check": "status = 'other', finished_at = now()",
        "usage_reservations_run_id_check": f"run_id = {A_CHILD}",
        "usage_reservations_invocation_id_check": (
            f"run_id = {A_RUN}, invocation_id = {ANOTHER_CHILD}"
        ),
        "usage_reservations_tool_call_id_check": f"tool_call_id = {A_CHILD}",
        "usage_reservations_provider_check": "provider = ''",
        "usage_reservations_model_check": f"model = {LONG}",
        "usage_reservations_metadata_check": "metadata = '[]'",
        "usage_reservations_finished_at_check": "status = 'expired'",
    },
    "usage_logs": {
        "usage_logs_meter_check": "meter = ''",
        "usage_logs_tenant_id_check": "tenant_id = ''",
        "usage_logs_subject_id_check": "subject_id = ''",
        "usage_logs_cost_nanousd_check": "cost_nanousd = -1",
        "usage_logs_meter_cost_nanousd_check": "meter = 'cost_nanousd'",
        "usage_logs_run_id_check": f"run_id = {A_CHILD}",
        "usage_logs_invocation_id_check": f"invocation_id = {A_CHILD}",
        "usage_logs_tool_call_id_check": f"run_id = {A_RUN}, tool_call_id = {ANOTHER_CHILD}",
        "usage_logs_provider_check": f"provider = {LONG}",
        "usage_logs_model_check": "model = ''",
        "usage_logs_window_starts_check": "window_starts = '{}'",
        "usage_logs_metadata_check": "metadata = '[]'",
    },
    "prices": {
        "prices_provider_check": "provider = ''",
        "prices_model_check": "model = ''",
        "prices_meter_check": "meter = ''",
        "prices_price_check": "price = 'NaN'",
    },
}


@pytest.fixture
def full(call: Caller) -> Caller:
    """A database with one row in each table."""
    make_quota(call)
    reserve(call)
    call(record_usage, new_usage(costs={"tokens": 1}))
    price: Any = {"valid_from": "2026-01-01T00:00:00Z", "price": 1}
    call(set_price, NewPrice(provider="p", model="m", meter="tokens", **price))
    return call


@pytest.mark.owner
@pytest.mark.parametrize(
    ("table", "constraint"),
    [(table, constraint) for table, refused in REFUSED.items() for constraint in refused],
)
def test_a_row_that_breaks_a_rule_is_refused(full: Caller, table: str, constraint: str) -> None:
    update: Any = f"UPDATE runstore.{table} SET {REFUSED[table][constraint]}"
    with pytest.raises(psycopg.errors.IntegrityError) as raised:
        full.execute(update)
    assert raised.value.diag.constraint_name == constraint


@pytest.mark.parametrize("table", REFUSED)
def test_every_rule_of_a_table_has_its_proof(full: Caller, table: str) -> None:
    rules = full.execute(
        "SELECT conname::text FROM pg_constraint"
        " WHERE conrelid = ('runstore.' || %s)::regclass AND contype IN ('c', 'f')",
        (table,),
    )
    assert {name for (name,) in rules} == REFUSED[table].keys()


@pytest.mark.owner
@pytest.mark.parametrize("price", ["-1", "'Infinity'"])
def test_a_price_is_a_finite_amount(full: Caller, price: str) -> None:
    update: Any = f"UPDATE runstore.prices SET price = {price}"
    with pytest.raises(psycopg.errors.CheckViolation):
        full.execute(update)
