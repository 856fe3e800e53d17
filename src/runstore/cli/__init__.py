"""The command `runstore`, which the extra `runstore[cli]` completes."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from ._statuses import Status

for name in ("click", "rich"):
    if find_spec(name) is None:
        sys.stderr.write(f"the command runstore needs {name}: pip install 'runstore[cli]'\n")
        raise SystemExit(Status.REFUSED)

from ._main import main  # noqa: E402

__all__ = ["main"]
