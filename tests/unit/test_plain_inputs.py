"""An input of plain values is what pydantic, which is not asked, would have made of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from unittest.mock import patch
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ConfigDict, Field, field_validator

import runstore
from runstore import (
    InvalidPayload,
    InvocationOutcome,
    NewAgentInvocation,
    NewAgentStep,
    NewBranchReport,
    NewChatRun,
    NewCtaEvent,
    NewFeatureRun,
    NewMemoryRecord,
    NewPhaseResult,
    NewPrice,
    NewQuota,
    NewReport,
    NewReservation,
    NewRunEvent,
    NewRunFork,
    NewSandbox,
    NewSnapshot,
    NewToolCall,
    NewUsage,
    SectionDraft,
    new_child_id,
    new_run_id,
)
from runstore._models import MAKERS, Input
from runstore._plain import Make

pytestmark = pytest.mark.once

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN, OTHER = new_run_id(), new_run_id()
CHILD, SIBLING, STRANGER = new_child_id(RUN), new_child_id(RUN), new_child_id(OTHER)


class Odd(str):
    __slots__ = ()


ODD: list[Any] = [
    None, True, 1, -1, 1.0, 1 << 31, (1 << 63) - 1, 1 << 63, "", "a key", "é", "a\0", "\ud800",
    "a" * 255, "a" * 256, Odd("text"), b"a key", "true", "7", "open", "closed", RUN, CHILD, SIBLING,
    STRANGER, str(RUN), NOW, timedelta(1), Decimal("1.5"), {}, {"a": [1]}, {1: 2}, [], [None], (),
    {1}, object(), float("nan"), {"tokens": 5}, {"tokens": -5}, {"tokens": True}, {"tokens": None},
    {"input_tokens": 1, "cache_read_tokens": 2}, {"input_tokens": -1, "cache_read_tokens": 2},
    {"output_tokens": 3, "reasoning_tokens": 2}, {"cost_nanousd": 1}, {"tokens": 1 << 60},
    dict.fromkeys(map(str, range(33)), 1),
]  # fmt: skip
LIKELY: dict[type[Input], dict[str, Any]] = {
    NewRunEvent: {"type": "message", "payload": {"a": 1}},
    NewAgentStep: {"invocation_id": CHILD, "kind": "thought", "tokens": 3, "content": [1]},
    NewToolCall: {"invocation_id": CHILD, "name": "shell", "step_id": SIBLING, "status": "open"},
    NewAgentInvocation: {"run_id": RUN, "agent": "coder", "parent_invocation_id": SIBLING},
    InvocationOutcome: {"status": "failed", "error": "late", "input_tokens": 7, "usage_raw": {}},
    NewFeatureRun: {"name": "build", "exclusive": True, "thread_id": "thread"},
    NewChatRun: {"thread_id": "thread", "parent_run_id": OTHER, "input": ["hello"]},
    NewRunFork: {"name": "another way", "metadata": {"a": None}},
    NewPhaseResult: {"run_id": RUN, "phase": "build", "attempt": 2, "input": "x"},
    NewSandbox: {"run_id": RUN, "id": "box", "status": "running", "provider": "local"},
    NewSnapshot: {"run_id": RUN, "id": "shot", "sandbox_id": "box", "size_bytes": 1 << 40},
    NewMemoryRecord: {"run_id": RUN, "kind": "fact", "content": "it rains"},
    NewCtaEvent: {"run_id": RUN, "kind": "approval", "tool_call_id": CHILD, "request": "may I?"},
    NewReport: {"run_id": RUN, "title": "Findings", "format": "markdown"},
    NewBranchReport: {"run_id": RUN, "report_id": CHILD, "name": "draft"},
    SectionDraft: {"slug": "start", "content": "text", "citations": [1], "position": 3},
    NewQuota: {"subject_id": "zoe", "meter": "tokens", "period": "day", "limit_amount": 9},
    NewReservation: {"subject_id": "zoe", "amounts": {"tokens": 1}, "run_id": RUN},
    NewUsage: {
        "subject_id": "zoe", "amounts": {"tokens": 1}, "costs": {"tokens": 5}, "tool_call_id": CHILD
    },
    NewPrice: {
        "provider": "p", "model": "m", "meter": "tokens", "valid_from": NOW, "price": Decimal(1)
    },
}  # fmt: skip
# Of this a field that every caller gives is left to pydantic.
LEFT_TO_PYDANTIC = {NewPrice}


def ask_pydantic(made: Any, given: dict[str, Any]) -> bool:
    return False


def told(make: Callable[[], Input]) -> Any:
    """Return all that there is to an input, or why there is none; ids are drawn anew each time."""
    try:
        made = make()
    except InvalidPayload as error:
        return str(error)
    fields: dict[str, object] = {
        name: (type(value), repr(value) if not isinstance(value, UUID) else value)
        for name, value in vars(made).items()
        if name != "id" or "id" in made.model_fields_set
    }
    return list(vars(made)), fields, made.model_fields_set, made.documents


@pytest.mark.parametrize("model", LIKELY)
@given(data=st.data())
def test_an_input_is_the_same_whoever_makes_it(model: type[Input], data: st.DataObject) -> None:
    names = [*model.model_fields, "misspelled"]
    odd = data.draw(st.dictionaries(st.sampled_from(names), st.sampled_from(ODD), max_size=4))
    left_out = data.draw(st.sets(st.sampled_from(list(LIKELY[model])), max_size=1))
    values = {name: value for name, value in (LIKELY[model] | odd).items() if name not in left_out}
    quick = told(lambda: model(**values))
    with patch.dict(MAKERS, {model: ask_pydantic}):
        assert told(lambda: model(**values)) == quick


def test_every_input_that_is_exported_is_tried() -> None:
    exported = [getattr(runstore, name) for name in runstore.__all__]
    inputs = {each for each in exported if isinstance(each, type) and issubclass(each, Input)}
    assert inputs == LIKELY.keys()


@pytest.mark.parametrize("model", LIKELY)
def test_what_is_likely_is_plain(model: type[Input]) -> None:
    model(**LIKELY[model])
    assert makes(MAKERS[model], model, LIKELY[model]) == (model not in LEFT_TO_PYDANTIC)


def makes(make: Make, model: type[Input], values: dict[str, Any]) -> bool:
    return make(model.__new__(model), values)


def test_the_document_of_a_caller_is_not_the_input_s() -> None:
    metadata: dict[str, Any] = {}
    step = NewAgentStep(invocation_id=CHILD, kind="thought", metadata=metadata)
    metadata["a"] = 1
    assert step.metadata == {}


# Inputs that a caller derives


class Shouting(NewAgentStep):
    entity: ClassVar[str] = "shout"

    @field_validator("kind")
    @classmethod
    def _shout(cls, kind: str) -> str:
        return kind.upper()


class Short(NewAgentStep):
    kind: str = Field(max_length=3)


class Stripped(NewAgentStep):
    model_config = ConfigDict(str_strip_whitespace=True)


class Named(NewAgentStep):
    kind: str = Field(alias="sort")


class Loose(NewAgentStep):
    run_id: UUID | None = None  # type: ignore[assignment]


def test_a_derived_input_is_validated_by_what_it_adds() -> None:
    assert Loose(invocation_id=CHILD, kind="a", id=CHILD).run_id is None
    assert Shouting(invocation_id=CHILD, kind="a").kind == "A"
    assert Stripped(invocation_id=CHILD, kind=" a ").kind == "a"
    assert Short(invocation_id=CHILD, kind="abc").kind == "abc"
    with pytest.raises(InvalidPayload, match="String should have at most 3 characters"):
        Short(invocation_id=CHILD, kind="abcd")
    values: dict[str, Any] = {"invocation_id": CHILD, "sort": "a"}
    assert Named(**values).kind == "a"
