"""The command `runstore`, which the extra `runstore[cli]` completes."""

from __future__ import annotations

from importlib.util import find_spec

for name in ("click", "rich"):
    if find_spec(name) is None:
        raise SystemExit(f"the command runstore needs {name}: pip install 'runstore[cli]'")

from ._main import main  # noqa: E402

__all__ = ["main"]
