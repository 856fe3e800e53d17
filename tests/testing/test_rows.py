"""Rows that hold more than one model, side by side or within one another."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from runstore.queries import Row, Statement, query, reads
from runstore.testing import Prover
from shop import GET_NAME, Name, named, reader, reasons


class OrderTotal(Row):
    total: Decimal
    paid_at: datetime | None


JOINED = named(
    """
    SELECT customers.name, orders.total, orders.paid_at
    FROM shop.customers
    LEFT JOIN shop.orders ON customers.id = orders.customer_id
    WHERE customers.id = %(id)s
    """,
    "many",
)


def joined(*row: Any) -> Any:
    @query
    @reads(*row)
    def get_customer(id: UUID) -> Statement[str]:
        return Statement(JOINED, {"id": id}, str)

    return get_customer


def test_a_model_that_an_outer_join_may_leave_out(shop_prover: Prover) -> None:
    assert reasons(shop_prover, JOINED, joined(Name, OrderTotal | None)) == []
    assert reasons(shop_prover, JOINED, joined(Name, OrderTotal)) == [
        (
            "total: may be NULL, since orders.total is on the nullable side of an outer join, "
            "and the field is Decimal"
        )
    ]


def test_a_column_beside_a_model(shop_prover: Prover) -> None:
    assert reasons(shop_prover, JOINED, joined(str, OrderTotal | None)) == []
    assert reasons(shop_prover, JOINED, joined(int, OrderTotal | None)) == [
        "name: is text, which is read as str, and the field is int"
    ]
    assert reasons(shop_prover, JOINED, joined(str, UUID, OrderTotal | None)) == [
        "has 3 columns where 4 are read"
    ]


def test_an_answer_that_does_not_say_what_the_rows_hold(shop_prover: Prover) -> None:
    @query
    def get_customer(id: UUID) -> Statement[tuple[str, int]]:
        return Statement(GET_NAME, {"id": id}, lambda rows: (rows[0][0], 1))

    assert reasons(shop_prover, GET_NAME, get_customer) == [
        "its function answers tuple[str, int]: say with @reads what its rows hold"
    ]


class Order(Row):
    id: UUID
    total: Decimal


class Customer(Row):
    """A customer in its one row, with an order and all of them."""

    self: Name
    last: Order | None
    orders: list[Order]


RECORDS = """
SELECT
    ROW({name}) AS self,
    (
        SELECT ROW(orders.id, orders.total)
        FROM shop.orders
        WHERE orders.customer_id = customers.id
        ORDER BY orders.paid_at
        LIMIT 1
    ) AS last,
    ARRAY(
        SELECT ROW({order})
        FROM shop.orders
        WHERE orders.customer_id = %(id)s
        ORDER BY orders.id
    ) AS orders
FROM shop.customers
WHERE customers.id = %(id)s
"""


@pytest.mark.parametrize(
    ("name", "order", "expected"),
    [
        ("customers.name", "orders.id, orders.total", []),
        (
            "customers.email",
            "orders.id, orders.total",
            [
                "self.name: Name has this field, the query no column",
                "self.email: the query has this column, Name no field",
            ],
        ),
        (
            "customers.name",
            "orders.total, orders.id",
            ["orders[].total: stands in another place than its field"],
        ),
        (
            "customers.name",
            "orders.id, orders.total::float8",
            [
                (
                    "orders[].total: is double precision, which is read as float, "
                    "and the field is Decimal"
                ),
                "orders[].total: may be NULL, since it is an expression, and the field is Decimal",
            ],
        ),
        # An expression has the name of its place.
        (
            "customers.name",
            "orders.id, coalesce(orders.total, 0)",
            ["orders[].total: may be NULL, since it is an expression, and the field is Decimal"],
        ),
    ],
)
def test_rows_within_a_row(shop_prover: Prover, name: str, order: str, expected: list[str]) -> None:
    sql = named(RECORDS.format(name=name, order=order))
    assert reasons(shop_prover, sql, reader(Customer, sql)) == expected


def test_a_subselect_may_find_no_row(shop_prover: Prover) -> None:
    class Served(Row):
        last: Order

    sql = named(
        "SELECT (SELECT ROW(orders.id, orders.total) FROM shop.orders WHERE customer_id = %(id)s)"
        " AS last"
    )
    assert reasons(shop_prover, sql, reader(Served, sql)) == [
        "last: may be NULL, since its subselect may find no row, and the field is Order"
    ]


def test_records_in_a_form_that_cannot_be_taken_apart(shop_prover: Prover) -> None:
    class Served(Row):
        orders: list[Order]

    sql = named(
        "SELECT array_agg(ROW(orders.id, orders.total)) AS orders FROM shop.orders"
        " WHERE customer_id = %(id)s"
    )
    found = reasons(shop_prover, sql, reader(Served, sql))
    assert any("orders: is made in another way than ROW(...)" in reason for reason in found)
