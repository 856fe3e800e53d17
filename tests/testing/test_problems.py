"""What is wrong with a query is told with its place."""

from __future__ import annotations

import pytest

from runstore.queries import Row
from runstore.testing import NamedQuery, Problem, Prover, Unproven
from shop import GET_NAME, Name, named, problems_of, reader, reasons


def test_what_fits_has_no_problem(shop_prover: Prover) -> None:
    assert reasons(shop_prover, GET_NAME, reader(Name, GET_NAME)) == []


def test_a_problem_names_file_query_column_and_reason(shop_prover: Prover) -> None:
    class Wrong(Row):
        name: int

    [problem] = problems_of(shop_prover, GET_NAME, reader(Wrong, GET_NAME))
    reason = "is text, which is read as str, and the field is int"
    assert problem == Problem("customers.sql", "get_customer", "name", reason)
    assert str(problem) == f"customers.sql: get_customer: name: {reason}"


def test_an_unproven_query_is_raised_with_all_that_is_wrong(shop_prover: Prover) -> None:
    class Wrong(Row):
        name: int
        age: int

    with pytest.raises(Unproven) as caught:
        shop_prover.prove(
            NamedQuery("a.sql", "get_customer", GET_NAME, reader(Wrong, GET_NAME).bind)
        )
    assert [problem.column for problem in caught.value.problems] == ["age", "name"]
    assert "a.sql: get_customer: age: " in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "SELECT nmae AS name FROM shop.customers WHERE id = %(id)s",
            'cannot be prepared: column "nmae" does not exist',
        ),
        (
            "SELECT name FROM shop.clients WHERE id = %(id)s",
            'cannot be prepared: relation "shop.clients" does not exist',
        ),
        ("SELECT name FORM shop.customers", 'cannot be prepared: syntax error at or near "shop"'),
        (
            "SELECT name FROM shop.customers WHERE %(id)s IS NULL OR name = 'a'",
            "cannot be prepared: could not determine data type of parameter %(id)s",
        ),
    ],
)
def test_what_the_schema_does_not_have(shop_prover: Prover, text: str, reason: str) -> None:
    sql = named(text)
    [found] = reasons(shop_prover, sql, reader(Name, sql))
    assert found.startswith(reason)


def test_a_statement_that_failed_leaves_the_prover_usable(shop_prover: Prover) -> None:
    broken = named("SELECT")
    assert reasons(shop_prover, broken, reader(Name, broken))
    assert reasons(shop_prover, GET_NAME, reader(Name, GET_NAME)) == []
