"""Terminals, pipes and signals: what a person sees, and how a command ends that is ended."""

from __future__ import annotations

import codecs
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg import Connection

from command import command, runstore, start
from runstore import (
    NewChatRun,
    NewCtaEvent,
    NewFeatureRun,
    NewRunEvent,
    append_run_events,
    complete_feature_run,
    create_cta_event,
    create_feature_run,
    create_run,
    get_cta_event,
    import_run_events,
)
from runstore.cli._pipes import until_closed
from runstore.embedded import Server

pytestmark = [
    pytest.mark.direct(reason="its programs open connections that prepare"),
    pytest.mark.once,
]

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command that runs on a terminal of its own."""

    def __init__(self, *arguments: object, columns: int = 100, **variables: str) -> None:
        self._ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "LINES": "24", **variables}
        environment |= {"COLUMNS": str(columns)}
        self.process = subprocess.Popen(
            command(arguments),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        self.screen = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._ended = False

    def read_until(self, wanted: Callable[[str], bool]) -> None:
        """Read what is drawn until it is as wanted, or the command has ended."""
        deadline = time.monotonic() + 60
        while not wanted(self.screen) and time.monotonic() < deadline:
            if not select.select([self._ours], [], [], 0.1)[0]:
                continue
            # A terminal whose command has ended has nothing more, or cannot be read.
            with suppress(OSError):
                if chunk := os.read(self._ours, 65_536):
                    self.screen += self._decoder.decode(chunk)
                    continue
            self._ended = True
            break
        assert wanted(self.screen), self.screen

    def interrupt(self) -> None:
        """Press Ctrl-C, and again where nothing happens.

        A signal that comes when Python's `input` has drawn its question, and is about to read, is
        heeded only after what it reads.
        """
        for _ in range(30):
            self.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=1)
                return

    def end(self) -> tuple[int, str]:
        """Return the exit status and all that was drawn."""
        try:
            self.read_until(lambda _: self._ended)
            return self.process.wait(timeout=30), self.screen
        finally:
            self.process.kill()
            os.close(self._ours)


@pytest.fixture
def live_run(conn: Connection[Any]) -> UUID:
    run = create_run(conn, NewChatRun(name="live"))
    append_run_events(conn, run.id, [NewRunEvent(type="tökên", payload="first")])
    return run.id


def test_a_terminal_gets_colors_and_a_pipe_gets_none(live_run: UUID, database: str) -> None:
    del live_run
    status, drawn = Terminal("runs", "--dsn", database).end()
    plain = runstore("runs", "--dsn", database).out

    assert status == 0
    assert "\x1b[33m○ pending" in drawn
    assert "\x1b" not in plain
    said = ESCAPES.sub("", drawn).replace("\r\n", "\n")
    assert [line.split()[:3] for line in said.splitlines()] == [
        line.split()[:3] for line in plain.splitlines()
    ]


def test_no_color_is_respected(live_run: UUID, database: str) -> None:
    del live_run
    _, drawn = Terminal("runs", "--dsn", database, NO_COLOR="1").end()

    assert "○ pending" in drawn
    assert "\x1b[33m" not in drawn


@pytest.mark.parametrize("columns", [40, 79, 120])
def test_a_tree_fits_its_terminal(
    conn: Connection[Any], live_run: UUID, database: str, columns: int
) -> None:
    append_run_events(conn, live_run, [NewRunEvent(type="token", payload="x" * 500)])
    for name in ("show", "events", "runs"):
        arguments = [name] if name == "runs" else [name, live_run]
        _, drawn = Terminal(*arguments, "--dsn", database, columns=columns).end()
        lines = ESCAPES.sub("", drawn).replace("\r", "").splitlines()
        assert max(map(len, lines)) <= columns, name


def test_a_terminal_without_unicode_gets_ascii(live_run: UUID, database: str) -> None:
    done = subprocess.run(
        command(["show", live_run, "--dsn", database]),
        env={**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"},
        capture_output=True,
        check=True,
    )

    assert done.stdout.decode("ascii").startswith("live  o pending\nchat ")
    for name in ("runs", "events"):
        arguments = [name] if name == "runs" else [name, live_run]
        subprocess.run(
            command([*arguments, "--dsn", database]),
            env={**os.environ, "PYTHONIOENCODING": "ascii"},
            stdout=subprocess.DEVNULL,
            check=True,
        )


def test_watch_shows_what_changes_until_ctrl_c(conn: Connection[Any], database: str) -> None:
    run = create_feature_run(conn, NewFeatureRun(name="dark mode"))
    terminal = Terminal("runs", "--watch", "--interval", "0.1", "--dsn", database)
    terminal.read_until(lambda screen: "● running" in screen)
    complete_feature_run(conn, run.id)
    terminal.read_until(lambda screen: "✓ completed" in screen)

    terminal.process.send_signal(signal.SIGINT)

    status, screen = terminal.end()
    assert status == 130
    assert "Traceback" not in screen
    # The cursor is shown again.
    assert screen.rindex("\x1b[?25h") > screen.rindex("\x1b[?25l")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_watch_tells_a_pipe_what_changed(
    conn: Connection[Any], database: str, options: list[str]
) -> None:
    run = create_feature_run(conn, NewFeatureRun(name="dark mode"))
    arguments = ["runs", "--watch", "--interval", "0.1", *options, "--dsn", database]
    with start(*arguments) as process:
        assert process.stdout is not None
        assert "running" in process.stdout.readline()
        complete_feature_run(conn, run.id)
        assert "completed" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "")


FOLLOWING = [["tail", "latest"], ["runs", "--watch"], ["tail", "latest", "--json"]]


@pytest.mark.parametrize("arguments", FOLLOWING, ids=" ".join)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_follows_ends_cleanly_when_it_is_told_to(
    live_run: UUID, database: str, arguments: list[str], number: signal.Signals
) -> None:
    del live_run
    with start(*arguments, "--dsn", database) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")


@pytest.mark.parametrize("arguments", FOLLOWING, ids=" ".join)
def test_what_follows_ends_when_its_reader_is_gone(
    live_run: UUID, database: str, arguments: list[str]
) -> None:
    """There is nothing to write, and so no write that would find out."""
    del live_run
    with start(*arguments, "--dsn", database) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=30) == 141
        assert process.stderr.read() == ""


def test_a_list_ends_when_its_reader_is_gone(
    conn: Connection[Any], live_run: UUID, database: str
) -> None:
    import_run_events(conn, live_run, (NewRunEvent(type="token") for _ in range(20_000)))
    for name in ("events", "export"):
        with start(name, live_run, "--dsn", database) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.wait(timeout=60) == 141, name
            assert process.stderr.read() == "", name


def test_a_shells_pipeline_ends(live_run: UUID, database: str) -> None:
    del live_run
    with (
        start("tail", "latest", "--dsn", database) as process,
        subprocess.Popen(
            ["/usr/bin/head", "-n", "1"], stdin=process.stdout, text=True, stdout=subprocess.PIPE
        ) as head,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        out, _ = head.communicate(timeout=60)
        assert process.wait(timeout=30) == 141
        assert process.stderr.read() == ""
    assert out.endswith(" tökên first\n")


def test_a_command_that_waits_for_the_server_ends_at_ctrl_c(
    live_run: UUID, database: str, server: Server, migrated_dbname: str
) -> None:
    del live_run
    dba = server.dsn(migrated_dbname)
    with psycopg.connect(dba) as holder, psycopg.connect(dba, autocommit=True) as observer:
        holder.execute("LOCK TABLE runstore.runs IN ACCESS EXCLUSIVE MODE")
        with start("runs", "--dsn", database) as process:
            wait_until(lambda: blocked(observer) == 1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err) == (130, "", "")
        # The one that is left is the test's own.
        wait_until(lambda: sessions(observer) == 1)


def blocked(observer: psycopg.Connection[Any]) -> int:
    return count(observer, "wait_event_type = 'Lock'")


def sessions(observer: psycopg.Connection[Any]) -> int:
    return count(observer, "application_name = 'runstore'")


def count(observer: psycopg.Connection[Any], condition: LiteralString) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "
    [(number,)] = observer.execute(query + condition).fetchall()
    return int(number)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_interrupted_import_leaves_nothing(
    conn: Connection[Any], live_run: UUID, database: str, other_database: str
) -> None:
    del conn
    lines = runstore("export", live_run, "--dsn", database).out.splitlines(keepends=True)
    with start("import", "--dsn", other_database, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.writelines(lines[:-1])
        process.stdin.flush()
        with psycopg.connect(other_database, autocommit=True) as observer:
            # It has written what it was given, and waits for more.
            wait_until(lambda: count(observer, "state = 'idle in transaction'") == 1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
    assert runstore("runs", "--json", "--dsn", other_database).json["runs"] == []


def test_a_question_at_the_terminal_ends_at_ctrl_c(conn: Connection[Any], database: str) -> None:
    run = create_feature_run(conn, NewFeatureRun(name="release"))
    question = NewCtaEvent(run_id=run.id, kind="approval", request="Release 2.1?")
    create_cta_event(conn, question)
    terminal = Terminal("answer", question.id, "--dsn", database)
    terminal.read_until(lambda screen: "Answer: " in screen)

    terminal.interrupt()

    status, screen = terminal.end()
    assert status == 130
    assert "Traceback" not in screen
    assert get_cta_event(conn, question.id).status == "pending"


def test_an_answer_that_nobody_reads_ends(live_run: UUID, database: str) -> None:
    """Its few lines are still in the buffer when the command is done."""
    del live_run
    for name in ("verify", "check", "runs"):
        with start(name, "--dsn", database, stdin=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.wait(timeout=60) == 141, name
            assert process.stderr.read() == "", name


def test_migrate_shows_how_far_it_is(server: Server, empty_dbname: str) -> None:
    status, drawn = Terminal("migrate", "--dsn", server.dsn(empty_dbname)).end()

    assert status == 0
    text = ESCAPES.sub("", drawn)
    assert re.search(r"━+.* \d+/\d+", text)
    assert re.search(r"Applied \d+ migrations, up to runstore-", text)


def test_moves_show_how_far_they_are(
    live_run: UUID, database: str, other_database: str, tmp_path: Any
) -> None:
    file = tmp_path / "run.jsonl"

    _, exported = Terminal("export", live_run, "-o", file, "--dsn", database).end()
    _, imported = Terminal("import", file, "--dsn", other_database).end()

    assert f"Exporting {live_run}" in ESCAPES.sub("", exported)
    assert "Importing" in ESCAPES.sub("", imported)
    assert f"Run {live_run}: " in ESCAPES.sub("", imported)


def test_until_closed_leaves_the_handler_that_it_found() -> None:
    before = signal.getsignal(signal.SIGPIPE)
    with until_closed():
        pass
    assert signal.getsignal(signal.SIGPIPE) == before


@pytest.fixture(autouse=True)
def no_dsn(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNSTORE_DSN", "DATABASE_URL", "RUNSTORE_TENANT", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
