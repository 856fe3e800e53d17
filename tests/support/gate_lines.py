"""Who waits in a quota gate."""

from __future__ import annotations

import time
from typing import Any

from runstore import QuotaGate


def waiting(gate: QuotaGate) -> dict[Any, Any]:
    """Return the callers that wait, for each subject that somebody is at work on."""
    found: dict[Any, Any] = vars(gate)["_waiting"]
    return found


def line(gate: QuotaGate) -> int:
    return sum(map(len, waiting(gate).values()))


def wait_for_line(gate: QuotaGate, length: int) -> None:
    """Return once so many callers wait in a gate."""
    deadline = time.monotonic() + 10
    while line(gate) < length:
        assert time.monotonic() < deadline
        time.sleep(0.001)
