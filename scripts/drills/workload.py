"""The demo's work without its sandboxes: pipelines, streamed chats and quotas, all at once.

Every function writes through calls that it repeats until they are acknowledged, and keeps in a
ledger what was acknowledged: rows with their fields, events with their numbers, usage.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from persistence import Persistent, Tally, asyncio_source, blocking_source
from runstore import (
    InvocationOutcome,
    NewAgentInvocation,
    NewAgentStep,
    NewChatRun,
    NewCtaEvent,
    NewFeatureRun,
    NewMemoryRecord,
    NewPhaseResult,
    NewQuota,
    NewReservation,
    NewRunEvent,
    NewSandbox,
    NewSnapshot,
    NewToolCall,
    append_run_events,
    complete_agent_invocation,
    complete_cta_event,
    complete_feature_run,
    complete_run,
    create_agent_invocation,
    create_agent_step,
    create_cta_event,
    create_feature_run,
    create_memory_record,
    create_phase_result,
    create_run,
    create_sandbox_record,
    create_snapshot_record,
    create_tool_call,
    finish_tool_call,
    pass_phase_result,
    reserve_usage,
    set_quota,
    settle_usage,
    start_run,
    update_feature_run_phase,
    update_sandbox_status,
)
from runstore.run_events import RunEvent

SUBJECTS = ("team-1", "team-2")
PHASES = ("plan", "build", "verify")


@dataclass
class Ledger:
    """What the database has acknowledged, in the memory of a process that nobody kills.

    Filled by many threads; each appends, or writes under a key of its own.
    """

    tally: Tally = field(default_factory=Tally)
    rows: dict[UUID, dict[Any, dict[str, Any]]] = field(default_factory=dict)
    """For each run, its rows by their ids, with those fields that were acknowledged."""
    events: dict[UUID, list[tuple[str, int, int | None]]] = field(default_factory=dict)
    """For each run, who appended, the writer's own number of the event, and the log's if told."""
    tails: list[tuple[UUID, Future[list[RunEvent]]]] = field(default_factory=list)
    """What was read of a run while it was written."""
    settled: dict[UUID, tuple[str, dict[str, int]]] = field(default_factory=dict)
    """For each reservation, its subject and what was used."""

    def begin(self, run_id: UUID) -> None:
        self.rows[run_id] = {}
        self.events[run_id] = []

    def keep(self, run_id: UUID, id: Any, **fields: Any) -> None:
        self.rows[run_id].setdefault(id, {}).update(fields)


def set_quotas(persist: Persistent) -> None:
    """Limit every subject, so that all writers meet on few counters."""
    for subject in SUBJECTS:
        for period in ("day", "total"):
            quota = NewQuota(subject_id=subject, meter="tokens", period=period, limit_amount=10**15)
            persist(lambda conn, quota=quota: set_quota(conn, quota))


@dataclass
class Worker:
    """One writer, who does one thing after another until it is told to stop."""

    name: str
    persist: Persistent
    ledger: Ledger
    crowd: UUID
    """A chat to which all workers append."""
    followers: ThreadPoolExecutor

    def __post_init__(self) -> None:
        self._choose = random.Random(self.name)
        self._appended: dict[UUID, int] = {}

    def work(self, stop: threading.Event) -> None:
        """Do what this one does, and finish what was begun before stopping."""
        while not stop.is_set():
            self._choose.choice((self.run_pipeline, self.run_chat))()
            for _ in range(self._choose.randint(1, 5)):
                self._append(self.crowd)

    def run_pipeline(self) -> None:
        """Record a run of three phases, each with its agent, its tools and what they used."""
        new = NewFeatureRun(name="drill", input={"worker": self.name})
        self.ledger.begin(new.id)
        self.persist(lambda conn: create_feature_run(conn, new))
        self.ledger.keep(new.id, new.id, status="running")
        sandbox = NewSandbox(run_id=new.id, id=f"sandbox {new.id}")
        self.persist(lambda conn: create_sandbox_record(conn, sandbox))
        for phase in PHASES:
            self._phase(new.id, phase, sandbox.id)
        self.persist(lambda conn: update_sandbox_status(conn, sandbox.id, "stopped"))
        self.ledger.keep(new.id, sandbox.id, status="stopped")
        output = {"worker": self.name}
        self.persist(lambda conn: complete_feature_run(conn, new.id, output=output))
        self.ledger.keep(new.id, new.id, status="completed", phase=PHASES[-1], output=output)

    def _phase(self, run_id: UUID, phase: str, sandbox_id: str) -> None:
        attempt = NewPhaseResult(run_id=run_id, phase=phase)
        call = NewAgentInvocation(phase_result_id=attempt.id, agent=self.name)
        hold = NewReservation(
            subject_id=self._choose.choice(SUBJECTS),
            amounts={"tokens": 500},
            invocation_id=call.id,
        )
        # The demo's order: a phase and what it begins with are there together.
        self.persist(
            lambda conn: create_phase_result(conn, attempt),
            lambda conn: create_agent_invocation(conn, call),
            lambda conn: update_feature_run_phase(conn, run_id, phase),
        )
        self.ledger.keep(run_id, attempt.id, status="running", phase=phase, attempt=1)
        self.ledger.keep(run_id, call.id, status="running", agent=self.name)
        self.persist(lambda conn: reserve_usage(conn, hold))
        for number in range(self._choose.randint(1, 3)):
            self._act(run_id, call.id, number)

        memory = NewMemoryRecord(run_id=run_id, phase=phase, kind="fact", content=f"{phase} done")
        self.persist(lambda conn: create_memory_record(conn, memory))
        self.ledger.keep(run_id, memory.id, content=memory.content)
        snapshot = NewSnapshot(run_id=run_id, id=f"snapshot {attempt.id}", sandbox_id=sandbox_id)
        self.persist(lambda conn: create_snapshot_record(conn, snapshot))
        self.ledger.keep(run_id, snapshot.id, sandbox_id=sandbox_id)

        used = {"tokens": self._choose.randint(1, 600)}
        outcome = InvocationOutcome(output={"phase": phase}, input_tokens=used["tokens"])
        self.persist(
            lambda conn: complete_agent_invocation(conn, call.id, outcome),
            lambda conn: pass_phase_result(conn, attempt.id, {"phase": phase}),
            lambda conn: settle_usage(conn, hold.id, used),
        )
        self.ledger.keep(run_id, call.id, status="completed", input_tokens=used["tokens"])
        self.ledger.keep(run_id, attempt.id, status="passed", output={"phase": phase})
        self.ledger.settled[hold.id] = (hold.subject_id, used)

    def _act(self, run_id: UUID, invocation_id: UUID, number: int) -> None:
        step = NewAgentStep(invocation_id=invocation_id, kind="action", content={"n": number})
        call = NewToolCall(invocation_id=invocation_id, step_id=step.id, name="tool")
        self.persist(lambda conn: create_agent_step(conn, step))
        self.ledger.keep(run_id, step.id, content={"n": number}, position=number + 1)
        self.persist(lambda conn: create_tool_call(conn, call))
        self.ledger.keep(run_id, call.id, status="open", step_id=step.id)
        if number == 0:
            self._ask(run_id, call.id)
        self.persist(lambda conn: finish_tool_call(conn, call.id, result={"n": number}))
        self.ledger.keep(run_id, call.id, status="completed", result={"n": number})

    def _ask(self, run_id: UUID, tool_call_id: UUID) -> None:
        question = NewCtaEvent(run_id=run_id, kind="choice", tool_call_id=tool_call_id)
        self.persist(lambda conn: create_cta_event(conn, question))
        self.ledger.keep(run_id, question.id, status="pending")
        self.persist(lambda conn: complete_cta_event(conn, question.id, {"yes": True}))
        self.ledger.keep(run_id, question.id, status="completed", response_data={"yes": True})

    def run_chat(self) -> None:
        """Stream a chat that somebody follows, and end it with its last event."""
        new = NewChatRun(name="drill", input={"worker": self.name})
        self.ledger.begin(new.id)
        self.persist(lambda conn: create_run(conn, new))
        start_id = uuid4()
        self.persist(lambda conn: start_run(conn, new.id, start_id=start_id))
        self.ledger.keep(new.id, new.id, status="running")
        self.follow(new.id)
        for _ in range(self._choose.randint(5, 30)):
            self._append(new.id)
        (number,) = self._next(new.id, 1)
        last = [self._event("message", number)]
        self.persist(
            lambda conn: complete_run(conn, new.id, output="done", events=last),
        )
        self.ledger.events[new.id].append((self.name, number, None))
        self.ledger.keep(new.id, new.id, status="completed", output="done")

    def follow(self, run_id: UUID) -> None:
        """Read a run in another thread while it is written."""
        tail = self.followers.submit(self.persist.source.tail, run_id)
        self.ledger.tails.append((run_id, tail))

    def _append(self, run_id: UUID) -> None:
        """Append a few events in one statement, whose id makes it safe to repeat."""
        append_id = uuid4()
        numbers = self._next(run_id, self._choose.randint(1, 8))
        events = [self._event("token", number) for number in numbers]
        last_seq = self.persist(
            lambda conn: append_run_events(conn, run_id, events, append_id=append_id)
        )
        first_seq = last_seq - len(events) + 1
        self.ledger.events[run_id] += [
            (self.name, number, first_seq + place) for place, number in enumerate(numbers)
        ]

    def _event(self, type: str, number: int) -> NewRunEvent:
        return NewRunEvent(type=type, payload={"writer": self.name, "n": number})

    def _next(self, run_id: UUID, count: int) -> range:
        """Return the next numbers of this worker's events in a run."""
        first = self._appended.get(run_id, 0)
        self._appended[run_id] = first + count
        return range(first, first + count)


