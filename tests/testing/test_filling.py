"""Made-up rows satisfy a schema's constraints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from runstore.testing import RUNSTORE_VALUES, fill, prover

Conn = psycopg.Connection[Any]

SCHEMA = """
CREATE SCHEMA shop;
CREATE TYPE shop.size AS ENUM ('small', 'large');
CREATE TABLE shop.customers (
    id uuid PRIMARY KEY,
    number bigint GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    status text NOT NULL CHECK (status IN ('active', 'gone')),
    size shop.size NOT NULL,
    left_at timestamptz,
    tags text[] NOT NULL,
    profile jsonb NOT NULL CHECK (jsonb_typeof(profile) = 'object'),
    lines jsonb NOT NULL CHECK (jsonb_typeof(lines) = 'array'),
    CHECK ((left_at IS NOT NULL) = (status = 'gone'))
);
CREATE TABLE shop.orders (
    customer_id uuid NOT NULL REFERENCES shop.customers (id),
    number integer NOT NULL CHECK (number > 0),
    earlier_number integer,
    total numeric(6, 2) NOT NULL,
    PRIMARY KEY (customer_id, number),
    FOREIGN KEY (customer_id, earlier_number) REFERENCES shop.orders (customer_id, number)
);
CREATE TABLE shop.items (
    customer_id uuid NOT NULL,
    order_number integer NOT NULL,
    earlier_number integer,
    FOREIGN KEY (customer_id, order_number) REFERENCES shop.orders (customer_id, number),
    FOREIGN KEY (customer_id, earlier_number) REFERENCES shop.orders (customer_id, number)
);
"""


@pytest.fixture
def shop(shared_owner_dsn: str) -> Iterator[Conn]:
    with (
        psycopg.connect(shared_owner_dsn, autocommit=True) as conn,
        conn.transaction(force_rollback=True),
    ):
        conn.execute(SCHEMA.encode())
        yield conn


def answer(conn: Conn, text: str) -> Any:
    row = conn.execute(text.encode()).fetchone()
    assert row
    return row[0]


def test_every_table_is_filled_and_analyzed(shop: Conn) -> None:
    fill(shop, "shop", rows=100)
    assert answer(shop, "SELECT count(*) FROM shop.customers") == 100
    assert answer(shop, "SELECT count(*) FROM shop.orders") == 200
    assert answer(shop, "SELECT count(*) FROM shop.items") == 300
    assert answer(shop, "SELECT reltuples FROM pg_class WHERE oid = 'shop.items'::regclass") == 300


def test_values_vary(shop: Conn) -> None:
    fill(shop, "shop", rows=100)
    assert answer(shop, "SELECT count(DISTINCT status) FROM shop.customers") == 2
    assert 1 < answer(shop, "SELECT count(DISTINCT name) FROM shop.customers") < 100
    assert answer(shop, "SELECT count(*) FROM shop.items WHERE earlier_number IS NOT NULL") > 0
    assert answer(shop, "SELECT count(*) FROM shop.items WHERE earlier_number IS NULL") > 0


def test_a_table_that_has_rows_may_take_no_more(shop: Conn) -> None:
    shop.execute("CREATE TABLE shop.settings (name text PRIMARY KEY CHECK (name = 'only'))")
    fill(shop, "shop", rows=10)
    fill(shop, "shop", rows=10)
    assert answer(shop, "SELECT count(*) FROM shop.settings") == 1


def test_the_rows_are_the_same_each_time(shop: Conn) -> None:
    digest = "SELECT md5(string_agg(id::text || name, ',' ORDER BY id)) FROM shop.customers"
    found: set[str] = set()
    for _ in range(2):
        with shop.transaction(force_rollback=True):
            fill(shop, "shop", rows=50)
            found.add(answer(shop, digest))
    assert len(found) == 1


def test_a_constraint_that_chance_does_not_meet(shop: Conn) -> None:
    shop.execute("CREATE TABLE shop.codes (code text NOT NULL CHECK (code ~ '^[A-Z]{2}$'))")
    with pytest.raises(ValueError, match=r"cannot fill shop\.codes: its constraints refused"):
        fill(shop, "shop", rows=10)
    with pytest.raises(ValueError, match=r"cannot fill shop\.codes: column .* does not exist"):
        fill(shop, "shop", rows=10, values={"codes.code": "nothing"})
    fill(shop, "shop", rows=10, values={"codes.code": "'DE'"})
    assert answer(shop, "SELECT count(*) FROM shop.codes") == 10


def test_values_by_name_and_type(shop: Conn) -> None:
    shop.execute("CREATE TABLE shop.labels (id uuid NOT NULL, name text NOT NULL)")
    shop.execute("CREATE TABLE shop.codes (id text NOT NULL, name text NOT NULL)")
    values = {
        "name text": "'Ada'",
        "codes.name": "'Bob'",
        "id uuid, status text": "md5('of customers')::uuid",
        "customer_id uuid": "md5('of nobody')::uuid",
    }
    fill(shop, "shop", rows=20, values=values)
    assert answer(shop, "SELECT array_agg(DISTINCT name) FROM shop.labels") == ["Ada"]
    assert answer(shop, "SELECT array_agg(DISTINCT name) FROM shop.codes") == ["Bob"]
    # The same key for all: one row.
    assert answer(shop, "SELECT count(*) FROM shop.customers") == 1
    assert answer(shop, "SELECT count(DISTINCT id) FROM shop.labels") == 20
    # What a foreign key holds is not the business of a value for every table.
    assert answer(shop, "SELECT count(*) FROM shop.orders") > 0


def test_a_key_to_another_schema(shop: Conn) -> None:
    shop.execute(
        "CREATE TABLE shop.work (run_id uuid NOT NULL REFERENCES runstore.runs (id), note text)"
    )
    with pytest.raises(ValueError, match=r"cannot fill shop\.work: its constraints refused"):
        fill(shop, "shop", rows=10)
    fill(shop, "runstore", rows=10, values=RUNSTORE_VALUES)
    fill(shop, "shop", rows=10)
    assert answer(shop, "SELECT count(DISTINCT run_id) FROM shop.work") > 1


TEAMS = """
CREATE TABLE shop.teams (id uuid PRIMARY KEY, lead_id uuid, note text);
CREATE TABLE shop.users (
    id uuid PRIMARY KEY,
    team_id uuid {team} REFERENCES shop.teams (id),
    boss_id uuid REFERENCES shop.users (id)
);
CREATE TABLE shop.badges (id uuid PRIMARY KEY, user_id uuid NOT NULL REFERENCES shop.users (id));
ALTER TABLE shop.teams ADD COLUMN badge_id uuid {badge} REFERENCES shop.badges (id);
ALTER TABLE shop.teams ADD FOREIGN KEY (lead_id) REFERENCES shop.users (id);
"""


def test_a_cycle_is_cut_where_a_reference_may_be_null(shop: Conn) -> None:
    shop.execute(TEAMS.format(team="NOT NULL", badge="").encode())

    fill(shop, "shop", rows=30)

    for table, column, some in [
        ("teams", "lead_id", False),
        ("teams", "badge_id", False),
        ("users", "team_id", True),
        ("badges", "user_id", True),
    ]:
        counted = answer(shop, f"SELECT count({column}) FROM shop.{table}")
        assert (counted > 0) is some, column
        assert answer(shop, f"SELECT count(*) >= 30 FROM shop.{table}")


def test_a_cycle_that_nothing_cuts_is_named(shop: Conn) -> None:
    shop.execute(TEAMS.format(team="NOT NULL", badge="NOT NULL").encode())

    with pytest.raises(ValueError, match="cannot fill") as caught:
        fill(shop, "shop", rows=10)

    assert {"shop.teams", "shop.users", "shop.badges"} <= {
        word.strip(",:") for word in str(caught.value).split()
    }


def test_a_value_cuts_a_cycle(shop: Conn) -> None:
    shop.execute(TEAMS.format(team="", badge="").encode())

    fill(shop, "shop", rows=10, values={"users.team_id": "NULL"})

    assert answer(shop, "SELECT count(team_id) FROM shop.users") == 0
    assert answer(shop, "SELECT count(lead_id) FROM shop.teams") > 0
    assert answer(shop, "SELECT count(badge_id) FROM shop.teams") > 0


def test_a_value_says_what_a_reference_holds(shop: Conn) -> None:
    first = "(SELECT min(id::text)::uuid FROM shop.customers)"

    fill(shop, "shop", rows=10, values={"orders.customer_id": first})

    assert answer(shop, "SELECT count(DISTINCT customer_id) FROM shop.orders") == 1


def test_a_schema_that_does_not_exist(shop: Conn) -> None:
    with pytest.raises(ValueError, match="there is no schema shpo"), prover(shop, schema="shpo"):
        pass


def test_names_with_a_per_cent_sign(shop: Conn) -> None:
    shop.execute(
        b'CREATE TABLE shop."t%d" ("c%d" text NOT NULL, PRIMARY KEY ("c%d"));'
        b"""CREATE TABLE shop.u (
            "e%s" text NOT NULL REFERENCES shop."t%d" ("c%d"),
            "f%" text CHECK ("f%" LIKE 'a%'),
            "g%s" text NOT NULL CHECK ("g%s" IN ('5%', '%s'))
        )"""
    )

    fill(shop, "shop", rows=10, values={"u.f%": "'a%b'"})

    assert answer(shop, 'SELECT count(*) FROM shop."t%d"') == 10
    assert answer(shop, 'SELECT count("e%s") FROM shop.u WHERE "f%" = $$a%b$$') == 20
    assert answer(shop, 'SELECT array_agg(DISTINCT "g%s" ORDER BY "g%s") FROM shop.u') == [
        "%s",
        "5%",
    ]


def test_a_type_that_has_no_values(shop: Conn) -> None:
    shop.execute("CREATE TABLE shop.places (at point NOT NULL)")
    with pytest.raises(
        ValueError, match=r"cannot fill shop\.places: pass `values` for at, a point"
    ):
        fill(shop, "shop", rows=10)


def test_the_proof_leaves_the_database_as_it_was(shop: Conn) -> None:
    with prover(shop, schema="shop", rows=10):
        assert answer(shop, "SELECT count(*) FROM shop.customers") == 10
    assert answer(shop, "SELECT count(*) FROM shop.customers") == 0
