"""Every query of ours fits its function, its model and the schema."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

import runstore.testing
from runstore import _sql
from runstore.testing import RUNSTORE_VALUES, NamedQuery, Prover, find_queries, prover
from runstore.testing._discovery import queries_of
from samples import runstore_samples

if TYPE_CHECKING:
    # The plugin itself is left to pytest, which wants to be the first to import it.
    from runstore.testing.plugin import ProveQuery

pytest_plugins = ["runstore.testing.plugin"]

OWN = Path(runstore.testing.__file__).parent


@pytest.fixture(scope="module")
def query_prover(shared_owner_dsn: str) -> Iterator[Prover]:
    with (
        psycopg.connect(shared_owner_dsn, autocommit=True) as conn,
        prover(conn, schema="runstore", samples=runstore_samples(), values=RUNSTORE_VALUES) as made,
    ):
        yield made


@pytest.mark.parametrize("query", find_queries(_sql.directory("sql"), "runstore"), ids=str)
def test_every_query_fits_its_function_its_model_and_the_schema(
    query: NamedQuery, prove_query: ProveQuery
) -> None:
    prove_query(query)


@pytest.mark.parametrize(
    "query",
    [
        query
        for name in ("catalogue", "filling")
        for query in queries_of(OWN / f"{name}.sql", f"runstore.testing._{name}")
    ],
    ids=str,
)
def test_the_proof_keeps_its_own_rules(query: NamedQuery, prove_query: ProveQuery) -> None:
    prove_query(query)
