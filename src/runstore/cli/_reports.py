"""`runstore report`: a report's text, its working text or what was published."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import click
from rich.text import Text

from runstore.report_versions import PublishedReport, get_published_report
from runstore.reports import ReportDocument, get_report

from ._session import Session, on_database
from ._terminal import mark, stdout
from ._words import moment, one_line


@click.command()
@click.argument("report_id", metavar="REPORT", type=click.UUID)
@click.option("--published", is_flag=True, help="The newest version that was published.")
@click.option("--version", type=click.IntRange(1, 1 << 31), help="This published version.")
@click.option("--raw", is_flag=True, help="The text as it was written, and nothing else.")
@on_database
def report(
    session: Session, report_id: UUID, *, published: bool, version: int | None, raw: bool
) -> None:
    """Read a report, as it is or as it was published.

    REPORT is its id, which `show` tells. With --json one document.
    """
    with session.connect() as conn:
        if published or version is not None:
            found: ReportDocument | PublishedReport = get_published_report(
                conn, report_id, version=version
            )
        else:
            found = get_report(conn, report_id)
    text = "\n\n".join(_parts(found))
    if session.json:
        session.answer(found)
    elif raw:
        click.echo(text)
    else:
        # It takes a while to import, and the other commands do without.
        from rich.markdown import Markdown  # noqa: PLC0415

        console = stdout()
        console.print(_heading(found))
        if found.report.summary:
            console.print(f"\n{found.report.summary}", style="italic")
        console.print()
        # Links are shown with their targets: where a terminal hides them, so may a payload.
        console.print(
            Markdown(text, hyperlinks=False) if found.report.format == "markdown" else text
        )


def _parts(found: ReportDocument | PublishedReport) -> Iterator[str]:
    markdown = found.report.format == "markdown"
    for section in found.sections:
        if section.heading:
            yield f"## {section.heading}" if markdown else section.heading
        yield section.content


def _heading(found: ReportDocument | PublishedReport) -> Text:
    report = found.report
    text = Text(one_line(report.title), "bold").append("  ")
    if isinstance(found, PublishedReport):
        status, at = "published", found.report.published_at
    else:
        status, at = found.report.status, found.report.updated_at
    text.append(mark(status)).append(f"  version {report.version}")
    return text.append(f" · {moment(at)}", "dim")
