"""Tenants: whose rows a transaction writes, lists and, with row-level security, can see at all."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final, overload

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.pq import TransactionStatus

from . import _sql
from ._query import Statement, blocking, query
from .errors import InvalidPayload

_SQL: Final = _sql.load("tenants")

# As the columns tenant_id have it.
_MOST_CHARACTERS: Final = 255


@query
def _set_tenant(tenant_id: str) -> Statement[str]:
    return Statement(_SQL["set_tenant"], {"tenant_id": tenant_id}, lambda rows: rows[0][0])


@overload
def set_tenant(conn: Connection[Any], tenant_id: str) -> None: ...
@overload
def set_tenant(conn: AsyncConnection[Any], tenant_id: str) -> Coroutine[Any, Any, None]: ...
def set_tenant(
    conn: Connection[Any] | AsyncConnection[Any], tenant_id: str
) -> Coroutine[Any, Any, None] | None:
    """Say whose rows the rest of this transaction is about.

    New rows are this tenant's, and lists are of its rows, wherever a call does not name another
    one. With row-level security (`migrations/tenants`) no other tenant's rows exist for the
    transaction. It ends with the transaction, and with the savepoint in which it was said if that
    is rolled back; a transaction that says nothing is the tenant `default`'s.

    Raises `psycopg.ProgrammingError` on an autocommit connection outside a transaction, where it
    would be forgotten before the next statement. Raises `InvalidPayload` for an empty name or one
    of more than 255 characters.
    """
    conn = conn if isinstance(conn, AsyncConnection) else blocking(conn)
    if conn.autocommit and conn.info.transaction_status is TransactionStatus.IDLE:
        raise psycopg.ProgrammingError(
            "set_tenant needs a transaction, with which it ends: call it in transaction(conn)"
        )
    if not 1 <= len(tenant_id) <= _MOST_CHARACTERS:
        raise InvalidPayload("tenant_id", f"has not 1 to {_MOST_CHARACTERS} characters")
    if isinstance(conn, AsyncConnection):
        return _set_async(conn, tenant_id)
    _set_tenant(conn, tenant_id)
    return None


async def _set_async(conn: AsyncConnection[Any], tenant_id: str) -> None:
    await _set_tenant(conn, tenant_id)
