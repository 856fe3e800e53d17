"""A query that reads a table whole is found, unless it says why it may."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest

from runstore.queries import Page, Row, Sql, Statement, many, page, query
from runstore.testing import Prover, prover
from shop import GET_NAME, Name, named, reader, reasons


def test_a_query_that_no_index_serves(shop_prover: Prover) -> None:
    text = "SELECT name FROM shop.customers WHERE name = %(name)s"

    def find(sql: Sql) -> Any:
        @query
        def get_customer(name: str) -> Statement[list[Name]]:
            return many(Name, sql, {"name": name})

        return get_customer

    plain = named(text, "many")
    assert reasons(shop_prover, plain, find(plain)) == [
        (
            "reads all of customers: no index serves it; "
            "give it one, or say `-- may scan customers: <reason>`"
        )
    ]
    excused = named(f"-- may scan customers: there are few.\n{text}", "many")
    assert reasons(shop_prover, excused, find(excused)) == []


def test_an_excuse_that_is_not_needed(shop_prover: Prover) -> None:
    sql = named(f"-- may scan customers: there are few.\n{GET_NAME.text}")
    assert reasons(shop_prover, sql, reader(Name, sql)) == [
        "is said to scan customers, and does not"
    ]


def test_an_excuse_without_a_reason_is_none(shop_prover: Prover) -> None:
    sql = named("-- may scan customers:\nSELECT name FROM shop.customers WHERE name <> ''", "many")

    @query
    def get_customer() -> Statement[list[Name]]:
        return many(Name, sql, {})

    [reason] = reasons(shop_prover, sql, get_customer)
    assert reason.startswith("reads all of customers")


def test_an_index_that_is_read_whole(shop_prover: Prover) -> None:
    # The primary key gives the order, and finds nothing.
    sql = named("SELECT name FROM shop.customers ORDER BY id LIMIT 5", "many")

    @query
    def get_customer() -> Statement[list[Name]]:
        return many(Name, sql, {})

    [reason] = reasons(shop_prover, sql, get_customer)
    assert reason.startswith("reads all of customers")


def test_an_index_that_is_not_entered_at_its_start(shop: psycopg.Connection[Any]) -> None:
    class Id(Row):
        customer_id: UUID

    # PostgreSQL calls a condition on the second column of an index one of the index too.
    sql = named("SELECT customer_id FROM shop.pairs WHERE order_id = %(id)s")
    with shop.transaction(force_rollback=True):
        shop.execute("CREATE TABLE shop.pairs (customer_id uuid NOT NULL, order_id uuid NOT NULL)")
        shop.execute("CREATE INDEX pairs_idx ON shop.pairs (customer_id, order_id)")
        with prover(shop, schema="shop", rows=50) as made:
            [reason] = reasons(made, sql, reader(Id, sql))
    assert reason.startswith("reads all of pairs")


@pytest.mark.parametrize("prepare", [True, None, False])
def test_a_prepared_statement_is_judged_by_the_plan_for_all_values(
    shop_prover: Prover, *, prepare: bool | None
) -> None:
    # With a value at hand the first condition is gone.
    sql = named(
        "SELECT name FROM shop.customers WHERE (%(id)s::uuid IS NULL OR id = %(id)s)", "many"
    )

    @query
    def get_customer(id: UUID) -> Statement[list[Name]]:
        return many(Name, sql, {"id": id}, prepare=prepare)

    found = [reason.partition(":")[0] for reason in reasons(shop_prover, sql, get_customer)]
    assert found == ([] if prepare is False else ["reads all of customers"])


def test_a_filter_that_leaves_the_index_unused(shop_prover: Prover) -> None:
    # Without the option the status finds the rows; only a call with it shows the fault.
    sql = named(
        """
        SELECT name FROM shop.customers
        WHERE status = 'active'
            AND (%(name)s::text IS NULL OR id IN (SELECT id FROM shop.orders WHERE total > 1))
        """,
        "many",
    )

    @query
    def get_customer(*, name: str | None = None) -> Statement[list[Name]]:
        return many(Name, sql, {"name": name}, prepare=False)

    [reason] = reasons(shop_prover, sql, get_customer)
    assert reason.startswith("reads all of orders")


class Listed(Row):
    id: UUID


def test_a_later_page_is_planned_too(shop_prover: Prover) -> None:
    sql = named(
        """
        SELECT id FROM shop.customers
        WHERE status = 'active'
            AND (%(after_id)s::uuid IS NULL OR EXISTS (
                SELECT FROM shop.orders WHERE orders.total > 1 AND customers.id > %(after_id)s
            ))
        ORDER BY id
        LIMIT %(row_limit)s
        """,
        "many",
    )

    @query
    def get_customer(*, cursor: str | None = None, page_size: int = 10) -> Statement[Page[Listed]]:
        return page(Listed, sql, {}, key={"after_id": "id"}, cursor=cursor, page_size=page_size)

    [reason] = reasons(shop_prover, sql, get_customer)
    assert reason.startswith("reads all of orders")
