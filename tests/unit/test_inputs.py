"""What cannot be stored is refused before it is sent: which field, why, and never the value."""

from __future__ import annotations

import copy
import enum
import gc
import json
import math
import pickle
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue

from runstore import (
    InvalidPayload,
    InvocationOutcome,
    NewAgentInvocation,
    NewAgentStep,
    NewCtaEvent,
    NewFeatureRun,
    NewMemoryRecord,
    NewPhaseResult,
    NewSandbox,
    NewSnapshot,
    NewToolCall,
    complete_agent_invocation,
    complete_cta_event,
    complete_feature_run,
    create_agent_invocation,
    create_agent_step,
    create_cta_event,
    create_feature_run,
    create_memory_record,
    create_phase_result,
    create_sandbox_record,
    create_snapshot_record,
    create_tool_call,
    fail_feature_run,
    finish_agent_step,
    finish_tool_call,
    new_child_id,
    new_run_id,
    pass_phase_result,
)
from runstore._json import MAX_DEPTH
from runstore._models import Input
from runstore._query import Query

pytestmark = pytest.mark.once

SECRET = "hunter2"  # noqa: S105 - it opens nothing
RUN, OTHER = new_run_id(), new_run_id()
CHILD, STRANGER = new_child_id(RUN), new_child_id(OTHER)

NUL, HAS_NUL = f"{SECRET}\0", "holds a NUL character, which PostgreSQL cannot store"
SURROGATE = f"{SECRET}\ud800"
HAS_SURROGATE = "holds a lone surrogate, which UTF-8 cannot encode"
EMPTY = "String should have at least 1 character"
LONG, IS_LONG = SECRET * 37, "String should have at most 255 characters"
NO_RUN = "is not a run id: its last 48 bits are not zero"
NEGATIVE = "should be greater than or equal to 0"
OF_ANOTHER_RUN = "belongs to another run"

VALID: dict[type[Input], dict[str, Any]] = {
    NewFeatureRun: {"name": "a name"},
    NewSandbox: {"run_id": RUN, "id": "sandbox"},
    NewSnapshot: {"run_id": RUN, "id": "snapshot", "sandbox_id": "sandbox"},
    NewPhaseResult: {"run_id": RUN, "phase": "build"},
    NewAgentInvocation: {"run_id": RUN, "agent": "coder"},
    NewAgentStep: {"invocation_id": CHILD, "kind": "message"},
    NewToolCall: {"invocation_id": CHILD, "name": "shell"},
    NewMemoryRecord: {"run_id": RUN, "kind": "fact", "content": ""},
    NewCtaEvent: {"run_id": RUN, "kind": "approval"},
    InvocationOutcome: {},
}


def refused(make: Callable[[], object]) -> InvalidPayload:
    """Return the error that refuses a value, after a look for the value in all that it tells."""
    with pytest.raises(InvalidPayload) as raised:
        make()
    error = raised.value
    assert str(error) == f"{error.path}: {error.reason}"
    assert SECRET not in "".join(traceback.format_exception(error))
    return error


# Fields


