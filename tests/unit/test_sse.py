"""Frames of Server-Sent Events, read back as the HTML standard says that a browser reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runstore import RunEvent, format_sse

pytestmark = pytest.mark.once


@dataclass(frozen=True)
class Message:
    id: str
    type: str
    data: str


def browser(stream: bytes) -> list[Message]:
    """Interpret an event stream: section 9.2.6 of the standard, line by line."""
    messages: list[Message] = []
    last_id, type, data = "", "", ""
    lines = re.split("\r\n|\r|\n", stream.decode().removeprefix("\ufeff"))
    assert lines[-1] == ""
    for line in lines[:-1]:
        if not line:
            if data:
                messages.append(Message(last_id, type or "message", data.removesuffix("\n")))
            type, data = "", ""
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            type = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            last_id = value
    return messages


def event(seq: int = 1, type: str = "token", payload: Any = None) -> RunEvent:
    return RunEvent(seq=seq, type=type, payload=payload, created_at=datetime.now(UTC))


def test_a_frame_holds_the_number_the_type_and_the_payload() -> None:
    frame = format_sse(event(7, "token", {"text": "a\nb"}))

    assert frame == 'id: 7\nevent: token\ndata: {"text":"a\\nb"}\n\n'


@pytest.mark.parametrize(
    "type", ["a\nb", "a\rb", "a\r\nb", "a\n\ndata: forged\n\nb", "\n", " a:b "]
)
def test_no_type_breaks_its_frame(type: str) -> None:
    frames = format_sse(event(1, type, "payload")) + format_sse(event(2))

    first, second = browser(frames.encode())
    assert first == Message("1", re.sub("\r\n|\r|\n", " ", type), '"payload"')
    assert second == Message("2", "token", "null")


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
types = texts.filter(bool)
finite = st.floats(allow_nan=False, allow_infinity=False)
payloads = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | finite | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=8,
)


@given(st.lists(st.tuples(st.integers(1), types, payloads)))
def test_a_browser_reads_every_event_back(events: list[tuple[int, str, Any]]) -> None:
    stream = "".join(format_sse(event(*given)) for given in events)

    assert [
        (int(message.id), message.type, orjson.loads(message.data))
        for message in browser(stream.encode())
    ] == [(seq, re.sub("\r\n|\r|\n", " ", type), payload) for seq, type, payload in events]
