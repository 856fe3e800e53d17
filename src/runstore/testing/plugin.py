"""Fixtures with which pytest proves query files: `query_prover` and `prove_query`.

Name it in the top-level `conftest.py`, and give `query_prover` a database there:

    pytest_plugins = ["runstore.testing.plugin"]

It is not loaded by itself. A plugin that an installed package registers is imported in every run
of pytest in that environment, and this one would bring psycopg and pydantic with it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from runstore.testing import NamedQuery, Prover

ProveQuery = Callable[[NamedQuery], None]


@pytest.fixture(scope="module")
def query_prover() -> Prover:
    """Return what proves queries on a migrated database. Override it: `prover()` makes one.

    It locks the tables that it has filled until it ends, so that a prover for the whole session
    needs a database of its own.
    """
    raise pytest.UsageError(
        "override the fixture query_prover: yield what runstore.testing.prover() gives "
        "on a connection to a migrated database"
    )


@pytest.fixture
def prove_query(query_prover: Prover) -> ProveQuery:
    """Return a function that fails the test with all that is wrong with a query."""

    def prove(query: NamedQuery) -> None:
        problems = query_prover.problems(query)
        if problems:
            pytest.fail("\n".join(map(str, problems)), pytrace=False)

    return prove
