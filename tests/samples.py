"""Arguments for our functions, where not every value of a type will do."""

from __future__ import annotations

from runstore import InvocationOutcome, new_child_id, new_run_id
from runstore.testing import Samples
from runstore.testing._samples import SAMPLE_ID


def runstore_samples() -> Samples:
    """Return samples for the functions of the library."""
    samples = Samples()
    samples.register(InvocationOutcome, InvocationOutcome(input_tokens=2, cache_read_tokens=1))
    # Nothing is its own parent.
    samples.register_name("parent_run_id", new_run_id())
    samples.register_name("parent_invocation_id", new_child_id(SAMPLE_ID))
    samples.register_name("parent_snapshot_id", "another")
    return samples
