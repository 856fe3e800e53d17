"""Ctrl-C at every line of an exchange: the connection is as usable as after an error."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any
from uuid import uuid4

import pytest
from psycopg.pq import TransactionStatus

from connections import Kind
from runstore import NewChatRun, append_run_events, create_run, ingest_run_events, read_run_events
from runstore._wire import Wire
from sessions import Session, open_session

EVENTS = [("token", number) for number in range(4)]


@contextmanager
def interrupted_at(line: int) -> Generator[list[str]]:
    """Raise KeyboardInterrupt at so many lines of the wire, and tell of them."""
    wire = Wire.exchange.__code__.co_filename
    passed: list[str] = []

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != wire:
            return None
        if event == "line":
            passed.append(f"{frame.f_code.co_name}:{frame.f_lineno}")
            if len(passed) == line:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield passed
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("uses", [0, 1, 2], ids=["as it is", "prepared", "by its name"])
def test_an_interrupt_at_any_line_leaves_the_connection(
    connection_kind: Kind, laboratory: str, uses: int
) -> None:
    line, reached = 0, True
    while reached:
        line += 1
        with open_session(connection_kind, laboratory) as session:
            run_id = session(create_run, NewChatRun()).id
            for _ in range(uses):
                session(append_run_events, run_id, [("before", None)])
            ingest_id = uuid4()
            with interrupted_at(line) as passed:
                reached = was_interrupted(session, run_id, ingest_id)
            assert reached == (len(passed) == line), passed
            assert session.conn.info.transaction_status is TransactionStatus.IDLE, passed[-1]
            session(ingest_run_events, run_id, EVENTS, batch_size=2, ingest_id=ingest_id)
            events = session(read_run_events, run_id).events
            assert [(e.type, e.payload) for e in events if e.type == "token"] == EVENTS
    assert line > 20


def was_interrupted(session: Session, run_id: Any, ingest_id: Any) -> bool:
    try:
        session(ingest_run_events, run_id, EVENTS, batch_size=2, ingest_id=ingest_id)
    except KeyboardInterrupt:
        return True
    return False
