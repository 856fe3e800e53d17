"""A database that the migrations made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from runstore import embedded

MIGRATIONS = Path(__file__).parents[2] / "migrations"


@contextmanager
def migrated_database(dsn: str | None) -> Generator[str]:
    """Yield this DSN, or that of a migrated database on a server that ends with the block."""
    if dsn is not None:
        yield dsn
        return
    with embedded.throwaway_server() as server:
        command = [sys.executable, "-m", "yoyo", "apply", "--batch", "--no-config-file"]
        url = server.yoyo_url(server.maintenance_dbname)
        subprocess.run([*command, "--database", url, str(MIGRATIONS)], check=True, process_group=0)
        yield server.dsn(server.maintenance_dbname)
