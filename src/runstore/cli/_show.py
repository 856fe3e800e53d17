"""`runstore show`: a run with all that hangs off it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import click
from psycopg import Connection

from runstore.reports import Report, list_reports
from runstore.run_trees import get_run_tree

from ._arguments import MOST_ROWS, resolve_run, run_argument
from ._files import drawn, html_option, write_page
from ._session import Session, on_database
from ._terminal import stdout
from ._tree_table import render_tree


@click.command()
@run_argument
@click.option("--brief", is_flag=True, help="Phases and invocations only.")
@click.option("--full", is_flag=True, help="Show whole documents, however long.")
@click.option(
    "--max-rows",
    type=click.IntRange(1, MOST_ROWS),
    default=10_000,
    show_default=True,
    help="The oldest rows of each table, the newest reports, at most so many.",
)
@html_option
@on_database
def show(
    session: Session, run: str, *, brief: bool, full: bool, max_rows: int, html: Path | None
) -> None:
    """Show a run: phases, invocations, tool calls, decisions.

    RUN is an id, the beginning of one, or "latest". With --json one document, the whole
    tree and its reports.
    """
    with session.connect() as conn:
        run_id = resolve_run(conn, run)
        if html is not None:
            write_page(drawn().render_run_page(conn, run_id, max_rows=max_rows), html)
            return
        tree = get_run_tree(conn, run_id, max_rows=max_rows)
        reports = [*islice(_reports(conn, run_id), max_rows + 1)]
    if len(reports) > max_rows:
        reports.pop()
        tree = tree.model_copy(update={"truncated": [*tree.truncated, "reports"]})
    if session.json:
        session.answer({**dict(tree), "reports": reports})
    else:
        render_tree(tree, reports, stdout(), brief=brief, full=full)


def _reports(conn: Connection[Any], run_id: UUID) -> Iterator[Report]:
    cursor = None
    while True:
        page = list_reports(conn, run_id=run_id, cursor=cursor)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return
