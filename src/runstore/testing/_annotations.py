"""What Python's annotations say, against the types that PostgreSQL's values are read as."""

from __future__ import annotations

import datetime as dt
import enum
import re
import types
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Annotated, Any, Final, Literal, NewType, Union, get_args, get_origin

from pydantic import AwareDatetime, BaseModel, JsonValue, NaiveDatetime

JSON: Final = frozenset({"json", "jsonb"})

_MODULES: Final = re.compile(r"\b(?:\w+\.)+(?=\w)")

# As psycopg reads them.
PYTHON_TYPES: Final[Mapping[str, tuple[Any, ...]]] = {
    '"char"': (str,),
    "bigint": (int,),
    "boolean": (bool,),
    "bytea": (bytes,),
    "character varying": (str,),
    "character": (str,),
    "cidr": (IPv4Network, IPv6Network),
    "date": (dt.date,),
    "double precision": (float,),
    "inet": (IPv4Address, IPv6Address, IPv4Interface, IPv6Interface),
    "integer": (int,),
    "interval": (dt.timedelta,),
    "name": (str,),
    "numeric": (Decimal,),
    "oid": (int,),
    "real": (float,),
    "smallint": (int,),
    "text": (str,),
    "time with time zone": (dt.time,),
    "time without time zone": (dt.time,),
    "timestamp with time zone": (dt.datetime, AwareDatetime),
    "timestamp without time zone": (dt.datetime, NaiveDatetime),
    "uuid": (uuid.UUID,),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """An annotation taken apart: the types that a value may have, and whether None is one."""

    alternatives: tuple[Any, ...]
    nullable: bool

    @property
    def only(self) -> Any:
        """The one type besides None, or None where there are more of them."""
        return self.alternatives[0] if len(self.alternatives) == 1 else None


def shape(annotation: Any) -> Shape:
    """Take an annotation apart: unions, `Annotated`, named types."""
    found = list(_alternatives(annotation))
    alternatives = tuple(one for one in found if one is not type(None))
    # These say of themselves that they hold None.
    loose = any(one in (Any, object, JsonValue) for one in alternatives)
    return Shape(alternatives, loose or len(alternatives) < len(found))


def _alternatives(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if annotation is None:
        yield type(None)
    elif origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for alternative in get_args(annotation):
            yield from _alternatives(alternative)
    elif isinstance(annotation, NewType):
        yield from _alternatives(annotation.__supertype__)
    elif hasattr(annotation, "__value__") and annotation is not JsonValue:
        # `type Name = ...`
        yield from _alternatives(annotation.__value__)
    else:
        yield annotation


def element_of(annotation: Any) -> Any:
    """Return what a list holds, or None where the annotation is no list."""
    if get_origin(annotation) in (list, Sequence):
        return get_args(annotation)[0]
    return None


def is_model(annotation: Any) -> bool:
    """Say whether an annotation is a pydantic model."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def values_of(annotation: Any) -> frozenset[Any] | None:
    """Return the values of a `Literal` or an `Enum`, or None for what lists none."""
    if get_origin(annotation) is Literal:
        return frozenset(get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return frozenset(member.value for member in annotation)
    return None


def name_of(annotation: Any) -> str:
    """Name a type as its author wrote it, without its modules."""
    if annotation is JsonValue:
        return "JsonValue"
    if get_origin(annotation) is None and isinstance(annotation, type):
        return annotation.__name__
    return _MODULES.sub("", str(annotation))
