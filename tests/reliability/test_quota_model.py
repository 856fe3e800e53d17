"""Quotas, holds and the log against a plain model, in which windows are numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from connections import BlockingCaller, Caller
from quota_work import METERS, PERIODS
from runstore import (
    Conflict,
    InvalidTransition,
    NewQuota,
    NewReservation,
    NewUsage,
    NotFound,
    QuotaExceeded,
    QuotaGate,
    expire_reservations,
    get_reservation,
    get_usage,
    list_usage_logs,
    rebuild_usage_counters,
    record_usage,
    release_usage,
    remove_quota,
    renew_reservation,
    reserve_usage,
    set_quota,
    settle_usage,
    verify_usage,
)
from runstore.quotas import Period
from usage_factories import let_expire, pass_time

SUBJECTS = ("a", "b")

Key = tuple[str, str, str]
"""The subject, meter and period of a quota."""


@dataclass
class Quota:
    """A limit, and what was used and is held of it in each window, by the window's number."""

    limit: int
    hard: bool
    used: dict[int, int] = field(default_factory=dict[int, int])
    held: dict[int, int] = field(default_factory=dict[int, int])


@dataclass
class Hold:
    """A reservation, and the window that it is held against of each quota."""

    data: NewReservation
    windows: dict[int, int]
    status: str = "held"
    settled: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Entry:
    """What was used of a meter, and when."""

    subject: str
    meter: str
    amount: int
    time: int


amounts = st.dictionaries(st.sampled_from(METERS), st.integers(0, 15), min_size=1)
signed = st.dictionaries(st.sampled_from(METERS), st.integers(-9, 15), min_size=1)
subjects = st.sampled_from(SUBJECTS)


