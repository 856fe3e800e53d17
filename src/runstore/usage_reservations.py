"""Usage reservations: holds on what a subject is about to use."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Final, Literal
from uuid import UUID

from pydantic import Field, JsonValue

from . import _sql
from ._models import Row
from ._plain import Known, Plain
from ._query import Rows, Statement, Steps, query, reads
from ._statements import get, maker, refuse_differences, transition
from ._usage import Amounts, NewUsageInput
from .errors import Conflict, NotFound, RunstoreError
from .usage_counters import ExceededQuota, passing_over, until_decided

_SQL: Final = _sql.load("usage_reservations")
RESERVATION: Final = "usage reservation"
pass_over_changes: Final = passing_over("usage_reservations_pkey")

ReservationStatus = Literal["held", "settled", "released", "expired"]

_NO_TIME: Final = timedelta()
_LONGEST_HOLD: Final = timedelta(days=366)

Hold = Annotated[timedelta, Field(gt=_NO_TIME, le=_LONGEST_HOLD)]
"""How long a hold lasts from now."""


def is_hold(value: object) -> bool:
    """Say that a hold may last so long."""
    return type(value) is timedelta and _NO_TIME < value <= _LONGEST_HOLD


class Reservation(Row):
    """A hold of amounts, by meter, in the meters' own units.

    `expired` says that the hold was given back; it may still be settled. `settled` (what was used
    is logged) and `released` (nothing was) are final.
    """

    id: UUID
    tenant_id: str
    subject_id: str
    amounts: dict[str, int]
    status: ReservationStatus
    run_id: UUID | None
    invocation_id: UUID | None
    tool_call_id: UUID | None
    provider: str | None
    model: str | None
    metadata: dict[str, JsonValue]
    created_at: datetime
    expires_at: datetime
    finished_at: datetime | None


class NewReservation(NewUsageInput):
    """What a subject is about to use, at most, and for how long it is to be held for it.

    The amounts are the caller's estimate; what is settled later may be more, and is logged in
    full. `hold_for` should be longer than the work, or renewed while it goes on.
    """

    entity: ClassVar[str] = RESERVATION
    changing_fields: ClassVar[frozenset[str]] = frozenset({"hold_for"})
    plain_types: ClassVar[Known] = (
        *NewUsageInput.plain_types,
        (Hold, Plain("is_hold({v})", functions=(is_hold,))),
    )

    amounts: Amounts
    """How much of each meter is to be held, at most, in the meter's own unit."""
    hold_for: Hold = timedelta(minutes=10)
    """For how long; a hold that is neither settled nor renewed by then expires."""


class Grant(Row):
    """What the database adds to a reservation that it holds."""

    tenant_id: str
    metadata: dict[str, JsonValue]
    created_at: datetime
    expires_at: datetime


def granted(data: NewReservation, grant: tuple[Any, ...]) -> Reservation:
    """Make the reservation of its input and its `Grant`."""
    tenant_id, metadata, created_at, expires_at = grant
    asked = data.__dict__
    return _make_reservation(
        (
            asked["id"],
            tenant_id,
            asked["subject_id"],
            asked["amounts"],
            "held",
            asked["run_id"],
            asked["invocation_id"],
            asked["tool_call_id"],
            asked["provider"],
            asked["model"],
            metadata,
            created_at,
            expires_at,
            None,
        )
    )


_make_reservation: Final = maker(Reservation)


def _decided(data: NewReservation, rows: Rows) -> Reservation:
    """Return the reservation that a statement has held, or raise what it found in its way."""
    [row] = rows
    if row[0] is None:
        raise maker(ExceededQuota, after=4)(row).error()
    return granted(data, row[:4])


@query
@reads(Grant | None, ExceededQuota | None)
def reserve_usage(data: NewReservation) -> Statement[Reservation]:
    """Hold amounts against every quota that the subject has on their meters, all or nothing.

    One statement, in which used and held never pass a hard limit, whatever the number of
    callers; a soft one may be passed, and a meter without a quota is unlimited. Where a window
    is new and the subject has several quotas, two statements more make their counters. Raises
    `QuotaExceeded`, of several quotas for the one that resets last; nothing is held then. A quota
    that others fill meanwhile is found by a second statement.

    Idempotent by the id of `data`: a repeated call answers the reservation as it is by now, also
    when it has ended or the quota is exceeded since. Raises `Conflict` when it is another one.
    Locks the counters that it changes, in the order of their key; commit soon.
    """

    def refused(error: RunstoreError) -> Steps[Reservation]:
        yield from pass_over_changes(error)
        return (yield from decide(data))

    return Statement(
        _SQL["reserve_usage"],
        data.parameters(),
        lambda rows: _decided(data, rows),
        lambda: decide(data),
        refused,
    )


def decide(data: NewReservation) -> Steps[Reservation]:
    """Take the steps that follow an attempt to reserve which held nothing."""
    parameters = data.parameters()

    def attempt() -> Statement[Reservation | None]:
        return Statement(
            _SQL["reserve_usage"],
            parameters,
            lambda rows: _decided(data, rows) if rows else None,
            refused=pass_over_changes,
        )

    return (
        yield from until_decided(
            data, data.amounts, attempt=attempt, repeated=lambda: _repeated(data)
        )
    )


def _repeated(data: NewReservation) -> Steps[Reservation]:
    try:
        reservation = yield from get_reservation.bind(data.id)
    except NotFound:
        raise Conflict(f"{RESERVATION} {data.id} has the id of an entry of the log") from None
    refuse_differences(data, reservation)
    return reservation


@query
def get_reservation(reservation_id: UUID) -> Statement[Reservation]:
    """Return a reservation. Raises `NotFound`."""
    parameters = {"reservation_id": reservation_id}
    return get(Reservation, _SQL["get_reservation"], RESERVATION, reservation_id, parameters)


@query
def renew_reservation(
    reservation_id: UUID, *, hold_for: Hold = timedelta(minutes=10)
) -> Statement[Reservation]:
    """Let an open hold expire `hold_for` from now, whenever it would have.

    For long streams: every third of `hold_for` by the clock, not by what arrives. Raises
    `NotFound`, or `InvalidTransition` when it has ended; one that expired can still be settled.
    """
    return transition(
        Reservation,
        _SQL["renew_reservation"],
        {"reservation_id": reservation_id, "hold_for": hold_for},
        RESERVATION,
        lambda: get_reservation.bind(reservation_id),
    )
