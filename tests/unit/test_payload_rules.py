"""How large a payload may be, and what becomes of what cannot be stored when it is sanitized."""

from __future__ import annotations

import asyncio
import enum
import json
import math
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from pydantic import JsonValue

from hostile_values import DOCUMENTS, TEXTS
from runstore import (
    InvalidPayload,
    NewMemoryRecord,
    NewRunEvent,
    append_run_events,
    complete_feature_run,
    create_agent_steps,
    new_run_id,
    payload_rules,
    set_payload_rules,
    update_feature_run_phase,
)
from runstore import _json as encoding
from runstore._json import MAX_DEPTH, encode, storable

pytestmark = pytest.mark.once

RUN = new_run_id()
MIB = 1 << 20


def sent(document: Any) -> Any:
    """Return what is sent for a document."""
    return json.loads(bytes(complete_feature_run.bind(RUN, output=document).parameters["output"]))


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(InvalidPayload) as raised:
        make()
    return str(raised.value)


@pytest.fixture
def process_rules() -> Iterator[None]:
    yield
    set_payload_rules()


# The limit


LARGE: list[tuple[Callable[[int], object], int, str]] = [
    (lambda n: NewRunEvent(type="a", payload="x" * n), 2, "payload: is larger than 1048576"),
    (lambda n: NewRunEvent(type="a", payload={"é": "x" * n}), 9, "payload: is larger than"),
    (
        lambda n: complete_feature_run.bind(RUN, output=["x" * n]),
        4,
        "output: is larger than 1048576 bytes of JSON",
    ),
    (
        lambda n: NewMemoryRecord(run_id=RUN, kind="a", content="é" + "x" * n),
        2,
        "content: is larger than 1048576 bytes",
    ),
]


@pytest.mark.parametrize(("make", "overhead", "reason"), LARGE)
def test_a_payload_is_as_large_as_a_mebibyte(
    make: Callable[[int], object], overhead: int, reason: str
) -> None:
    make(MIB - overhead)
    assert refusal(lambda: make(MIB - overhead + 1)).startswith(reason)


def test_the_limit_is_another_one_in_a_block() -> None:
    with payload_rules(max_bytes=10):
        NewRunEvent(type="a", payload="12345678")
        with payload_rules(max_bytes=20):
            NewRunEvent(type="a", payload="123456789012345678")
        assert refusal(lambda: NewRunEvent(type="a", payload="123456789")) == (
            "payload: is larger than 10 bytes of JSON"
        )
    NewRunEvent(type="a", payload="x" * 1000)


@pytest.mark.usefixtures("process_rules")
def test_the_limit_of_a_process_is_that_of_its_threads() -> None:
    set_payload_rules(max_bytes=10)
    refused: list[str] = []

    def work() -> None:
        refused.append(refusal(lambda: NewRunEvent(type="a", payload="123456789")))
        with payload_rules(max_bytes=20):
            NewRunEvent(type="a", payload="123456789")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert refused == ["payload: is larger than 10 bytes of JSON"]


def test_the_rules_of_a_block_are_those_of_its_tasks() -> None:
    async def event() -> NewRunEvent:
        return NewRunEvent(type="a", payload="\0")

    async def work() -> None:
        with payload_rules(sanitize=True):
            task = asyncio.create_task(event())
        assert (await task).payload == "\ufffd"
        with pytest.raises(InvalidPayload):
            await event()

    asyncio.run(work())


@pytest.mark.parametrize("max_bytes", [0, -1, 1 << 28, 1.5, "1", True])
def test_a_limit_that_is_none_is_refused(max_bytes: Any) -> None:
    reason = "max_bytes: must be from 1 to 268435455"
    assert refusal(lambda: set_payload_rules(max_bytes=max_bytes)) == reason
    with pytest.raises(InvalidPayload), payload_rules(max_bytes=max_bytes):
        pass


def test_what_is_too_much_for_a_message_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "MAX_TOGETHER", 100)
    events = [NewRunEvent(type="a", payload="x" * 30)] * 4
    append_run_events.bind(RUN, events[:3])
    reason = "events: are larger than 100 bytes of JSON together"
    assert refusal(lambda: append_run_events.bind(RUN, events)) == reason
    assert refusal(lambda: create_agent_steps.bind([])) == "data: is empty"