@pytest.mark.parametrize(
    ("model", "values", "path", "reason"),
    [
        (NewFeatureRun, {"name": ""}, "name", EMPTY),
        (NewFeatureRun, {"name": LONG}, "name", IS_LONG),
        (NewFeatureRun, {"name": None}, "name", "should be a valid string"),
        (NewFeatureRun, {"name": [SECRET]}, "name", "should be a valid string"),
        (NewFeatureRun, {"name": NUL}, "name", HAS_NUL),
        (NewFeatureRun, {"name": SURROGATE}, "name", HAS_SURROGATE),
        (NewFeatureRun, {"tenant_id": ""}, "tenant_id", EMPTY),
        (NewFeatureRun, {"idempotency_key": LONG}, "idempotency_key", IS_LONG),
        (NewFeatureRun, {"trace_id": NUL}, "trace_id", HAS_NUL),
        (NewFeatureRun, {"unknown": SECRET}, "unknown", "Extra inputs are not permitted"),
        (NewFeatureRun, {"id": CHILD}, "id", NO_RUN),
        (NewFeatureRun, {"parent_run_id": CHILD}, "parent_run_id", NO_RUN),
        (NewFeatureRun, {"id": SECRET}, "id", "should be a valid UUID"),
        (NewFeatureRun, {"id": 7}, "id", "UUID input should be a string, bytes or UUID object"),
        (NewFeatureRun, {"metadata": [SECRET]}, "metadata", "should be a valid dictionary"),
        (NewFeatureRun, {"metadata": None}, "metadata", "should be a valid dictionary"),
        (NewSandbox, {"run_id": CHILD}, "run_id", NO_RUN),
        (NewSandbox, {"run_id": None}, "run_id", "UUID input should be"),
        (NewSandbox, {"id": ""}, "id", EMPTY),
        (NewSandbox, {"id": LONG}, "id", IS_LONG),
        (NewSandbox, {"status": SECRET}, "status", "should be 'creating', 'running' or 'paused'"),
        (NewSnapshot, {"sandbox_id": NUL}, "sandbox_id", HAS_NUL),
        (NewSnapshot, {"size_bytes": -1}, "size_bytes", NEGATIVE),
        (NewSnapshot, {"size_bytes": 2**63}, "size_bytes", f"should be less than {2**63}"),
        (NewSnapshot, {"size_bytes": 1.0}, "size_bytes", "should be a valid integer"),
        (NewSnapshot, {"size_bytes": SECRET}, "size_bytes", "should be a valid integer"),
        (NewPhaseResult, {"id": STRANGER}, "id", OF_ANOTHER_RUN),
        (NewPhaseResult, {"attempt": 0}, "attempt", "should be greater than or equal to 1"),
        (NewPhaseResult, {"attempt": 2**31}, "attempt", f"should be less than {2**31}"),
        (NewPhaseResult, {"attempt": True}, "attempt", "should be a valid integer"),
        (NewAgentInvocation, {"id": STRANGER}, "id", OF_ANOTHER_RUN),
        (NewAgentInvocation, {"span_id": ""}, "span_id", EMPTY),
        (
            NewAgentInvocation,
            {"phase_result_id": STRANGER},
            "run_id",
            "differs from the run of phase_result_id",
        ),
        (
            NewAgentInvocation,
            {"phase_result_id": CHILD, "parent_invocation_id": STRANGER},
            "run_id",
            "differs from the run of parent_invocation_id",
        ),
        (NewAgentStep, {"run_id": OTHER}, "run_id", "differs from the run of invocation_id"),
        (NewAgentStep, {"id": STRANGER}, "id", OF_ANOTHER_RUN),
        (NewAgentStep, {"position": -1}, "position", NEGATIVE),
        (NewAgentStep, {"position": 2**31}, "position", f"should be less than {2**31}"),
        (NewAgentStep, {"tokens": -1}, "tokens", NEGATIVE),
        (NewAgentStep, {"finished": SECRET}, "finished", "should be a valid boolean"),
        (NewAgentStep, {"invocation_id": SECRET}, "invocation_id", "should be a valid UUID"),
        (NewToolCall, {"run_id": OTHER}, "run_id", "differs from the run of invocation_id"),
        (NewToolCall, {"step_id": STRANGER}, "step_id", OF_ANOTHER_RUN),
        (NewToolCall, {"name": ""}, "name", EMPTY),
        (NewToolCall, {"status": SECRET}, "status", "should be 'open', 'completed', 'failed'"),
        (NewToolCall, {"provider_call_id": LONG}, "provider_call_id", IS_LONG),
        (NewMemoryRecord, {"id": STRANGER}, "id", OF_ANOTHER_RUN),
        (NewMemoryRecord, {"content": NUL}, "content", HAS_NUL),
        (NewMemoryRecord, {"content": None}, "content", "should be a valid string"),
        (NewCtaEvent, {"invocation_id": STRANGER}, "invocation_id", OF_ANOTHER_RUN),
        (NewCtaEvent, {"tool_call_id": STRANGER}, "tool_call_id", OF_ANOTHER_RUN),
        (
            NewCtaEvent,
            {"expires_at": datetime.fromisoformat("2030-01-01")},
            "expires_at",
            "should have timezone info",
        ),
        (NewCtaEvent, {"expires_at": SECRET}, "expires_at", "should be a valid datetime"),
        (InvocationOutcome, {"status": "running"}, "status", "should be 'completed', 'failed'"),
        (InvocationOutcome, {"finish_reason": LONG}, "finish_reason", IS_LONG),
        (InvocationOutcome, {"input_tokens": -1}, "input_tokens", NEGATIVE),
        (InvocationOutcome, {"output_tokens": 2**63}, "output_tokens", "should be less than"),
        (InvocationOutcome, {"cache_read_tokens": 0.5}, "cache_read_tokens", "should be a valid"),
        (InvocationOutcome, {"cost_usd": -1}, "cost_usd", NEGATIVE),
        (InvocationOutcome, {"cost_usd": SECRET}, "cost_usd", "should be a valid decimal"),
        (InvocationOutcome, {"cost_usd": Decimal("NaN")}, "cost_usd", "should be a finite number"),
        (InvocationOutcome, {"cost_usd": float("inf")}, "cost_usd", "should be a finite number"),
        (InvocationOutcome, {"cost_usd": Decimal("1e100")}, "cost_usd", "Decimal input should"),
        (InvocationOutcome, {"cost_usd": Decimal("1e-101")}, "cost_usd", "Decimal input should"),
    ],
)
def test_a_field_that_cannot_be_stored_is_refused(
    model: type[Input], values: dict[str, Any], path: str, reason: str
) -> None:
    model(**VALID[model])
    error = refused(lambda: model(**VALID[model] | values))
    assert error.path == path
    assert error.reason.startswith(reason)


