"""Whatever an input holds: it reads back equal, or it is refused and leaves nothing.

`scripts/fuzz-inputs` does the same 10,000 times for each table.
"""

from __future__ import annotations

import pytest

from connections import Caller
from hostile_inputs import TARGETS, Tally, Target, trial

CASES = 15


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_an_input_reads_back_equal_or_leaves_nothing(call: Caller, target: Target) -> None:
    total = Tally()
    trial(call, target, CASES, total)
    assert total.accepted + total.clashes + sum(total.refused.values()) >= CASES
