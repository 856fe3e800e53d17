"""W3 with the library: read a run's events as models, whole and page by page."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import runstore
from contestants import Sampler, Sizes, sampler
from preparation import filled_run


@contextmanager
def whole(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with runstore.connect(dsn) as conn:
        run_id = filled_run(conn, sizes.replayed)

        def work() -> None:
            page = runstore.read_run_events(conn, run_id, page_size=sizes.replayed)
            assert len(page.events) == sizes.replayed

        yield sampler(lambda: work, sizes.replayed)


@contextmanager
def pages(dsn: str, sizes: Sizes) -> Generator[Sampler]:
    with runstore.connect(dsn) as conn:
        run_id = filled_run(conn, sizes.replayed)

        def work() -> None:
            seen = 0
            for event in runstore.iter_run_events(conn, run_id, page_size=sizes.page):
                seen += event.seq > 0
            assert seen == sizes.replayed

        yield sampler(lambda: work, sizes.replayed)