@pytest.mark.parametrize("model", [model for model in VALID if VALID[model]])
def test_a_field_that_is_needed_is_missed(model: type[Input]) -> None:
    for name in VALID[model]:
        values = {key: value for key, value in VALID[model].items() if key != name}
        error = refused(partial(model, **values))
        assert error.path == name
        assert error.reason.startswith(("Field required", "is needed where"))


@pytest.mark.parametrize("values", [{"name": LONG}, {}])
def test_every_way_to_validate_refuses_alike(values: dict[str, str]) -> None:
    for validate in (NewFeatureRun.model_validate, NewFeatureRun.model_validate_strings):
        assert refused(partial(validate, values)).path == "name"
    assert refused(partial(NewFeatureRun.model_validate_json, json.dumps(values))).path == "name"


# JSON

JSON_FIELDS: list[tuple[Callable[[Any], object], str]] = [
    (lambda value: NewFeatureRun(name="a name", input=value), "input"),
    (lambda value: NewFeatureRun(name="a name", metadata={"key": value}), "metadata.key"),
    (lambda value: InvocationOutcome(usage_raw=[0, value]), "usage_raw[1]"),
    (lambda value: complete_feature_run.bind(RUN, output=value), "output"),
    (lambda value: fail_feature_run.bind(RUN, error={"why": [value]}), "error.why[0]"),
    (lambda value: pass_phase_result.bind(CHILD, value), "output"),
    (lambda value: finish_agent_step.bind(CHILD, content=value), "content"),
    (lambda value: finish_tool_call.bind(CHILD, result=value), "result"),
    (lambda value: complete_cta_event.bind(CHILD, value), "response_data"),
]


class Text(str):
    __slots__ = ()


class Float(float):
    """As numpy's float64 is one."""


class Point(NamedTuple):
    x: int
    y: int


