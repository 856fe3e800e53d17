"""The command itself: its commands, and the help that names the exit statuses."""

from __future__ import annotations

import click

from ._completion import completion
from ._demo import demo
from ._events import events, tail
from ._purge import purge
from ._questions import answer, pending
from ._reports import report
from ._runs import runs
from ._schema import check, migrate
from ._session import Program, options_of_all
from ._show import show
from ._statuses import table
from ._transfer import export_run, import_runs
from ._usage import usage
from ._verify import verify


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"\b\nExit statuses:\n{table()}",
)
@options_of_all
@click.version_option(package_name="runstore")
def main() -> None:
    """Look after the durable record of AI-agent work in plain PostgreSQL.

    The options --dsn, --tenant, --json and --verbose stand before a command or after it.
    """


for command in (
    runs,
    show,
    events,
    tail,
    report,
    usage,
    pending,
    answer,
    check,
    migrate,
    verify,
    purge,
    export_run,
    import_runs,
    demo,
    completion,
):
    main.add_command(command)