class QuotaMachine(RuleBasedStateMachine):
    """Sets, reserves, settles, logs and lets time pass; the database must agree with the model."""

    conn: psycopg.Connection[Any]
    call: Caller

    def __init__(self) -> None:
        super().__init__()
        self.time = 0
        self.gate = QuotaGate()
        self.quotas: dict[Key, Quota] = {}
        self.holds: dict[UUID, Hold] = {}
        self.records: list[NewUsage] = []
        self.log: list[Entry] = []
        # Those that are gone stay here, so that no two quotas are ever the same to a hold.
        self.kept: list[Quota] = []
        self.conn.execute(
            "TRUNCATE runstore.quotas, runstore.usage_counters, runstore.usage_reservations,"
            " runstore.usage_logs"
        )

    # The model

    def window(self, key: Key) -> int:
        """Return the number of a quota's present window; a total has but one."""
        return -1 if key[2] == "total" else self.time

    def touched(self, subject: str, meters: dict[str, int]) -> dict[Key, int]:
        return {
            key: meters[key[1]] for key in self.quotas if key[0] == subject and key[1] in meters
        }

    def fits(self, subject: str, meters: dict[str, int]) -> bool:
        return all(
            not quota.hard or amount <= max(quota.limit - self.taken(key), 0)
            for key, amount in self.touched(subject, meters).items()
            for quota in [self.quotas[key]]
        )

    def taken(self, key: Key) -> int:
        quota, window = self.quotas[key], self.window(key)
        return quota.used.get(window, 0) + quota.held.get(window, 0)

    def hold(self, data: NewReservation) -> None:
        windows: dict[int, int] = {}
        for key, amount in self.touched(data.subject_id, data.amounts).items():
            quota, window = self.quotas[key], self.window(key)
            quota.held[window] = quota.held.get(window, 0) + amount
            windows[id(quota)] = window
        self.holds[data.id] = Hold(data, windows)

    def free(self, hold: Hold) -> None:
        if hold.status != "held":
            return
        for key, amount in self.touched(hold.data.subject_id, hold.data.amounts).items():
            quota = self.quotas[key]
            if id(quota) in hold.windows:
                quota.held[hold.windows[id(quota)]] -= amount

    def use(self, subject: str, meters: dict[str, int], hold: Hold | None = None) -> None:
        windows = hold.windows if hold else {}
        for key, amount in self.touched(subject, meters).items():
            quota = self.quotas[key]
            window = windows.get(id(quota), self.window(key))
            quota.used[window] = quota.used.get(window, 0) + amount
        self.log += [Entry(subject, meter, amount, self.time) for meter, amount in meters.items()]

    def pick(self, data: st.DataObject) -> Hold:
        return self.holds[data.draw(st.sampled_from(sorted(self.holds)), "reservation")]

    # What may happen

    @rule(
        subject=subjects,
        meter=st.sampled_from(METERS),
        period=st.sampled_from(PERIODS),
        limit=st.integers(0, 40),
        hard=st.booleans(),
    )
    def set(self, subject: str, meter: str, period: Period, limit: int, *, hard: bool) -> None:
        data = NewQuota(
            subject_id=subject, meter=meter, period=period, limit_amount=limit, hard=hard
        )
        set_quota(self.conn, data)
        key = (subject, meter, period)
        if key in self.quotas:
            self.quotas[key].limit, self.quotas[key].hard = limit, hard
        else:
            carried = sum(
                entry.amount
                for entry in self.log
                if (entry.subject, entry.meter) == (subject, meter)
                and (period == "total" or entry.time == self.time)
            )
            self.quotas[key] = Quota(limit, hard, {self.window(key): carried})
            self.kept.append(self.quotas[key])

    @precondition(lambda self: self.quotas)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        key: Any = data.draw(st.sampled_from(sorted(self.quotas)), "quota")
        remove_quota(self.conn, *key)
        del self.quotas[key]
        with pytest.raises(NotFound):
            remove_quota(self.conn, *key)

    @rule(subject=subjects, meters=amounts, gated=st.booleans())
    def reserve(self, subject: str, meters: dict[str, int], *, gated: bool) -> None:
        reserve: Callable[..., Any] = self.gate.reserve_usage if gated else reserve_usage
        data = NewReservation(subject_id=subject, amounts=meters)
        if self.fits(subject, meters):
            assert reserve(self.conn, data).status == "held"
            self.hold(data)
        else:
            with pytest.raises(QuotaExceeded) as refusal:
                reserve(self.conn, data)
            error = refusal.value
            assert error.used + error.held + error.asked > error.limit
            key = (subject, error.meter, error.period)
            assert error.used + error.held == self.taken(key)
            assert (error.limit, error.asked) == (self.quotas[key].limit, meters[error.meter])
            with pytest.raises(NotFound):
                get_reservation(self.conn, data.id)

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), gated=st.booleans())
    def repeat_reserve(self, data: st.DataObject, *, gated: bool) -> None:
        hold = self.pick(data)
        reserve: Callable[..., Any] = self.gate.reserve_usage if gated else reserve_usage
        assert reserve(self.conn, hold.data).status == hold.status

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def reserve_other_amounts(self, data: st.DataObject) -> None:
        hold = self.pick(data)
        other = NewReservation(
            id=hold.data.id, subject_id=hold.data.subject_id, amounts={"tokens": 10**6}
        )
        with pytest.raises(Conflict):
            reserve_usage(self.conn, other)

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), meters=amounts)
    def settle(self, data: st.DataObject, meters: dict[str, int]) -> None:
        hold = self.pick(data)
        id = hold.data.id
        if hold.status in ("held", "expired"):
            rows = settle_usage(self.conn, id, meters)
            assert {row.meter: row.amount for row in rows} == meters
            self.free(hold)
            self.use(hold.data.subject_id, meters, hold)
            hold.status, hold.settled = "settled", meters
        elif hold.status == "released":
            with pytest.raises(InvalidTransition):
                settle_usage(self.conn, id, meters)
        elif meters != hold.settled:
            with pytest.raises(Conflict):
                settle_usage(self.conn, id, meters)
        if hold.status == "settled":
            again = settle_usage(self.conn, id, hold.settled)
            assert {row.meter: row.amount for row in again} == hold.settled

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        hold = self.pick(data)
        if hold.status == "settled":
            with pytest.raises(InvalidTransition):
                release_usage(self.conn, hold.data.id)
        else:
            assert release_usage(self.conn, hold.data.id).status == "released"
            self.free(hold)
            hold.status = "released"

    @precondition(lambda self: self.holds)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        hold = self.pick(data)
        if hold.status == "held":
            renew_reservation(self.conn, hold.data.id)
        else:
            with pytest.raises(InvalidTransition) as refusal:
                renew_reservation(self.conn, hold.data.id)
            assert refusal.value.status == hold.status

    @precondition(lambda self: self.holds)
    @rule(max_rows=st.integers(1, 3))
    def expire(self, max_rows: int) -> None:
        let_expire(self.call)
        held = {id for id, hold in self.holds.items() if hold.status == "held"}
        expired = {
            reservation.id for reservation in expire_reservations(self.conn, max_rows=max_rows)
        }
        assert expired <= held
        assert len(expired) == min(max_rows, len(held))
        for id in expired:
            self.free(self.holds[id])
            self.holds[id].status = "expired"

    @rule(subject=subjects, meters=signed, force=st.booleans())
    def record(self, subject: str, meters: dict[str, int], *, force: bool) -> None:
        data = NewUsage(subject_id=subject, amounts=meters)
        if force or self.fits(subject, meters):
            rows = record_usage(self.conn, data, force=force)
            assert {row.meter: row.amount for row in rows} == meters
            self.use(subject, meters)
            self.records.append(data)
        else:
            with pytest.raises(QuotaExceeded):
                record_usage(self.conn, data, force=force)

    @precondition(lambda self: self.records)
    @rule(data=st.data())
    def repeat_record(self, data: st.DataObject) -> None:
        usage = self.records[data.draw(st.integers(0, len(self.records) - 1), "record")]
        rows = record_usage(self.conn, usage)
        assert {row.meter: row.amount for row in rows} == usage.amounts

    @rule()
    def let_time_pass(self) -> None:
        pass_time(self.call)
        self.time += 1

    @precondition(lambda self: self.quotas)
    @rule(subject=subjects)
    def break_and_rebuild(self, subject: str) -> None:
        broken = self.conn.execute(
            "UPDATE runstore.usage_counters SET used = used + 1, held = held + 2"
            " WHERE subject_id = %s",
            (subject,),
        ).rowcount
        assert len(rebuild_usage_counters(self.conn, subject)) == broken

    # What must hold at all times

    @invariant()
    def usage_agrees(self) -> None:
        for subject in SUBJECTS:
            found = {
                (subject, usage.meter, usage.period): (
                    usage.limit_amount,
                    usage.hard,
                    usage.used,
                    usage.held,
                )
                for usage in get_usage(self.conn, subject)
            }
            assert found == {
                key: (
                    quota.limit,
                    quota.hard,
                    quota.used.get(self.window(key), 0),
                    quota.held.get(self.window(key), 0),
                )
                for key, quota in self.quotas.items()
                if key[0] == subject
            }

    @invariant()
    def old_windows_agree(self) -> None:
        found = self.conn.execute(
            "SELECT coalesce(sum(used), 0)::bigint, coalesce(sum(held), 0)::bigint"
            " FROM runstore.usage_counters"
        ).fetchone()
        assert found == (
            sum(sum(quota.used.values()) for quota in self.quotas.values()),
            sum(sum(quota.held.values()) for quota in self.quotas.values()),
        )

    @invariant()
    def counters_are_proven(self) -> None:
        assert verify_usage(self.conn).items == []

    def teardown(self) -> None:
        for subject in SUBJECTS:
            logged = sorted(
                (row.meter, row.amount) for row in list_usage_logs(self.conn, subject).items
            )
            assert logged == sorted(
                (entry.meter, entry.amount) for entry in self.log if entry.subject == subject
            )


@pytest.mark.owner
def test_quotas_agree_with_a_plain_model(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as conn:

        class Machine(QuotaMachine):
            pass

        Machine.conn = conn
        Machine.call = BlockingCaller(conn, in_transaction=False)
        run_state_machine_as_test(
            Machine, settings=settings(max_examples=40, stateful_step_count=40, deadline=None)
        )