@contextmanager
def at_work(dsn: str, ledger: Ledger, workers: int) -> Generator[None]:
    """Let workers and tails work during a block, and finish what they began after it."""
    stop = threading.Event()
    with ExitStack() as stack:
        persists = [
            Persistent(stack.enter_context(open_source(dsn, size=workers)), ledger.tally)
            for open_source in (blocking_source, asyncio_source)
        ]
        followers = stack.enter_context(ThreadPoolExecutor(4 * workers))
        set_quotas(persists[0])
        crowd = NewChatRun(name="crowd")
        ledger.begin(crowd.id)
        persists[0](lambda conn: create_run(conn, crowd))
        start_id = uuid4()
        persists[0](lambda conn: start_run(conn, crowd.id, start_id=start_id))
        crew = [
            Worker(f"worker {n}", persists[n % len(persists)], ledger, crowd.id, followers)
            for n in range(workers)
        ]
        # One on each kind of connection.
        for worker in crew[: len(persists)]:
            worker.follow(crowd.id)
        try:
            with ThreadPoolExecutor(workers) as threads:
                working = [threads.submit(worker.work, stop) for worker in crew]
                try:
                    yield
                finally:
                    stop.set()
                for each in working:
                    each.result()
        finally:
            # Whatever ends the block, its tails end with the run.
            persists[0](lambda conn: complete_run(conn, crowd.id))
        ledger.keep(crowd.id, crowd.id, status="completed")
        for _, tail in ledger.tails:
            tail.result()
