"""The commands under row-level security, as a tenant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection

from command import runstore
from databases import new_database
from deploys import MIGRATIONS, succeed
from logins import Logins, apply_roles
from runstore import (
    NewCtaEvent,
    NewFeatureRun,
    NewReport,
    complete_feature_run,
    connect,
    create_cta_event,
    create_feature_run,
    create_report,
    new_run_id,
    set_tenant,
    transaction,
)
from runstore.embedded import Server

pytestmark = pytest.mark.direct(reason="--tenant needs a direct connection")

# Each with what it names of the tenant's.
COMMANDS = [
    ["runs"],
    ["show", "RUN"],
    ["events", "RUN"],
    ["tail", "RUN"],
    ["export", "RUN"],
    ["report", "REPORT"],
    ["pending"],
    ["answer", "QUESTION", "yes"],
]


@pytest.fixture(scope="module")
def secured(server: Server, template: tuple[str, Logins]) -> Iterator[str]:
    """The DSN of who writes into a database of tenants."""
    dbname, logins = template
    with new_database(server, dbname) as name:
        succeed("apply", logins.yoyo_url(name), MIGRATIONS, MIGRATIONS / "tenants")
        apply_roles(server.dsn(name))
        yield logins.dsn("writer", name)


@pytest.fixture
def named(secured: str) -> dict[str, UUID]:
    """A run of acme's that has ended, with a report and an open question."""
    with connect(secured) as conn, transaction(conn):
        set_tenant(conn, "acme")
        run = create_feature_run(conn, NewFeatureRun(name="theirs"))
        report = create_report(conn, NewReport(run_id=run.id, title="t"))
        question = create_cta_event(conn, NewCtaEvent(run_id=run.id, kind="k"))
        complete_feature_run(conn, run.id)
    return {"RUN": run.id, "REPORT": report.id, "QUESTION": question.id}


def test_a_tenant_that_does_not_arrive_is_no_tenant(
    secured: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect_by_a_pooler(dsn: str, *, options: str, **settings: Any) -> Connection[Any]:
        """Ignore the options, as PgBouncer does where it is told to."""
        del options
        return connect(dsn, **settings)

    monkeypatch.setattr("runstore.cli._session.connect", connect_by_a_pooler)

    for words in (["runs"], ["tail", new_run_id()]):
        said = runstore(*words, "--tenant", "acme", "--dsn", secured)
        assert (said.status, said.out) == (4, "")
        assert said.err.startswith("--tenant needs a direct connection")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_tenant_gets_what_is_its_own(
    secured: str, named: dict[str, UUID], words: list[str]
) -> None:
    arguments = [named.get(word, word) for word in words]

    own = runstore(*arguments, "--tenant", "acme", "--dsn", secured)
    others = runstore(*arguments, "--tenant", "globex", "--dsn", secured)

    assert own.status == 0, own.err
    assert own.out
    assert own.out != others.out
    assert others.status == (5 if len(words) > 1 else 0)


def test_a_tail_of_a_tenant_has_all_events(secured: str, named: dict[str, UUID]) -> None:
    arguments = [named["RUN"], "--json", "--tenant", "acme", "--dsn", secured]

    followed, listed = (runstore(name, *arguments).lines for name in ("tail", "events"))

    assert followed == listed
    assert [event["type"] for event in followed][-1] == "run.completed"
