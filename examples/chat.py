"""A chat run that is followed while it streams, a fork with another ending, and their report.

No model is called: the assistant's words are scripted and only their pace is made up. The rest
happens: a writer appends the words as they come, a second connection follows the log live, a
fork goes on from the middle of it without copying, and a branch of the report is merged.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, cast
from uuid import UUID

from psycopg import Connection

from runstore import (
    BranchSection,
    EventWriter,
    InvalidTransition,
    NewBranchReport,
    NewChatRun,
    NewReport,
    NewRunEvent,
    NewRunFork,
    ReportSection,
    RunEvent,
    SectionDraft,
    cancel_run,
    complete_run,
    create_branch_report,
    create_report,
    create_run,
    fail_run,
    fork_run,
    get_branch_report,
    get_report,
    iter_run_events,
    list_runs,
    merge_branch_report,
    put_branch_section,
    put_report_section,
    start_run,
    tail_run_events,
)

NAME: Final = "split-the-bill chat"
THREAD: Final = "split-the-bill"

QUESTION: Final = "Three of us share a bill of 10.00. Who pays what?"
OPENING: Final = ("Ten divided ", "by three ", "is 3.33, ", "and one cent ", "is left over. ")
ENDING: Final = ("The first ", "of you pays 3.34, ", "the others ", "pay 3.33.")
OTHER_ENDING: Final = ("The last ", "of you pays 3.34, ", "the others ", "pay 3.33.")

# The events of a chat: a delta is the next token of an answer, a message is a complete one.
MESSAGE: Final = "message"
DELTA: Final = "delta"

# How long the writer pauses between two tokens, as a model would.
PACE_SECONDS: Final = 0.04
# How long the writer waits for the tail, which reads a few events within milliseconds.
TAIL_SECONDS: Final = 30.0

OpenConnection = Callable[[], Connection[Any]]
Report = Callable[[str], None]


@dataclass(frozen=True)
class Chat:
    """What the chat part recorded, and what the second connection saw of it."""

    run_id: UUID
    followed: list[RunEvent]
    fork_id: UUID
    report_id: UUID
    branch_id: UUID


def run_chat(
    open_connection: OpenConnection, *, report: Report, pace: float = PACE_SECONDS
) -> Chat:
    """Stream a chat run, follow it, fork it and write it up; `report` is told what happens.

    `report` is called by the thread of the second connection too. A run that meets an error, or
    Ctrl-C, ends as failed before the error goes on its way.
    """
    report("chat (no model is called, the words are scripted):")
    run_id, at_seq, followed = stream_and_follow(open_connection, report, pace)
    fork_id = fork_and_end_otherwise(open_connection, run_id, at_seq, report, pace)
    with open_connection() as conn:
        report_id = write_report(conn, run_id, report)
        branch_id = write_branch(conn, report_id, fork_id, report)
        merge_branch_report(conn, branch_id)
        report("the branch is merged, and the report reads:")
        show_sections(get_report(conn, report_id).sections, report)
    return Chat(run_id, followed, fork_id, report_id, branch_id)


def close_interrupted_chats(conn: Connection[Any]) -> None:
    """Cancel the chat runs whose demonstration was killed. Nobody else may be working on one."""
    active: tuple[Literal["pending", "running"], ...] = ("pending", "running")
    for status in active:
        for run in list_runs(conn, name=NAME, status=status).items:
            cancel_run(conn, run.id, error="its demonstration was killed")


def stream_and_follow(
    open_connection: OpenConnection, report: Report, pace: float
) -> tuple[UUID, int, list[RunEvent]]:
    """Write a run while a second connection follows it.

    Return the run's id, the number of the event in the middle of its answer, and what the second
    connection read.
    """
    new = NewChatRun(name=NAME, thread_id=THREAD, input={"question": QUESTION})
    with open_connection() as conn:
        create_run(conn, new)
    with ThreadPoolExecutor(1) as executor, started_run(open_connection, new.id) as conn:
        tail = Tail(executor, open_connection, new.id, report)
        with EventWriter(conn, new.id) as writer:
            writer.append(message("user", QUESTION))
            stream(writer.append, OPENING, pace)
            writer.flush()
            at_seq = cast("int", writer.last_seq)
            tail.wait_for(at_seq)
            report(f"the tail has read all {at_seq} events of a run that is still going on")
            stream(writer.append, ENDING, pace)
        answer = message("assistant", "".join(OPENING + ENDING))
        complete_run(conn, new.id, events=[answer])
    # It has ended by itself: the run's last event and its final status came together.
    followed = tail.result()
    with open_connection() as conn:
        if followed != [*iter_run_events(conn, new.id)]:
            raise RuntimeError("the tail did not read what the log holds")
    report(f"the tail has ended with the run; its {len(followed)} events are the run's log")
    return new.id, at_seq, followed


def fork_and_end_otherwise(
    open_connection: OpenConnection, run_id: UUID, at_seq: int, report: Report, pace: float
) -> UUID:
    """Go on from the middle of a run's answer to another ending, and return the fork's id."""
    new = NewRunFork(thread_id=THREAD)
    with open_connection() as conn:
        fork_run(conn, run_id, at_seq, new)
    with started_run(open_connection, new.id) as conn:
        with EventWriter(conn, new.id) as writer:
            stream(writer.append, OTHER_ENDING, pace)
        answer = message("assistant", "".join(OPENING + OTHER_ENDING))
        complete_run(conn, new.id, events=[answer])
    with open_connection() as conn:
        report(f"a fork shares the first {at_seq} events and then goes its own way:")
        report(f"  the run:  {answer_of(conn, run_id)}")
        report(f"  the fork: {answer_of(conn, new.id)}")
    return new.id


def write_report(conn: Connection[Any], run_id: UUID, report: Report) -> UUID:
    """Write the run up, and return the report's id."""
    new = NewReport(run_id=run_id, title="Splitting a bill")
    create_report(conn, new)
    put_report_section(
        conn, new.id, SectionDraft(slug="question", heading="The question", content=QUESTION)
    )
    put_report_section(conn, new.id, answer_section(conn, run_id))
    report(f"a report is written, {new.title!r}:")
    show_sections(get_report(conn, new.id).sections, report)
    return new.id


