"""The values that a column may hold against the type that an annotation gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from ._annotations import JSON, PYTHON_TYPES, element_of, name_of, shape, values_of
from ._catalogue import Attribute, Catalogue
from ._describe import Column


class Values:
    """Compares columns with annotations."""

    def __init__(self, catalogue: Catalogue, types: Mapping[str, Sequence[Any]]) -> None:
        self._catalogue = catalogue
        self._types = {**PYTHON_TYPES, **types}

    def fault(self, column: Column, annotation: Any) -> str | None:
        """Say why a column's values are of none of an annotation's types, or None."""
        faults = [self._fault(column, wanted) for wanted in shape(annotation).alternatives]
        if None in faults:
            return None
        return faults[0] if faults else f"is {column.type.name}, and the field is None"

    def _fault(self, column: Column, wanted: Any) -> str | None:
        type = column.type
        if wanted in (Any, object):
            return None
        if type.name in JSON:
            return self._json_fault(column, wanted)
        if type.element is not None:
            return self._array_fault(type.element, wanted)
        values = values_of(wanted)
        if values is not None:
            return self._listed_fault(column, values, name_of(wanted))
        types = (str,) if type.kind == "e" else self._types.get(type.name, ())
        return None if wanted in types else _mismatch(type.name, types, wanted)

    def _array_fault(self, element: str, wanted: Any) -> str | None:
        item = element_of(wanted)
        types = self._types.get(element, ())
        if item is not None and any(one in types for one in shape(item).alternatives):
            return None
        return _mismatch(f"{element}[]", types, wanted, "list of {}")

    def _json_fault(self, column: Column, wanted: Any) -> str | None:
        if wanted is JsonValue:
            return None
        form = getattr(wanted, "__origin__", wanted)
        document, kind = {dict: ("{}", "object"), list: ("[]", "array")}.get(form, ("", ""))
        if not document:
            return f"is {column.type.name}, which is read as JsonValue, not as {name_of(wanted)}"
        attribute = column.attribute
        # The form of an expression's JSON is its author's word.
        if attribute is None or self._catalogue.held_to_json(attribute, document):
            return None
        return (
            f"is {column.type.name}, and no CHECK on {_shown(attribute)} holds it to an {kind}, "
            f"as the field does, which is {name_of(wanted)}"
        )

    def _listed_fault(self, column: Column, wanted: frozenset[Any], name: str) -> str | None:
        """Compare the values of a `Literal` or an `Enum` with those that the schema allows."""
        attribute = column.attribute
        if column.type.kind == "e":
            found: frozenset[str] | None = self._catalogue.labels(column.type)
            holder = f"the enum {column.type.name}"
        elif attribute is None:
            return f"is an expression, so that nothing holds it to the field's {name}"
        elif column.type.name not in ("text", "character varying"):
            return _mismatch(column.type.name, self._types.get(column.type.name, ()), name)
        else:
            found = self._catalogue.allowed_texts(attribute)
            holder = f"the CHECK on {_shown(attribute)}"
        if found is None:
            return f"no CHECK on {_shown(attribute)} lists its values, as the field's {name} does"
        told = [
            f"{holder} {verb} {', '.join(sorted(map(repr, values)))}"
            for verb, values in (("also allows", found - wanted), ("forbids", wanted - found))
            if values
        ]
        return f"the field is {name}, and {' and '.join(told)}" if told else None


def _mismatch(type: str, types: Sequence[Any], wanted: Any, form: str = "{}") -> str:
    read = form.format(name_of(types[0])) if types else "nothing that is known here"
    return f"is {type}, which is read as {read}, and the field is {name_of(wanted)}"


def _shown(attribute: Attribute | None) -> str:
    return f"{attribute.table_name}.{attribute.name}" if attribute else "it"
