"""Queries and the functions that send them are paired by their names."""

from __future__ import annotations

import importlib
import itertools
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from runstore.testing import NamedQuery, find_queries

NUMBERS = itertools.count()

SQL = """
-- Tickets: what people ask.

-- name: get_ticket :one
-- Read a ticket.
SELECT 1;

-- name: list_tickets :many
-- List the tickets.
SELECT 2;
"""

MODULE = """
from __future__ import annotations

from pathlib import Path

from runstore.queries import Row, Statement, Steps, many, one, operation, parse, query

_SQL = parse(Path(__file__).parents[1] / "sql" / "tickets.sql")


class Ticket(Row):
    id: int


@query
def get_ticket() -> Statement[Ticket]:
    return one(Ticket, _SQL["get_ticket"], {}, absent=lambda: None)


@query
def list_tickets() -> Statement[list[Ticket]]:
    return many(Ticket, _SQL["list_tickets"], {})
"""

Find = Callable[..., list[NamedQuery]]


@pytest.fixture
def find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Find:
    """Writes a query file and a module of a new package, and finds what is in them."""
    package = f"shop_{next(NUMBERS)}"
    (tmp_path / "sql").mkdir()
    (tmp_path / package).mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def find(sql: str = SQL, module: str | None = MODULE) -> list[NamedQuery]:
        (tmp_path / "sql" / "tickets.sql").write_text(textwrap.dedent(sql))
        if module is not None:
            (tmp_path / package / "tickets.py").write_text(textwrap.dedent(module))
        importlib.invalidate_caches()
        return [
            NamedQuery(
                found.file,
                found.name,
                found.sql,
                found.define,
                tuple(fault.replace(package, "shop") for fault in found.faults),
            )
            for found in find_queries(tmp_path / "sql", package)
        ]

    return find


def faults(found: list[NamedQuery]) -> dict[str, tuple[str, ...]]:
    return {str(query): query.faults for query in found if query.faults}


def test_each_query_has_its_function(find: Find) -> None:
    found = find()
    assert [str(query) for query in found] == [
        "tickets.sql: get_ticket",
        "tickets.sql: list_tickets",
    ]
    assert all(query.sql and query.define and not query.faults for query in found)


def test_a_query_without_a_function(find: Find) -> None:
    found = find(SQL + "\n-- name: count_tickets :value\n-- Count.\nSELECT 3;\n")
    assert faults(found) == {
        "tickets.sql: count_tickets": ("no function of shop.tickets has its name",)
    }
    assert found[-1].define is None


def test_a_function_without_a_query(find: Find) -> None:
    found = find(
        module=MODULE + '\n\n@query\ndef find_ticket() -> Statement[Ticket]:\n    return "no"\n'
    )
    assert faults(found) == {
        "tickets.sql: find_ticket": ("shop.tickets.find_ticket has no query of its name",)
    }
    assert found[-1].sql is None


def test_a_file_without_a_module(find: Find) -> None:
    assert set(faults(find(module=None))) == {
        "tickets.sql: get_ticket",
        "tickets.sql: list_tickets",
    }


def test_a_module_that_needs_what_is_not_installed_is_no_missing_module(find: Find) -> None:
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        find(module="import nothing_of_this_name")


def test_another_order(find: Find) -> None:
    get, both = MODULE.index("@query"), MODULE.rindex("@query")
    found = find(module=MODULE[:get] + MODULE[both:] + "\n\n" + MODULE[get:both])
    assert faults(found) == {
        "tickets.sql: get_ticket": (
            "stands in another place of its file than its function in shop.tickets",
        )
    }


def test_a_private_function_has_its_query(find: Find) -> None:
    assert not faults(find(module=MODULE.replace("def list_tickets", "def _list_tickets")))


def test_a_function_of_another_module_does_not_count(find: Find) -> None:
    assert not faults(find(module=f"{MODULE}\nfrom runstore import get_run, transaction\n"))


OPERATION = """

@operation
def close_tickets() -> Steps[int]:
    yield from list_tickets.bind()
    return 1
"""


def test_an_operation_sends_what_others_define(find: Find) -> None:
    assert not faults(find(module=MODULE + OPERATION))


def test_an_operation_is_not_the_function_of_a_query(find: Find) -> None:
    found = find(SQL + "\n-- name: close_tickets :one\n-- Close.\nSELECT 3;\n", MODULE + OPERATION)
    assert faults(found) == {
        "tickets.sql: close_tickets": (
            (
                "shop.tickets.close_tickets sends several statements: "
                "this one needs a function of its own, a @query named _close_tickets"
            ),
        )
    }


def test_a_directory_without_queries(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no \.sql file"):
        find_queries(tmp_path, "runstore")
