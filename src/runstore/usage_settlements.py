"""Usage settlements: how a reservation ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final
from uuid import UUID

from pydantic import Field

from . import _sql
from ._models import JsonObject, Key, ObjectGiven
from ._query import Rows, Statement, Steps, query
from ._statements import maker, many, one
from ._usage import Amounts, Costs, UsageContext
from .errors import Conflict, InvalidPayload, InvalidTransition
from .usage_logs import UsageLog, find_usage_logs, logged_as
from .usage_reservations import RESERVATION, Reservation, get_reservation

_SQL: Final = _sql.load("usage_settlements")
MAX_ROWS: Final = 10_000


class _Settlement(UsageContext):
    """What a reservation came to; what is None is as the reservation says."""

    entity: ClassVar[str] = "settlement"

    amounts: Amounts
    costs: Costs = Field(default_factory=dict)
    metadata: JsonObject | None = None

    def differences(self, row: Any) -> list[str]:
        """Name the fields in which what was logged differs; what was not given is left out."""
        return [
            name
            for name in super().differences(row)
            if name in ("amounts", "costs") or self.__dict__[name] is not None
        ]


@query
def settle_usage(
    reservation_id: UUID,
    amounts: Mapping[str, int],
    *,
    costs: Mapping[str, int | None] | None = None,
    provider: Key | None = None,
    model: Key | None = None,
    invocation_id: UUID | None = None,
    tool_call_id: UUID | None = None,
    metadata: ObjectGiven | None = None,
) -> Statement[list[UsageLog]]:
    """Log what a reservation came to, give back what it holds, and return the rows, by meter.

    In full: also more than was held, also on other meters, also after the hold expired. `amounts`
    has what was used, `costs` what that cost in 1e-9 USD; `price_usage` can say it. It is counted
    in the windows that it was held against. What else is given replaces what the reservation says.

    Idempotent by the reservation: a repeated call answers the rows of the first one, and raises
    `Conflict` when they say something else. Raises `NotFound`, and `InvalidTransition` when it was
    released. Locks the reservation, then quotas and counters, in the order of their key.
    """
    data = _Settlement(
        amounts=dict(amounts),
        costs=dict(costs or {}),
        provider=provider,
        model=model,
        invocation_id=invocation_id,
        tool_call_id=tool_call_id,
        metadata=metadata,
    )
    parameters = data.parameters() | {"reservation_id": reservation_id}
    make = maker(UsageLog)

    def read(rows: Rows) -> list[UsageLog]:
        return [make(row) for row in rows]

    def undecided() -> Steps[list[UsageLog]]:
        reservation = yield from get_reservation.bind(reservation_id)
        if reservation.status == "settled":
            return (yield from _repeated(data, reservation_id))
        if reservation.status == "released":
            raise InvalidTransition(RESERVATION, reservation_id, reservation.status)
        # It has been made since.
        return (yield from attempt())

    def attempt() -> Statement[list[UsageLog]]:
        return Statement(_SQL["settle_usage"], parameters, read, undecided)

    return attempt()


def _repeated(data: _Settlement, reservation_id: UUID) -> Steps[list[UsageLog]]:
    rows = yield from find_usage_logs.bind(reservation_id)
    differences = data.differences(logged_as(rows))
    if differences:
        raise Conflict(
            f"{RESERVATION} {reservation_id} is settled with another {', '.join(differences)}"
        )
    return rows


@query
def release_usage(reservation_id: UUID) -> Statement[Reservation]:
    """Give back a hold of which nothing was used, and return its reservation.

    Only where the work was never begun: work that was cancelled is settled with what it used.
    Idempotent. Raises `NotFound`, and `InvalidTransition` when it is settled. Locks the
    reservation, then quotas and counters, in the order of their key.
    """

    def absent() -> Steps[Reservation]:
        reservation = yield from get_reservation.bind(reservation_id)
        if reservation.status != "released":
            raise InvalidTransition(RESERVATION, reservation_id, reservation.status)
        return reservation

    parameters = {"reservation_id": reservation_id}
    return one(Reservation, _SQL["release_usage"], parameters, absent=absent)


@query
def expire_reservations(*, max_rows: int = 100) -> Statement[list[Reservation]]:
    """Give back holds that are overdue, of every tenant, and return their reservations.

    At most `max_rows`, those first that expired first: repeat it until it returns none. Any
    number of processes may do so at once; each hold is given back once, and one that is being
    settled, released or renewed at this moment is left to that. It can still be settled after.
    """
    if not 1 <= max_rows <= MAX_ROWS:
        raise InvalidPayload("max_rows", f"must be from 1 to {MAX_ROWS}")
    return many(Reservation, _SQL["expire_reservations"], {"max_rows": max_rows}, prepare=False)
