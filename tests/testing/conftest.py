"""The schema `shop`, in a transaction that is rolled back, and a prover of queries on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from runstore.testing import Prover, prover
from shop import SCHEMA


@pytest.fixture(scope="module")
def shop(shared_owner_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with (
        psycopg.connect(shared_owner_dsn, autocommit=True) as conn,
        conn.transaction(force_rollback=True),
    ):
        conn.execute(SCHEMA.encode())
        yield conn


@pytest.fixture(scope="module")
def shop_prover(shop: psycopg.Connection[Any]) -> Iterator[Prover]:
    with prover(shop, schema="shop", rows=50) as made:
        yield made
