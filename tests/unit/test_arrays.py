"""Arrays made in one piece read as psycopg, which did not make them, reads arrays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import adapters

from runstore._arrays import array, arrays_of, element_of, elements_of
from runstore._json import encode

pytestmark = pytest.mark.once

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "uuid": st.uuids(),
    "text": TEXTS,
    "jsonb": st.recursive(
        st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
        lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    ).map(lambda value: encode(value, "")),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "interval": st.timedeltas(timedelta(days=-366), timedelta(days=366)),
}


@pytest.mark.parametrize("type", VALUES)
@given(data=st.data())
def test_an_array_reads_back_equal(type: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.none() | VALUES[type]))
    made = array(type, iter(values))
    assert element_of(made) == adapters.types[type].oid
    assert elements_of(made) == values
    # A column of which nothing is given is made in another way.
    for column in (values, [None] * len(values)):
        whole = arrays_of(f"%(column)b::{type}[]", {"column": column})["column"]
        assert whole == array(type, column)


def test_a_statement_says_the_types_of_its_arrays() -> None:
    text = "SELECT %(id)s, unnest(%(names)b::text[]), %(counts)b::bigint[], %(names)b::text[]"
    made = arrays_of(text, {"names": ["a", None], "counts": [1], "id": [2]})
    assert {name: elements_of(each) for name, each in made.items()} == {
        "names": ["a", None],
        "counts": [1],
    }
