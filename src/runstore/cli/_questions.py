"""`runstore pending` and `runstore answer`: questions that runs ask a person."""

from __future__ import annotations

import getpass
import sys
from typing import Any
from uuid import UUID

import click
import orjson
from psycopg import Connection, IsolationLevel
from pydantic import JsonValue
from rich.table import Table
from rich.text import Text

from runstore._models import ENDED, RunStatus
from runstore.cta_events import (
    CtaEvent,
    cancel_cta_event,
    complete_cta_event,
    get_cta_event,
    list_cta_events,
)
from runstore.errors import InvalidTransition
from runstore.pipelines import pipeline
from runstore.runs import get_run

from ._session import Session, on_database
from ._terminal import mark, stderr, stdout
from ._words import ago, gist, one_line, short, until


@click.command()
@click.option(
    "-n", "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many."
)
@click.option("--cursor", help="Go on where an earlier list ended: its next_cursor.")
@on_database
def pending(session: Session, *, limit: int, cursor: str | None) -> None:
    """List the open questions of all runs, oldest first.

    One stays open when its run ends without it; `answer --cancel` withdraws it. With --json one
    document, {"questions": [...], "next_cursor": ...}; a question has its `run_status` too.
    """
    with session.connect() as conn:
        conn.isolation_level = IsolationLevel.REPEATABLE_READ
        # One snapshot for both: a run may be deleted after its question is read.
        with conn.transaction():
            page = list_cta_events(conn, cursor=cursor, page_size=limit)
            statuses = _run_statuses(conn, page.items)
    if session.json:
        questions = [
            {**dict(question), "run_status": statuses[question.run_id]} for question in page.items
        ]
        session.answer({"questions": questions, "next_cursor": page.next_cursor})
        return
    console = stdout()
    if not page.items:
        console.print("No question is open.")
        return
    for question in page.items:
        console.print(_heading(question), soft_wrap=True)
        console.print(_asked(question, statuses[question.run_id]))
    if page.next_cursor:
        told = f"There are younger ones: --cursor {page.next_cursor}"
        console.print(told, style="dim", soft_wrap=True)


def _run_statuses(conn: Connection[Any], questions: list[CtaEvent]) -> dict[UUID, RunStatus]:
    runs = dict.fromkeys(question.run_id for question in questions)
    with pipeline(conn) as sent:
        replies = [sent.send(get_run, run_id) for run_id in runs]
    return {reply.value.id: reply.value.status for reply in replies}


def _heading(question: CtaEvent) -> Text:
    text = Text(str(question.id), "cyan").append(f"  {one_line(question.kind)}", "bold yellow")
    text.append(f"  asked {ago(question.created_at)}", "dim")
    if question.expires_at is not None:
        due = until(question.expires_at)
        text.append(f", due {due}" if due.startswith("in ") else f", {due}", "dim")
    return text


def _asked(question: CtaEvent, run_status: RunStatus) -> Table:
    table = Table.grid(padding=(0, 0, 0, 2), pad_edge=True)
    where = Text(short(question.run_id))
    if question.phase:
        where.append(f" {one_line(question.phase)}")
    if run_status in ENDED:
        where.append("  ").append(mark(run_status)).append(": nobody waits any more", "dim")
    table.add_row(Text("run", "dim"), where)
    table.add_row(Text("asks", "dim"), gist(question.request) or Text("nothing", "dim"))
    return table


@click.command()
@click.argument("cta", metavar="QUESTION", type=click.UUID)
@click.argument("response", required=False)
@click.option("--data", metavar="JSON", help="Answer with this JSON, instead of a text.")
@click.option("--cancel", is_flag=True, help="Withdraw the question instead.")
@click.option("--by", metavar="NAME", help="Who answers.  [default: the user of this computer]")
@on_database
def answer(
    session: Session,
    cta: UUID,
    *,
    response: str | None,
    data: str | None,
    cancel: bool,
    by: str | None,
) -> None:
    """Answer an open question.

    QUESTION is its id, which `pending` tells; RESPONSE is a text. Without one it is asked for.
    """
    if (response is not None) + (data is not None) + cancel > 1:
        raise click.UsageError("Give one of RESPONSE, --data and --cancel.")
    value = _json(data) if data is not None else response
    asks = response is None and data is None and not cancel
    if asks and not sys.stdin.isatty():
        raise click.UsageError("There is no RESPONSE, and nobody at a terminal to ask for one.")
    resolved_by = by or _user()
    with session.connect() as conn:
        if cancel:
            done = cancel_cta_event(conn, cta, resolved_by=resolved_by)
        else:
            if asks:
                value = _ask(conn, cta)
            done = complete_cta_event(conn, cta, value, resolved_by=resolved_by)
        run_status = get_run(conn, done.run_id).status
    if session.json:
        status = "cancelled" if cancel else "completed"
        answer = {**dict(done), "status": status, "run_status": run_status}
        session.answer(answer)
    elif cancel:
        click.echo("The question is withdrawn.")
    else:
        late = f" Its run is {run_status}: nobody waits any more." if run_status in ENDED else ""
        click.echo(f"The question is answered.{late}")


def _json(text: str) -> JsonValue:
    try:
        value: JsonValue = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise click.BadParameter("is not JSON", param_hint="--data") from None
    return value


def _ask(conn: Connection[Any], cta: UUID) -> str:
    """Ask the person at the terminal; what is already answered is not asked."""
    question = get_cta_event(conn, cta)
    if question.status != "pending":
        raise InvalidTransition("call to action", cta, question.status)
    console = stderr()
    console.print(_heading(question))
    console.print(_asked(question, get_run(conn, question.run_id).status))
    given: str = click.prompt("Answer", err=True)
    return given


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a user id that has no name.
        return None
