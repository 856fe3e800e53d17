from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runstore import InvalidPayload, new_child_id, new_run_id, run_of
from runstore.ids import new_lone_id

pytestmark = pytest.mark.once

TICKS = 1 << 26
IDS = st.uuids() | st.integers(0, 2**128 - 1).map(lambda number: UUID(int=number))


def milliseconds(id: UUID) -> int:
    return id.int >> 80


def tick(id: UUID) -> int:
    """Return the 26 bits that stand around the variant, without it."""
    return (id.int >> 64 & 0xFFF) << 14 | id.int >> 48 & 0x3FFF


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], int]:
    """Sets the machine's clock so many milliseconds after the newest id, and returns its time."""

    def set_clock(ahead: int) -> int:
        now = milliseconds(new_run_id()) + ahead
        monkeypatch.setattr(time, "time_ns", lambda: now * 1_000_000 + 999_999)
        return now

    return set_clock


# new_run_id


def test_a_run_id_is_a_version_7_uuid_that_ends_in_zeros() -> None:
    for id in (new_run_id() for _ in range(1000)):
        assert (id.version, id.variant) == (7, RFC_4122)
        assert id.int & (1 << 48) - 1 == 0


def test_a_run_id_starts_with_its_time(clock: Callable[[int], int]) -> None:
    assert milliseconds(new_run_id()) >= time.time_ns() // 1_000_000 - 1000
    now = clock(3)
    assert milliseconds(new_run_id()) == now


def test_a_new_millisecond_starts_at_a_random_tick(clock: Callable[[int], int]) -> None:
    ticks: set[int] = set()
    for _ in range(100):
        clock(1)
        ticks.add(tick(new_run_id()))
    # Of 100 numbers of 26 bits, no two are equal with a probability of 0.9999.
    assert len(ticks) > 95
    assert max(ticks) > TICKS // 2 > min(ticks)


@pytest.mark.parametrize("ahead", [1, 0, -10_000])
def test_ids_ascend_while_the_clock_stands_or_is_behind(
    clock: Callable[[int], int], ahead: int
) -> None:
    before = new_run_id()
    clock(ahead)
    ids = [before, *(new_run_id() for _ in range(10_000))]
    assert all(one < other for one, other in itertools.pairwise(ids))


def test_ticks_overflow_into_the_next_millisecond(
    clock: Callable[[int], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runstore.ids._chance.next", lambda: 2**48 - 1)
    now = clock(2)
    first, second = new_run_id(), new_run_id()
    assert (milliseconds(first), tick(first)) == (now, TICKS - 1)
    assert (milliseconds(second), tick(second)) == (now + 1, 0)
    assert (second.version, second.variant) == (7, RFC_4122)


def test_threads_never_get_one_id_twice(clock: Callable[[int], int]) -> None:
    clock(1)
    together = threading.Barrier(8)

    def take(_worker: int) -> list[UUID]:
        together.wait()
        return [new_run_id() for _ in range(5000)]

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(take, range(8)))
    assert all(ids == sorted(ids) for ids in taken)
    assert len({id for ids in taken for id in ids}) == 40_000


# new_lone_id


def test_an_id_without_a_run_is_a_version_7_uuid_of_its_time(clock: Callable[[int], int]) -> None:
    now = clock(3)
    ids = [new_lone_id() for _ in range(1000)]
    assert {(id.version, id.variant, milliseconds(id)) for id in ids} == {(7, RFC_4122, now)}
    random_bits = {(id.int >> 64 & 0xFFF, id.int & (1 << 62) - 1) for id in ids}
    assert len(random_bits) == 1000
    ones = [sum(high >> bit & 1 for high, _ in random_bits) for bit in range(12)]
    ones += [sum(low >> bit & 1 for _, low in random_bits) for bit in range(62)]
    # Of 1000 fair coins, fewer than 350 or more than 650 come up once in 10**20 times.
    assert 350 < min(ones) <= max(ones) < 650


# A process that forks, in a process of its own


def answer(script: str) -> list[str]:
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return done.stdout.split()


def test_a_forked_child_does_not_repeat_its_parents_ids() -> None:
    ids = answer(
        """
import os, time
from runstore import new_run_id
now = time.time_ns()
time.time_ns = lambda: now
for _ in range(20):
    new_run_id()
    if pid := os.fork():
        os.waitpid(pid, 0)
    ids = [new_run_id() for _ in range(50)]
    os.write(1, "".join(f"{id}\\n" for id in ids).encode())
    if not pid:
        os._exit(0)
"""
    )
    assert len(ids) == 20 * 2 * 50
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("take", ["new_child_id(run_id)", "new_lone_id()"])
def test_a_forked_child_does_not_repeat_its_parents_random_bits(take: str) -> None:
    ids = answer(
        f"""
import os, time
from runstore import new_child_id, new_run_id
from runstore.ids import new_lone_id
now = time.time_ns()
time.time_ns = lambda: now
run_id = new_run_id()
{take}
pid = os.fork()
if pid:
    os.waitpid(pid, 0)
ids = [{take} for _ in range(50)]
os.write(1, "".join(f"{{id}}\\n" for id in ids).encode())
if not pid:
    os._exit(0)
"""
    )
    assert len(set(ids)) == len(ids) == 2 * 50


def test_a_child_that_was_forked_while_a_thread_took_an_id_takes_ids() -> None:
    children = answer(
        """
import os, signal, threading, warnings
from runstore import new_run_id
warnings.simplefilter("ignore", DeprecationWarning)
def take():
    while True:
        new_run_id()
for _ in range(3):
    threading.Thread(target=take, daemon=True).start()
for _ in range(100):
    if pid := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    else:
        signal.alarm(5)
        new_run_id()
        os._exit(0)
os._exit(0)
"""
    )
    assert children == ["0"] * 100


# new_child_id, run_of


@given(IDS)
def test_a_child_shares_the_first_80_bits(id: UUID) -> None:
    child = new_child_id(id)
    assert child.int >> 48 == id.int >> 48
    assert run_of(child) == run_of(id)


def test_a_childs_id_is_a_version_7_uuid_of_its_own() -> None:
    run = new_run_id()
    children = [new_child_id(run) for _ in range(1000)]
    assert len({*children, run}) == 1001
    assert {(child.version, child.variant) for child in children} == {(7, RFC_4122)}
    assert {run_of(child) for child in children} == {run}


def test_a_child_of_a_child_is_its_sibling() -> None:
    run = new_run_id()
    assert run_of(new_child_id(new_child_id(run))) == run


def test_a_family_shows_in_print() -> None:
    run = new_run_id()
    child = new_child_id(run)
    assert str(run).rpartition("-")[0] == str(child).rpartition("-")[0]
    assert str(run).endswith("-000000000000")


@given(IDS)
def test_a_run_is_its_own_run(id: UUID) -> None:
    run = run_of(id)
    assert run.int == id.int >> 48 << 48
    assert run_of(run) == run


@pytest.mark.parametrize("id", ["01890000-0000-7000-8000-000000000000", b"\0" * 16, 7, None])
def test_what_is_no_uuid_has_no_run(id: Any) -> None:
    for function in (run_of, new_child_id):
        with pytest.raises(InvalidPayload) as raised:
            function(id)
        assert str(raised.value) == f"id: must be a UUID, not {type(id).__name__}"
