"""Runs of real agents, which are no part of the project: `RUNSTORE_RECORDED_RUNS` is their folder.

The conversations are tau-bench's (`historical_trajectories/gpt-4o-airline.json`, every fifth task),
the trajectory is one of SWE-agent's demonstrations (marshmallow-code__marshmallow-1867).
"""

import os
from pathlib import Path

import pytest

_FOLDER = os.environ.get("RUNSTORE_RECORDED_RUNS")

CONVERSATIONS = Path(_FOLDER or ".") / "tau_airline_conversations.json"
TRAJECTORY = Path(_FOLDER or ".") / "swe_agent_marshmallow_1867.traj"

recorded_by_agents = pytest.mark.skipif(
    _FOLDER is None, reason="RUNSTORE_RECORDED_RUNS names no folder of recorded runs"
)
