"""What holds for every function that answers a list page by page."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, LiteralString
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connections import Caller
from factories import (
    create_call,
    create_cta,
    create_invocation,
    create_run,
    create_sandbox,
    create_snapshot,
    create_step,
)
from runstore import (
    InvalidPayload,
    Page,
    list_agent_invocations,
    list_agent_steps,
    list_cta_events,
    list_open_tool_calls,
    list_runs,
    list_snapshots,
    list_stalled_runs,
    list_tool_calls,
    new_run_id,
)
from runstore._query import Query

COUNT = 6


@dataclass(frozen=True)
class Scope:
    """What one example's rows hang off: nothing else hangs there."""

    tenant_id: str
    run_id: UUID
    invocation_id: UUID


@dataclass(frozen=True)
class Listing:
    function: Query[..., Page[Any]]
    add: Callable[[Caller, Scope, int], Any]
    """Makes a row that is listed, and returns its id."""
    arguments: Callable[[Scope], dict[str, Any]]
    move: LiteralString | None = None
    """Puts the row of an id at a second; None: its order is not one of time."""
    newest_first: bool = False

    def __str__(self) -> str:
        return self.function.bind.__name__


def of_run(scope: Scope) -> dict[str, Any]:
    return {"run_id": scope.run_id}


def of_tenant(scope: Scope) -> dict[str, Any]:
    return {"tenant_id": scope.tenant_id}


def add_snapshot(call: Caller, scope: Scope, number: int) -> str:
    create_sandbox(call, scope.run_id)
    # Not in the order of the numbers.
    return create_snapshot(call, scope.run_id, id=f"snapshot-{number * 5 % 7}").id


LISTINGS = [
    Listing(
        list_runs,
        lambda call, scope, _: create_run(call, name="listed", tenant_id=scope.tenant_id).id,
        lambda scope: {"tenant_id": scope.tenant_id, "name": "listed"},
        newest_first=True,
    ),
    Listing(
        list_stalled_runs,
        lambda call, scope, _: create_run(call, tenant_id=scope.tenant_id).id,
        lambda scope: {"tenant_id": scope.tenant_id, "silent_for": timedelta(days=1)},
        "UPDATE runstore.run_heads SET heartbeat_at = to_timestamp(%s) WHERE run_id = %s",
    ),
    Listing(
        list_snapshots,
        add_snapshot,
        of_run,
        "UPDATE runstore.snapshots SET created_at = to_timestamp(%s) WHERE id = %s",
    ),
    Listing(
        list_agent_invocations,
        # The invocation of the scope would be in the list.
        lambda call, scope, number: (
            create_invocation(call, scope.run_id).id if number else scope.invocation_id
        ),
        of_run,
        "UPDATE runstore.agent_invocations SET created_at = to_timestamp(%s) WHERE id = %s",
    ),
    Listing(
        list_agent_steps,
        lambda call, scope, number: create_step(call, scope.invocation_id, position=number * 2).id,
        lambda scope: {"invocation_id": scope.invocation_id},
    ),
    Listing(
        list_tool_calls,
        lambda call, scope, _: create_call(call, scope.invocation_id).id,
        of_run,
        "UPDATE runstore.tool_calls SET created_at = to_timestamp(%s) WHERE id = %s",
    ),
    Listing(
        list_open_tool_calls,
        lambda call, scope, _: create_call(call, scope.invocation_id).id,
        of_run,
        "UPDATE runstore.tool_calls SET created_at = to_timestamp(%s) WHERE id = %s",
    ),
    Listing(
        list_cta_events,
        lambda call, scope, _: create_cta(call, scope.run_id).id,
        of_tenant,
        "UPDATE runstore.cta_events SET created_at = to_timestamp(%s) WHERE id = %s",
    ),
]
EVERY = pytest.mark.parametrize("listing", LISTINGS, ids=str)


