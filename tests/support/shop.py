"""A small schema, and what the tests of the proof do with queries on it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from runstore.queries import Row, Sql, Statement, get, query
from runstore.testing import NamedQuery, Problem, Prover

ID = UUID("01997000-0000-7000-8000-000000000000")

SCHEMA = """
CREATE SCHEMA shop;
CREATE TYPE shop.size AS ENUM ('small', 'large');
CREATE TABLE shop.customers (
    id uuid CONSTRAINT customers_pkey PRIMARY KEY,
    name text NOT NULL,
    email text,
    status text NOT NULL CHECK (status IN ('active', 'gone')),
    rank text NOT NULL CHECK (rank <> ''),
    size shop.size NOT NULL,
    points bigint NOT NULL,
    tags text[] NOT NULL,
    profile jsonb NOT NULL CHECK (jsonb_typeof(profile) = 'object'),
    notes jsonb NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX customers_status_id_idx ON shop.customers (status, id);
CREATE TABLE shop.orders (
    id uuid PRIMARY KEY,
    customer_id uuid NOT NULL REFERENCES shop.customers (id),
    total numeric NOT NULL,
    paid_at timestamptz
);
CREATE INDEX orders_customer_id_idx ON shop.orders (customer_id);
"""


def named(text: str, kind: Any = "one") -> Sql:
    literal: Any = text
    return Sql("get_customer", kind, literal)


def problems_of(prover: Prover, sql: Sql, function: Any) -> list[Problem]:
    return prover.problems(NamedQuery("customers.sql", sql.name, sql, function.bind))


def reasons(prover: Prover, sql: Sql, function: Any) -> list[str]:
    """Return what is wrong, each as `column: reason` or as the reason alone."""
    place = "customers.sql: get_customer: "
    told = [str(problem) for problem in problems_of(prover, sql, function)]
    assert all(text.startswith(place) for text in told)
    return [text.removeprefix(place) for text in told]


def reader(model: type[Row], sql: Sql) -> Any:
    """Make a function that reads a customer by its id."""

    def get_customer(id: UUID) -> Statement[Any]:
        return get(model, sql, "customer", id, {"id": id})

    answer: Any = Statement
    get_customer.__annotations__["return"] = answer[model]
    return query(get_customer)


class Name(Row):
    name: str


GET_NAME = named("SELECT name FROM shop.customers WHERE id = %(id)s")