def write_branch(conn: Connection[Any], report_id: UUID, fork_id: UUID, report: Report) -> UUID:
    """Write into a branch of the report what came of the fork, and return the branch's id."""
    branch = NewBranchReport(run_id=fork_id, report_id=report_id, name="the last one pays")
    create_branch_report(conn, branch)
    put_branch_section(conn, branch.id, answer_section(conn, fork_id))
    reason = SectionDraft(
        slug="reason", heading="Why it changed", content="The first one paid the last time."
    )
    put_branch_section(conn, branch.id, reason)
    report(f"the fork's branch of it, {branch.name!r}, reads:")
    show_sections(get_branch_report(conn, branch.id).sections, report)
    report("and the report itself still reads:")
    show_sections(get_report(conn, report_id).sections, report)
    return branch.id


def answer_section(conn: Connection[Any], run_id: UUID) -> SectionDraft:
    """Make a section of a run's answer; it cites the events that the answer was streamed in."""
    tokens = [event.seq for event in iter_run_events(conn, run_id) if event.type == DELTA]
    return SectionDraft(
        slug="answer",
        heading="The answer",
        content=answer_of(conn, run_id),
        citations=[{"run_id": str(run_id), "from_seq": tokens[0], "to_seq": tokens[-1]}],
    )


def answer_of(conn: Connection[Any], run_id: UUID) -> str:
    """Put the answer of a run together, from the tokens in its log."""
    return "".join(
        cast("dict[str, str]", event.payload)["text"]
        for event in iter_run_events(conn, run_id)
        if event.type == DELTA
    )


def stream(append: Callable[[NewRunEvent], None], tokens: Sequence[str], pace: float) -> None:
    """Append tokens one by one, at the pace of a model."""
    for token in tokens:
        append(NewRunEvent(type=DELTA, payload={"text": token}))
        time.sleep(pace)


def message(role: str, content: str) -> NewRunEvent:
    """Make the event of a complete message."""
    return NewRunEvent(type=MESSAGE, payload={"role": role, "content": content})


@contextmanager
def started_run(open_connection: OpenConnection, run_id: UUID) -> Generator[Connection[Any]]:
    """Start a run and give a connection to write it with; an error in the block fails the run."""
    try:
        with open_connection() as conn:
            start_run(conn, run_id)
            yield conn
    except BaseException as error:
        # The error may have left that connection of no use. A run that ended in the same moment
        # stays as it is, and one that is open would be followed for ever.
        with open_connection() as conn, suppress(InvalidTransition):
            fail_run(conn, run_id, error=f"{type(error).__name__}: {error}".removesuffix(": "))
        raise


class Tail:
    """Follows a run in a thread, on a connection of its own, until the run has ended."""

    def __init__(
        self,
        executor: ThreadPoolExecutor,
        open_connection: OpenConnection,
        run_id: UUID,
        report: Report,
    ) -> None:
        self._read: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._following = executor.submit(self._follow, open_connection, run_id, report)

    def _follow(
        self, open_connection: OpenConnection, run_id: UUID, report: Report
    ) -> list[RunEvent]:
        events: list[RunEvent] = []
        try:
            with open_connection() as conn:
                for event in tail_run_events(conn, run_id):
                    events.append(event)
                    report(f"  tail: {event.seq:>2} {event.type}{quoted(event)}")
                    self._read.put(event.seq)
        finally:
            self._read.put(None)
        return events

    def wait_for(self, seq: int) -> None:
        """Return once the tail has read an event. Raises its error when it ended before."""
        try:
            while (read := self._read.get(timeout=TAIL_SECONDS)) != seq:
                if read is None:
                    self.result()
                    raise RuntimeError(f"the tail ended before event {seq}")
        except queue.Empty:
            raise TimeoutError(f"the tail did not read event {seq} in time") from None

    def result(self) -> list[RunEvent]:
        """Return what the tail has read, once it has ended, or raise its error."""
        return self._following.result(timeout=TAIL_SECONDS)


def show_sections(sections: Sequence[ReportSection | BranchSection], report: Report) -> None:
    """Say what the sections of a report are, in their order."""
    for section in sections:
        report(f"  {section.heading} (version {section.version}): {section.content}")


def quoted(event: RunEvent) -> str:
    """Quote the delta or the message that an event is, if it is one."""
    payload = cast("dict[str, str]", event.payload)
    text = payload.get("text") or payload.get("content")
    return f": {text!r}" if text else ""
