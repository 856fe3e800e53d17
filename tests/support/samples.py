"""Arguments for our functions, where not every value of a type will do."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from runstore import InvocationOutcome
from runstore.testing import Samples

# The same in every run: what is written from the samples is compared with what was written before.
PARENT_RUN_ID: Final = UUID("01997000-0000-7001-8000-000000000000")
PARENT_INVOCATION_ID: Final = UUID("01997000-0000-7000-8000-000000000001")


def runstore_samples() -> Samples:
    """Return samples for the functions of the library."""
    samples = Samples()
    samples.register(InvocationOutcome, InvocationOutcome(input_tokens=2, cache_read_tokens=1))
    # Nothing is its own parent.
    samples.register_name("parent_run_id", PARENT_RUN_ID)
    samples.register_name("parent_invocation_id", PARENT_INVOCATION_ID)
    samples.register_name("parent_snapshot_id", "another")
    return samples