def new_scope(call: Caller) -> Scope:
    tenant_id = f"tenant-{uuid4()}"
    run_id = create_run(call, tenant_id=tenant_id).id
    return Scope(tenant_id, run_id, create_invocation(call, run_id).id)


def encoded(document: bytes) -> str:
    return base64.urlsafe_b64encode(document).decode().rstrip("=")


@EVERY
@given(
    seconds=st.lists(st.integers(1, 3), min_size=COUNT, max_size=COUNT),
    page_size=st.integers(1, COUNT + 1),
)
# An example has rows and a tenant of its own, whatever the ones before it left.
@pytest.mark.owner
@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_pages_visit_every_row_once_and_in_order(
    call: Caller, listing: Listing, seconds: list[int], page_size: int
) -> None:
    scope = new_scope(call)
    ids = [listing.add(call, scope, number) for number in range(COUNT)]
    keys: list[Any] = ids
    if listing.move is not None:
        for second, id in zip(seconds, ids, strict=True):
            call.execute(listing.move, (second, id))
        keys = list(zip(seconds, ids, strict=True))
    order = sorted(range(COUNT), key=keys.__getitem__, reverse=listing.newest_first)
    if listing.function is list_agent_steps:
        order = list(range(COUNT))

    pages: list[Page[Any]] = []
    cursor = None
    while not pages or cursor is not None:
        pages.append(
            call(listing.function, **listing.arguments(scope), cursor=cursor, page_size=page_size)
        )
        cursor = pages[-1].next_cursor

    assert [row.id for page in pages for row in page.items] == [ids[place] for place in order]
    assert [len(page.items) for page in pages[:-1]] == [page_size] * (len(pages) - 1)
    assert pages[-1].items


@EVERY
def test_a_list_of_nothing_is_a_page(call: Caller, listing: Listing) -> None:
    new_scope(call)
    nowhere = Scope("nobody", new_run_id(), new_run_id())
    assert call(listing.function, **listing.arguments(nowhere)) == Page(items=[], next_cursor=None)


@EVERY
@pytest.mark.parametrize(
    "cursor",
    [
        pytest.param("", id="empty"),
        pytest.param("A", id="not base64"),
        pytest.param("ü", id="not ASCII"),
        pytest.param(encoded(b"\xff\xfe"), id="not UTF-8"),
        pytest.param(encoded(b"{"), id="not JSON"),
        pytest.param(encoded(b"7"), id="not a list"),
        pytest.param(encoded(b'{"created_at":1,"id":2}'), id="a mapping"),
        pytest.param(encoded(b"[]"), id="nothing"),
        pytest.param(encoded(b"[1,2,3]"), id="too much"),
        pytest.param(encoded(b"[null]"), id="null"),
        pytest.param(encoded(b"[null,null]"), id="nulls"),
        pytest.param(encoded(b'["secret"]'), id="a text"),
        pytest.param(encoded(b'["secret","secret"]'), id="texts"),
        pytest.param(encoded(b"[9223372036854775808]"), id="beyond a bigint"),
        pytest.param(encoded(b"[1e30]"), id="a float"),
    ],
)
def test_a_foreign_cursor_is_refused(call: Caller, listing: Listing, cursor: str) -> None:
    scope = new_scope(call)
    with pytest.raises(InvalidPayload) as raised:
        call(listing.function, **listing.arguments(scope), cursor=cursor)
    assert str(raised.value) == "cursor: is not one that this list gave"


@EVERY
@pytest.mark.parametrize("page_size", [0, -1, 10_001])
def test_a_page_has_from_1_to_10000_rows(call: Caller, listing: Listing, page_size: int) -> None:
    scope = new_scope(call)
    call(listing.function, **listing.arguments(scope), page_size=10_000)
    with pytest.raises(InvalidPayload) as raised:
        call(listing.function, **listing.arguments(scope), page_size=page_size)
    assert str(raised.value) == "page_size: must be from 1 to 10000"
