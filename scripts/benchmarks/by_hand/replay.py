"""W3 by hand: read a run's events as tuples, whole and page by page."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import psycopg

from contestants import Sampler, Sizes, sampler
from preparation import filled_run

WHOLE: Final = """
SELECT seq, type, payload, created_at FROM runstore.run_events
WHERE run_id = %s
ORDER BY seq
"""

PAGE: Final = """
SELECT seq, type, payload, created_at FROM runstore.run_events
WHERE run_id = %s AND seq > %s
ORDER BY seq
LIMIT %s
"""


@contextmanager
def whole(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        run_id = filled_run(conn, sizes.replayed)

        def work() -> None:
            assert len(conn.execute(WHOLE, (run_id,)).fetchall()) == sizes.replayed

        yield sampler(lambda: work, sizes.replayed)


@contextmanager
def pages(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        run_id = filled_run(conn, sizes.replayed)

        def work() -> None:
            seen = after = 0
            while rows := conn.execute(PAGE, (run_id, after, sizes.page)).fetchall():
                for row in rows:
                    seen += row[0] > 0
                after = rows[-1][0]
            assert seen == sizes.replayed

        yield sampler(lambda: work, sizes.replayed)
