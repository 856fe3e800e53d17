"""Documents and texts come back as they were given."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from connections import Caller, Connect, Kind
from factories import create_memory, create_run, new_feature_run
from runstore import (
    Conflict,
    RunstoreError,
    complete_feature_run,
    create_feature_run,
    get_memory_record,
    get_run,
    payload_rules,
)
from runstore._json import MAX_DEPTH
from sessions import open_session

# What PostgreSQL cannot hold is refused, and tested with the other inputs.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
DOCUMENTS: Any = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=20,
)

# An example has a run of its own.
each = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def as_number(value: float) -> float:
    """Return a number as jsonb holds it: a large float without a fraction becomes an integer."""
    number = Decimal(repr(value))
    whole = int(number)
    return whole if number == whole and -(2**63) <= whole < 2**64 else value


def as_stored(document: JsonValue) -> JsonValue:
    if isinstance(document, list):
        return [as_stored(item) for item in document]
    if isinstance(document, dict):
        return {key: as_stored(item) for key, item in document.items()}
    return as_number(document) if isinstance(document, float) else document


@each
@given(DOCUMENTS)
def test_a_document_reads_back_equal(call: Caller, document: JsonValue) -> None:
    stored = as_stored(document)
    run = create_run(call, input=document, metadata={"key": document})
    assert (run.input, run.metadata) == (stored, {"key": stored})
    call(complete_feature_run, run.id, output=document)
    assert call(get_run, run.id).output == stored


@each
@given(DOCUMENTS)
@example(7.000675502323238e16)
def test_a_document_is_the_same_when_it_is_repeated(call: Caller, document: JsonValue) -> None:
    data = new_feature_run(input=document)
    assert call(create_feature_run, data) == call(create_feature_run, data)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), ([0], [False]), ({"a": None}, {}), ("1", 1), (2**53, 2**53 + 1), (1.5, 1.25)],
)
def test_what_looks_alike_is_not_the_same(call: Caller, one: JsonValue, other: JsonValue) -> None:
    run = create_run(call, input={"key": one})
    with pytest.raises(Conflict):
        create_run(call, id=run.id, input={"key": other})


@each
@given(TEXTS)
def test_a_text_reads_back_equal(call: Caller, text: str) -> None:
    created = create_memory(call, create_run(call).id, content=text)
    assert call(get_memory_record, created.id).content == text


def test_a_document_without_a_value_is_null(call: Caller) -> None:
    create_run(call, input=None)
    create_run(call, input=[None])
    rows = call.execute("SELECT input IS NULL FROM runstore.runs ORDER BY id")
    assert rows == [(True,), (False,)]


def test_the_deepest_document_reads_back_equal(call: Caller) -> None:
    document: JsonValue = None
    for level in range(MAX_DEPTH):
        document = [document] if level % 2 else {"a": document}
    assert create_run(call, input=document).input == document


def test_a_large_document_reads_back_equal(call: Caller) -> None:
    document: JsonValue = [{"number": number, "text": "ä" * 1000} for number in range(5000)]
    with payload_rules(max_bytes=1 << 24):
        assert create_run(call, input=document).input == document


@pytest.mark.parametrize(("encoding", "text"), [("LATIN1", "ß"), ("EUC_JP", "漢字")])
def test_a_connection_of_another_encoding_stores_nothing_else(
    connection_kind: Kind, database: str, connect: Connect, encoding: str, text: str
) -> None:
    data = new_feature_run(name=text, input={text: text})
    with (
        open_session(connection_kind, database, client_encoding=encoding) as session,
        suppress(RunstoreError),
    ):
        run = session(create_feature_run, data)
        assert (run.name, run.input) == (text, {text: text})
    rows = connect().execute("SELECT name, input FROM runstore.runs").fetchall()
    assert rows in ([], [(text, {text: text})])