class Limit(enum.Enum):
    NONE = math.inf


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (NUL, "", HAS_NUL),
        (f"\\{NUL}", "", HAS_NUL),
        (SURROGATE, "", HAS_SURROGATE),
        ({"a": [1, NUL]}, ".a[1]", HAS_NUL),
        ({NUL: 1}, "", f"has a key that {HAS_NUL}"),
        ({SURROGATE: 1}, "", f"has a key that {HAS_SURROGATE}"),
        ({1: SECRET}, "", "has a key that is not a string but int"),
        ({"a": {None: SECRET}}, ".a", "has a key that is not a string but NoneType"),
        (float("nan"), "", "is not a finite number"),
        ([None, float("inf")], "[1]", "is not a finite number"),
        ({"a": {"b": [-float("inf")]}}, ".a.b[0]", "is not a finite number"),
        (2**64, "", "is an integer beyond 64 bits"),
        ([-(2**63) - 1], "[0]", "is an integer beyond 64 bits"),
        (SECRET.encode(), "", "is a bytes, which JSON does not have"),
        ({"a": {SECRET}}, ".a", "is a set, which JSON does not have"),
        ([datetime.now(UTC)], "[0]", "is a datetime, which JSON does not have"),
        ([timedelta(1)], "[0]", "is a timedelta, which JSON does not have"),
        (Decimal(1), "", "is a Decimal, which JSON does not have"),
        (object(), "", "is a object, which JSON does not have"),
        (Float(0.5), "", "is a Float, which JSON does not have"),
        ({"a": Point(1, 2)}, ".a", "is a Point, which JSON does not have"),
        ([MappingProxyType({"a": 1})], "[0]", "is a mappingproxy, which JSON does not have"),
        ({Text("a"): 1}, "", "has a key that is not a string but Text"),
        ({"budget": Limit.NONE}, ".budget", "is not a finite number"),
        ([RUN, Limit.NONE], "[1]", "is not a finite number"),
    ],
)
@pytest.mark.parametrize(("send", "field"), JSON_FIELDS, ids=[path for _, path in JSON_FIELDS])
def test_json_that_cannot_be_stored_is_refused(
    send: Callable[[Any], object], field: str, value: object, path: str, reason: str
) -> None:
    error = refused(lambda: send(value))
    assert (error.path, error.reason) == (f"{field}{path}", reason)


def nested(depth: int, leaf: object = 0) -> Any:
    for level in range(depth):
        leaf = {"a": leaf} if level % 2 else [leaf]
    return leaf


@pytest.mark.parametrize("leaf", [0, None, "NaN"])
def test_json_nests_as_deep_as_it_says(leaf: JsonValue) -> None:
    complete_feature_run.bind(RUN, output=nested(MAX_DEPTH, leaf))
    for depth in (MAX_DEPTH + 1, MAX_DEPTH * 2, 10_000):
        error = refused(partial(complete_feature_run.bind, RUN, output=nested(depth, leaf)))
        assert error.reason == f"nests deeper than {MAX_DEPTH}"


def test_json_that_holds_itself_is_refused() -> None:
    circle: list[Any] = [SECRET]
    circle.append(circle)
    error = refused(lambda: complete_feature_run.bind(RUN, output=circle))
    assert error.reason == f"nests deeper than {MAX_DEPTH}"


class Colour(enum.StrEnum):
    RED = "red"


LIKE_JSON: list[Any] = [
    OrderedDict(a=SECRET),
    Text(SECRET),
    {Text("a"): 1},
    Colour.RED,
    {"a": Colour.RED},
    {Colour.RED: 1},
    RUN,
    (1, (2,)),
    [memoryview(b"")],
    [orjson.Fragment(b"1"), None],
    range(3),
    NewFeatureRun,
    NewFeatureRun(name="a name"),
]


@pytest.mark.parametrize("value", LIKE_JSON, ids=lambda value: type(value).__name__)
def test_what_looks_like_json_is_written_or_refused_by_name(value: Any) -> None:
    told = ""
    try:
        sent = complete_feature_run.bind(RUN, output=[value]).parameters["output"]
    except InvalidPayload as error:
        told = str(error)
    else:
        assert isinstance(json.loads(bytes(sent)), list)
    assert SECRET not in told


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    )
)
def test_json_is_sent_as_it_is_or_refused(value: Any) -> None:
    path = "input[0]"
    try:
        data = NewFeatureRun(name="a name", input=[value])
    except InvalidPayload as error:
        path = error.path
    else:
        assert json.loads(bytes(parameters(data)["input"])) == [value]
    assert path.startswith("input[0]")


