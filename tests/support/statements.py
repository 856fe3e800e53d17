"""Which statements the library sends."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest

from runstore import _query


@contextmanager
def statements() -> Generator[list[str]]:
    """Collect the names of the queries that calls in the block send, in their order."""
    names: list[str] = []
    originals = {name: vars(_query)[name] for name in ("_send", "_send_async")}

    def collecting(original: Any) -> Any:
        def send(conn: Any, statement: Any) -> Any:
            names.append(statement.sql.name)
            return original(conn, statement)

        return send

    with pytest.MonkeyPatch.context() as patch:
        for name, original in originals.items():
            patch.setattr(_query, name, collecting(original))
        yield names
