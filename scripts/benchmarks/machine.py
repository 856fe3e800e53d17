"""The class of the machine: what a reader needs to compare figures, and no name of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from psycopg import Connection

PACKAGES = ("psycopg", "psycopg-binary", "psycopg-pool", "pydantic", "orjson")


def describe(conn: Connection[Any]) -> dict[str, Any]:
    """Return what was measured with: the machine's class, the server, Python and packages."""
    row = conn.execute("SHOW server_version").fetchone()
    assert row
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "day": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "memory_gib": round(memory / 2**30),
        "postgresql": row[0].split()[0],
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def line(machine: Mapping[str, Any]) -> str:
    """Return a description as a sentence."""
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return (
        f"Measured on {machine['day']}: {machine['cores']} cores ({machine['architecture']}), "
        f"{machine['memory_gib']} GiB of memory, PostgreSQL {machine['postgresql']}, "
        f"Python {machine['python']}, {packages}."
    )