# Sanitized


class Limit(enum.Enum):
    NONE = math.inf
    TEXT = "\0"


SANITIZED: list[tuple[Any, JsonValue]] = [
    ("a\0b", "a\ufffdb"),
    ("\\u0000", "\\u0000"),
    ("cut off \ud83d", "cut off \ufffd"),
    ("\ude00\ud83d", "\ufffd\ufffd"),
    ("\ud83d" + "\ude00", "😀"),
    (["\ud83d\ude00\ud83d"], ["😀\ufffd"]),
    ({"a\0": {"b": "\0"}}, {"a\ufffd": {"b": "\ufffd"}}),
    ([math.nan, math.inf, {"a": -math.inf}], [None, None, {"a": None}]),
    ({"budget": Limit.NONE, "text": Limit.TEXT}, {"budget": None, "text": "\ufffd"}),
    (2**64, "18446744073709551616"),
    ([-(2**63) - 1, 2**64 - 1], ["-9223372036854775809", 2**64 - 1]),
    ({"a": 10**5000}, {"a": "1" + "0" * 5000}),
    ((True, None, 1.5, "text", ()), [True, None, 1.5, "text", []]),
]


@pytest.mark.parametrize(("document", "stored"), SANITIZED)
def test_what_cannot_be_stored_is_replaced(document: Any, stored: JsonValue) -> None:
    with payload_rules(sanitize=True):
        assert sent(document) == stored
        assert NewRunEvent(type="a", payload=document).payload == stored


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"a": {1}}, "output.a: is a set, which JSON does not have"),
        ({"\0": [{1: 2}]}, "output[key 0][0]: has a key that is not a string but int"),
        (
            {"a": {"b\0": 1, "b\ufffd": 2}},
            "output.a: has two keys that become one when they are sanitized",
        ),
        ("\0" * MIB, "output: is larger than 1048576 bytes of JSON"),
    ],
)
def test_what_is_wrong_in_another_way_is_refused_as_ever(document: Any, reason: str) -> None:
    with payload_rules(sanitize=True):
        assert refusal(lambda: sent(document)) == reason


def test_depth_is_refused_as_ever() -> None:
    document: Any = "\0"
    for _ in range(MAX_DEPTH):
        document = [document]
    with payload_rules(sanitize=True):
        sent(document)
        assert refusal(lambda: sent([document])).endswith("nests deeper than 254")


def test_names_and_texts_are_sanitized_too() -> None:
    with payload_rules(sanitize=True):
        data = NewMemoryRecord(run_id=RUN, kind="a\0", content="\ud83d\ude00 \udc00")
        assert (data.kind, data.content) == ("a\ufffd", "😀 \ufffd")
        assert update_feature_run_phase.bind(RUN, "a\0").parameters["phase"] == "a\ufffd"
        assert refusal(lambda: update_feature_run_phase.bind(RUN, "")).startswith("phase: ")


def test_what_was_sanitized_stays_so() -> None:
    with payload_rules(sanitize=True):
        data = NewRunEvent(type="a", payload={"a": "\0"})
    for copy in (data.model_copy(), pickle.loads(pickle.dumps(data))):  # noqa: S301 - its own
        assert copy.documents == data.documents == {"payload": '{"a":"\ufffd"}'.encode()}
        assert copy.payload == {"a": "\ufffd"}


@given(DOCUMENTS)
def test_a_sanitized_document_is_one_that_is_taken(document: Any) -> None:
    with payload_rules(sanitize=True):
        try:
            once = encode(document, "output")
        except InvalidPayload:
            return
    again = encode(json.loads(bytes(once)), "output")
    assert json.loads(bytes(again)) == json.loads(bytes(once))


@given(DOCUMENTS)
def test_a_document_that_is_taken_is_not_changed(document: Any) -> None:
    try:
        strict = encode(document, "output")
    except InvalidPayload:
        return
    with payload_rules(sanitize=True):
        assert encode(document, "output") == strict


@given(TEXTS)
def test_a_sanitized_text_keeps_all_that_can_be_stored(text: str) -> None:
    told = storable(text)
    told.encode()
    assert "\0" not in told
    if "\0" not in text and text.isascii():
        assert told == text
