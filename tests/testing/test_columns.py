"""A column that does not fit its field is found, and named with the reason."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import psycopg
import pytest
from pydantic import AwareDatetime, JsonValue

from runstore.queries import Row
from runstore.testing import Prover, prover
from shop import GET_NAME, Name, named, reader, reasons


def column_reasons(prover: Prover, select: str, **fields: Any) -> list[str]:
    """Return what is wrong when these columns of a customer are read into these fields."""
    model: Any = type("Model", (Row,), {"__annotations__": fields})
    sql = named(f"SELECT {select} FROM shop.customers WHERE id = %(id)s")
    return reasons(prover, sql, reader(model, sql))


def test_a_missing_column(shop_prover: Prover) -> None:
    assert column_reasons(shop_prover, "name", name=str, email=str | None) == [
        "email: Model has this field, the query no column"
    ]


def test_a_column_without_a_field(shop_prover: Prover) -> None:
    assert column_reasons(shop_prover, "name, email", name=str) == [
        "email: the query has this column, Model no field"
    ]


def test_columns_in_another_order(shop_prover: Prover) -> None:
    # Both are texts: nothing else would tell that they were taken for one another.
    assert column_reasons(shop_prover, "rank, name", name=str, rank=str) == [
        "rank: stands in another place than its field"
    ]


def test_two_columns_of_one_name(shop_prover: Prover) -> None:
    assert column_reasons(shop_prover, "name, rank AS name", name=str) == [
        "name: two columns have this name"
    ]


def test_a_nullable_column_in_a_required_field(shop_prover: Prover) -> None:
    assert column_reasons(shop_prover, "email", email=str) == [
        "email: may be NULL, since customers.email is not held NOT NULL, and the field is str"
    ]
    assert column_reasons(shop_prover, "email", email=str | None) == []


def test_an_expression_is_nullable_until_the_query_says_otherwise(shop_prover: Prover) -> None:
    class Count(Row):
        count: int

    text = "SELECT count(*) AS count FROM shop.orders WHERE customer_id = %(id)s"
    [reason] = reasons(shop_prover, named(text), reader(Count, named(text)))
    assert reason == "count: may be NULL, since it is an expression, and the field is int"
    stated = named(f"-- name: get_customer\n-- not null: count\n{text}")
    assert reasons(shop_prover, stated, reader(Count, stated)) == []


def test_a_statement_about_a_column_that_is_not_there(shop_prover: Prover) -> None:
    sql = named(f"-- not null: nmae\n{GET_NAME.text}")
    assert reasons(shop_prover, sql, reader(Name, sql)) == [
        "nmae: is said to be not null, and is no column"
    ]


class Size(enum.StrEnum):
    SMALL = "small"
    LARGE = "large"


class Status(enum.StrEnum):
    ACTIVE = "active"
    GONE = "gone"


@pytest.mark.parametrize(
    ("column", "annotation"),
    [
        ("id", UUID),
        ("name", Any),
        ("name", str | int),
        ("points", int),
        ("created_at", datetime),
        ("created_at", AwareDatetime),
        ("status", Literal["active", "gone"]),
        ("status", Status),
        ("status", str),
        ("size", Literal["large", "small"]),
        ("size", Size),
        ("size", str),
        ("tags", list[str | None]),
        ("profile", dict[str, JsonValue]),
        ("profile", JsonValue),
        ("notes", JsonValue),
        ("1.5 AS n", Decimal | None),
        ("now() - created_at AS n", timedelta | None),
        ("'x'::bytea AS n", bytes | None),
        ("true AS n", bool | None),
        ("1::float8 AS n", float | None),
        ("ARRAY[1::bigint] AS n", Sequence[int | None] | None),
    ],
)
def test_annotations_that_fit(shop_prover: Prover, column: str, annotation: Any) -> None:
    name = column.rpartition(" ")[2]
    assert column_reasons(shop_prover, column, **{name: annotation}) == []


@pytest.mark.parametrize(
    ("column", "annotation", "reason"),
    [
        ("id", str, "is uuid, which is read as UUID, and the field is str"),
        # A sum of bigints is numeric, and True is an int to Python alone.
        ("sum(points) AS n", int, "is numeric, which is read as Decimal, and the field is int"),
        ("true AS n", int, "is boolean, which is read as bool, and the field is int"),
        ("points AS n", float, "is bigint, which is read as int, and the field is float"),
        (
            "created_at::timestamp AS n",
            AwareDatetime,
            (
                "is timestamp without time zone, which is read as datetime, "
                "and the field is AwareDatetime"
            ),
        ),
        (
            "point(1, 2) AS n",
            str,
            "is point, which is read as nothing that is known here, and the field is str",
        ),
        ("tags", list[int], "is text[], which is read as list of str, and the field is list[int]"),
        ("tags", str, "is text[], which is read as list of str, and the field is str"),
        ("profile", str, "is jsonb, which is read as JsonValue, not as str"),
        (
            "profile",
            list[JsonValue],
            (
                "is jsonb, and no CHECK on customers.profile holds it to an array, "
                "as the field does, which is list[JsonValue]"
            ),
        ),
        (
            "notes",
            dict[str, JsonValue],
            (
                "is jsonb, and no CHECK on customers.notes holds it to an object, "
                "as the field does, which is dict[str, JsonValue]"
            ),
        ),
        (
            "status",
            Literal["active"],
            "the field is Literal['active'], and the CHECK on customers.status also allows 'gone'",
        ),
        (
            "status",
            Literal["active", "gone", "away"],
            (
                "the field is Literal['active', 'gone', 'away'], "
                "and the CHECK on customers.status forbids 'away'"
            ),
        ),
        (
            "status",
            Size,
            (
                "the field is Size, and the CHECK on customers.status also allows 'active', 'gone' "
                "and the CHECK on customers.status forbids 'large', 'small'"
            ),
        ),
        (
            "size",
            Literal["small"],
            "the field is Literal['small'], and the enum shop.size also allows 'large'",
        ),
        (
            "rank",
            Literal["low"],
            "no CHECK on customers.rank lists its values, as the field's Literal['low'] does",
        ),
        (
            "name",
            Literal["a"],
            "no CHECK on customers.name lists its values, as the field's Literal['a'] does",
        ),
        (
            "upper(status) AS n",
            Literal["ACTIVE"],
            "is an expression, so that nothing holds it to the field's Literal['ACTIVE']",
        ),
        ("points", Literal["1"], "is bigint, which is read as int, and the field is Literal['1']"),
    ],
)
def test_annotations_that_do_not_fit(
    shop_prover: Prover, column: str, annotation: Any, reason: str
) -> None:
    name = column.rpartition(" ")[2]
    assert f"{name}: {reason}" in column_reasons(shop_prover, column, **{name: annotation})


def test_elements_of_an_array_may_be_null(shop_prover: Prover) -> None:
    assert column_reasons(shop_prover, "tags", tags=list[str]) == [
        "tags[]: may be NULL in a text[], and the field is list[str]"
    ]
    stated = named("-- not null: tags[]\nSELECT tags FROM shop.customers WHERE id = %(id)s")

    class Tags(Row):
        tags: list[str]

    assert reasons(shop_prover, stated, reader(Tags, stated)) == []


def test_types_that_an_application_reads_in_its_own_way(shop: psycopg.Connection[Any]) -> None:
    class Point(Row):
        point: tuple[float, float] | None

    sql = named("SELECT point(1, 2) AS point FROM shop.customers WHERE id = %(id)s")
    with prover(shop, schema="shop", rows=50, types={"point": [tuple[float, float]]}) as made:
        assert reasons(made, sql, reader(Point, sql)) == []


@pytest.mark.parametrize(
    ("check", "proven"),
    [
        ("word IN ('a', 'b')", True),
        ("word = 'a' OR word = 'b'", True),
        ("word = ANY ('{a,b}')", False),
        ("word IN ('a', 'b') OR char_length(word) < 3", False),
        ("word IN ('a', 'b') OR char_length(word) > 300", False),
        ("word ~ '^[a-b]$'", False),
        ("word IN ('a', 'b', 'c') AND word <> 'c'", True),
    ],
)
def test_a_check_that_lists_values(
    shop: psycopg.Connection[Any], check: str, *, proven: bool
) -> None:
    class Word(Row):
        word: Literal["a", "b"]

    sql = named("SELECT word FROM shop.words WHERE id = %(id)s")
    with shop.transaction(force_rollback=True):
        table = f"CREATE TABLE shop.words (id uuid PRIMARY KEY, word text NOT NULL CHECK ({check}))"
        shop.execute(table.encode())
        values = {"words.word": "'a'"}
        with prover(shop, schema="shop", rows=50, values=values) as made:
            assert (reasons(made, sql, reader(Word, sql)) == []) is proven


@pytest.mark.parametrize(
    ("check", "proven"),
    [
        ("jsonb_typeof(document) = 'object'", True),
        ("jsonb_typeof(document) IN ('object', 'array')", False),
        # An array of this text has it too.
        ("document ? 'a'", False),
        ("jsonb_array_length(document) < 5", False),
    ],
)
def test_a_check_on_the_kind_of_a_document(
    shop: psycopg.Connection[Any], check: str, *, proven: bool
) -> None:
    class Note(Row):
        document: dict[str, JsonValue]

    sql = named("SELECT document FROM shop.documents WHERE id = %(id)s")
    with shop.transaction(force_rollback=True):
        columns = f"id uuid PRIMARY KEY, document jsonb NOT NULL CHECK ({check})"
        shop.execute(f"CREATE TABLE shop.documents ({columns})".encode())
        values = {"documents.document": """'["a"]'::jsonb"""} if "object'" not in check else {}
        with prover(shop, schema="shop", rows=50, values=values) as made:
            assert (reasons(made, sql, reader(Note, sql)) == []) is proven