# An input after it was made


def parameters(data: NewFeatureRun) -> Mapping[str, Any]:
    return create_feature_run.bind(data).parameters


def test_an_input_is_sent_as_it_was_when_it_was_made() -> None:
    document: dict[str, Any] = {"a": 1}
    data = NewFeatureRun(name="a name", input=document, metadata=document)
    document["b"] = 2
    assert (parameters(data)["input"], parameters(data)["metadata"]) == (b'{"a":1}', b'{"a":1}')


def test_a_copy_of_an_input_says_the_same() -> None:
    data = NewFeatureRun(name="a name", input={"a": [1]}, metadata={"b": None})
    for other in (
        copy.copy(data),
        copy.deepcopy(data),
        pickle.loads(pickle.dumps(data)),  # noqa: S301 - its own
        data.model_copy(),
    ):
        assert other == data
        assert parameters(other) == parameters(data)
    changed = data.model_copy(update={"input": {"a": [2]}})
    assert parameters(changed)["input"] == b'{"a":[2]}'


def test_what_was_given_of_an_input_is_its_own() -> None:
    """Inputs of which the same was given share what says so, but not with their copies."""
    invocation_id = new_child_id(new_run_id())
    step, other = (NewAgentStep(invocation_id=invocation_id, kind="a") for _ in range(2))

    for copied in (step.model_copy(), step.model_copy(deep=True), copy.copy(step)):
        copied.model_fields_set.add("metadata")
    changed = step.model_copy(update={"tokens": 1})

    assert step.model_fields_set == other.model_fields_set == {"invocation_id", "kind"}
    assert "tokens" in changed.model_fields_set


def test_a_batch_of_inputs_is_few_objects_to_the_collector_of_garbage() -> None:
    """It looks at each of them again and again: more often than not that is what a batch costs."""
    invocation_id = new_child_id(new_run_id())
    gc.collect()
    before = len(gc.get_objects())

    steps = [NewAgentStep(invocation_id=invocation_id, kind="a", content=n) for n in range(1000)]

    gc.collect()
    # The input, its fields and its id.
    assert len(gc.get_objects()) - before < 3.1 * len(steps)


def test_an_input_is_not_changed() -> None:
    data: Any = NewFeatureRun(name="a name")
    with pytest.raises(ValueError, match="frozen"):
        data.name = "another"


def test_the_same_input_is_made_once() -> None:
    assert NewFeatureRun(name="a").id != NewFeatureRun(name="a").id


# The wrong input


class Likeness(BaseModel):
    name: str = SECRET
    id: UUID = RUN


@pytest.mark.parametrize(
    ("create", "expected"),
    [
        (create_feature_run, "NewFeatureRun"),
        (create_sandbox_record, "NewSandbox"),
        (create_snapshot_record, "NewSnapshot"),
        (create_phase_result, "NewPhaseResult"),
        (create_agent_invocation, "NewAgentInvocation"),
        (create_agent_step, "NewAgentStep"),
        (create_tool_call, "NewToolCall"),
        (create_memory_record, "NewMemoryRecord"),
        (create_cta_event, "NewCtaEvent"),
    ],
)
@pytest.mark.parametrize("data", [{"name": SECRET}, Likeness(), None, InvocationOutcome()])
def test_another_sort_of_data_is_refused(
    create: Query[[Any], Any], expected: str, data: object
) -> None:
    error = refused(lambda: create.bind(data))
    assert str(error) == f"data: must be a {expected}, not a {type(data).__name__}"


def test_another_sort_of_outcome_is_refused() -> None:
    data: Any = {"output": SECRET}
    error = refused(lambda: complete_agent_invocation.bind(CHILD, data))
    assert str(error) == "data: must be a InvocationOutcome, not a dict"


def test_a_misspelled_field_is_named_before_the_one_that_it_leaves_out() -> None:
    values: dict[str, Any] = {"nmae": SECRET}
    with pytest.raises(InvalidPayload) as raised:
        NewFeatureRun(**values)
    assert (raised.value.path, raised.value.reason) == ("nmae", "Extra inputs are not permitted")
