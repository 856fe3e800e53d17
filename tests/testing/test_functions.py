"""A function that does not fit its query is found."""

from __future__ import annotations

import enum
from typing import Any, Literal
from uuid import UUID

import psycopg
import pytest
from pydantic import Field

from runstore.queries import Input, Page, Sql, Statement, get, many, query
from runstore.testing import NoSample, Prover, Samples, prover
from shop import GET_NAME, ID, Name, named, reader, reasons


def test_an_unused_parameter(shop_prover: Prover) -> None:
    @query
    def get_customer(id: UUID, name: str) -> Statement[Name]:
        return get(Name, GET_NAME, "customer", id, {"id": id, "name": name})

    assert reasons(shop_prover, GET_NAME, get_customer) == [
        "its function binds name, which the query does not use"
    ]


def test_a_parameter_that_only_some_calls_bind(shop_prover: Prover) -> None:
    @query
    def get_customer(id: UUID, *, name: str | None = None) -> Statement[Name]:
        parameters: dict[str, Any] = {"id": id} if name is None else {"id": id, "name": name}
        return get(Name, GET_NAME, "customer", id, parameters)

    assert reasons(shop_prover, GET_NAME, get_customer) == [
        "its function binds name, which the query does not use"
    ]


def test_a_placeholder_that_nothing_is_bound_to(shop_prover: Prover) -> None:
    @query
    def get_customer(id: UUID) -> Statement[Name]:
        return get(Name, GET_NAME, "customer", id, {"customer_id": id})

    found = reasons(shop_prover, GET_NAME, get_customer)
    assert "its function binds nothing to %(id)s" in found


def test_an_argument_of_another_type_than_the_parameter(shop_prover: Prover) -> None:
    @query
    def get_customer(id: int) -> Statement[Name]:
        return get(Name, GET_NAME, "customer", str(id), {"id": id})

    assert reasons(shop_prover, GET_NAME, get_customer) == [
        "its function binds int to %(id)s, which is uuid",
        'cannot be sent with sample arguments: invalid input syntax for type uuid: "1"',
    ]


def test_an_argument_that_postgresql_would_take_for_another(shop_prover: Prover) -> None:
    sql = named("SELECT name FROM shop.customers WHERE status = %(status)s", "many")

    @query
    def get_customer(status: int) -> Statement[list[Name]]:
        return many(Name, sql, {"status": status})

    assert reasons(shop_prover, sql, get_customer) == [
        "its function binds int to %(status)s, which is text"
    ]


def test_a_function_that_sends_another_query(shop_prover: Prover) -> None:
    other = Sql("get_client", "one", GET_NAME.text)
    assert reasons(shop_prover, GET_NAME, reader(Name, other)) == [
        "its function sends another query: get_client"
    ]


@pytest.mark.parametrize(
    ("kind", "answer", "fits"),
    [
        ("one", Statement[Name], True),
        ("many", Statement[Name], False),
        ("one", Statement[list[Name]], False),
        ("many", Statement[list[Name]], True),
        ("many", Statement[Page[Name]], True),
        ("maybe", Statement[Name | None], True),
        ("maybe", Statement[Name], False),
        ("one", Statement[Name | None], False),
        ("value", Statement[str], True),
        ("value", Statement[list[str]], False),
    ],
)
def test_the_kind_of_a_query_and_the_answer_of_its_function(
    shop_prover: Prover, kind: Any, answer: Any, fits: bool
) -> None:
    sql = named(GET_NAME.text, kind)

    def get_customer(id: UUID) -> Statement[Any]:
        return get(Name, sql, "customer", id, {"id": id})

    get_customer.__annotations__["return"] = answer
    found = reasons(shop_prover, sql, query(get_customer))
    assert [reason.startswith(f"is :{kind}, and its function answers") for reason in found] == (
        [] if fits else [True]
    )


def test_an_annotation_that_cannot_be_evaluated(shop_prover: Prover) -> None:
    def get_customer(id: UUID) -> Statement[Any]:
        return get(Name, GET_NAME, "customer", id, {"id": id})

    get_customer.__annotations__["return"] = "Statement[Nowhere]"
    assert reasons(shop_prover, GET_NAME, query(get_customer)) == [
        "its function's annotations cannot be evaluated: name 'Nowhere' is not defined"
    ]


class Size(enum.Enum):
    SMALL = 1
    LARGE = 2


class Address(str):
    """A text with a form."""

    __slots__ = ()


class NewCustomer(Input):
    entity = "customer"

    name: str = Field(pattern="^[A-Z]+$")


def by_address(address: Address) -> Statement[Name]:
    return get(Name, GET_NAME, "customer", ID, {"id": ID})


def by_data(data: NewCustomer) -> Statement[Name]:
    return get(Name, GET_NAME, "customer", ID, {"id": ID})


def by_code(code: str) -> Statement[Name]:
    if code != "DE":
        raise ValueError("no code of a country")
    return get(Name, GET_NAME, "customer", ID, {"id": ID})


def test_a_type_without_a_sample_gets_one(shop: psycopg.Connection[Any]) -> None:
    samples = Samples()
    with prover(shop, schema="shop", rows=50, samples=samples) as made:
        [reason] = reasons(made, GET_NAME, query(by_address))
        assert reason.startswith("there is no sample for")
        samples.register(Address, Address("a@b"))
        assert reasons(made, GET_NAME, query(by_address)) == []


def test_an_input_that_refuses_samples_gets_one(shop: psycopg.Connection[Any]) -> None:
    samples = Samples()
    with prover(shop, schema="shop", rows=50, samples=samples) as made:
        [reason] = reasons(made, GET_NAME, query(by_data))
        assert reason.startswith("NewCustomer refuses samples: name: ")
        samples.register(NewCustomer, NewCustomer(name="ADA"))
        assert reasons(made, GET_NAME, query(by_data)) == []


def test_a_parameter_that_is_refused_gets_a_sample(shop: psycopg.Connection[Any]) -> None:
    samples = Samples()
    with prover(shop, schema="shop", rows=50, samples=samples) as made:
        assert reasons(made, GET_NAME, query(by_code)) == [
            "its function refuses the sample for code: no code of a country; register another one"
        ]
        samples.register_name("code", "DE")
        assert reasons(made, GET_NAME, query(by_code)) == []


def test_options_that_exclude_one_another_are_called_one_by_one(shop_prover: Prover) -> None:
    @query
    def get_customer(*, id: UUID | None = None, other: UUID | None = None) -> Statement[Name]:
        if (id is None) == (other is None):
            raise ValueError("one of them")
        return get(Name, GET_NAME, "customer", ID, {"id": id or other})

    assert reasons(shop_prover, GET_NAME, get_customer) == []


def test_samples_of_standard_types() -> None:
    samples = Samples()
    assert samples.of(UUID) == ID
    assert samples.of(list[int]) == [1]
    assert samples.of(Literal["a", "b"]) == "a"
    assert samples.of(Size | None) is Size.SMALL
    assert samples.of(dict[str, bool]) == {"sample": True}
    with pytest.raises(NoSample):
        samples.of(Address)
