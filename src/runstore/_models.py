"""The two sorts of models: rows as they come out, and what a caller hands in."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    Self,
    TypeAlias,
    TypeVar,
    cast,
)
from uuid import UUID

import orjson
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    JsonValue,
    StringConstraints,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import core_schema

from ._json import Json as EncodedJson
from ._json import equal, nullable_document, step, storable, unstorable
from ._plain import Known, Make, Plain, maker
from .errors import InvalidPayload
from .ids import is_run, new_child_id, run_of
from .payloads import current_rules

ItemT = TypeVar("ItemT")


RunKind = Literal["feature", "chat"]
RunStatus = Literal["pending", "running", "completed", "failed", "cancelled"]

ENDED: Final[frozenset[RunStatus]] = frozenset({"completed", "failed", "cancelled"})
"""The statuses of a run that has ended."""


# The texts that tell rows apart. Every other text may be somebody's words.
_NAMES: Final = frozenset(
    {
        "agent", "constraint", "entity", "format", "id", "kind", "meter", "model", "name", "period",
        "phase", "provider", "sandbox_id", "slug", "status", "template", "tenant_id", "timezone",
        "type",
    }
)  # fmt: skip
_SHOWN: Final = (bool, int, Decimal, UUID, datetime, timedelta)


class _Reticent(BaseModel):
    """Says ids, names, statuses, numbers and times of itself, and no payload.

    A repr ends up in logs, in reports of errors and in the output of failed tests.
    """

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Yield the fields that a repr shows: not those that are None, and no payload."""
        for name, value in self.__dict__.items():
            if isinstance(value, str):
                shown = name in _NAMES
            elif isinstance(value, list):
                items = cast("list[object]", value)
                shown = all(isinstance(item, _Reticent) for item in items)
            else:
                shown = isinstance(value, (*_SHOWN, _Reticent))
            if shown:
                yield name, value


class Row(_Reticent):
    """A row as a query answers it: its fields are the query's columns, in their order."""

    # A schema is built when it is first needed: rows are made without one, and an import that
    # built all of them would take twice as long.
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True
    )


class Created(Row):
    """The key of a row that a create wrote, and the database's time of it."""

    run_id: UUID
    id: UUID
    created_at: datetime


class Finished(Row):
    """The key of a row that reached its final status, and the database's time of it."""

    run_id: UUID
    id: UUID
    finished_at: datetime


class Page(Row, Generic[ItemT]):
    """Some of the rows of a list, and where the next ones start.

    `next_cursor` is opaque; None says that these were the last.
    """

    items: list[ItemT]
    next_cursor: str | None


class _JsonMarker:
    """Marks the fields of an input that are sent as jsonb.

    pydantic looks no deeper into them than this schema: their encoder does, in a fraction of
    the time, and what it wrote is what is sent.
    """

    def __init__(self, schema: core_schema.CoreSchema) -> None:
        self._schema = schema

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return self._schema


def _storable(value: Any) -> Any:
    if isinstance(value, str) and (reason := unstorable(value)):
        if not current_rules().sanitize:
            raise ValueError(reason)
        return storable(value)
    return value


def _sized(value: str) -> str:
    # A character has four bytes at most, and is counted only where that matters.
    most = current_rules().max_bytes
    if len(value) * 4 > most and len(value.encode()) > most:
        raise ValueError(f"is larger than {most} bytes")
    return value


def _of_run(id: UUID, info: ValidationInfo) -> UUID:
    run_id = info.data.get("run_id")
    if run_id is not None and run_of(id) != run_id:
        raise ValueError("belongs to another run")
    return id


def _of_parents(run_id: UUID, info: ValidationInfo) -> UUID:
    for name, id in info.data.items():
        if id is not None and run_of(id) != run_id:
            raise ValueError(f"differs from the run of {name}")
    return _is_run(run_id)


def _is_run(id: UUID) -> UUID:
    if not is_run(id):
        raise ValueError("is not a run id: its last 48 bits are not zero")
    return id


def _readable(value: datetime) -> datetime:
    # Whatever a session's time zone, Python must be able to say the time in it. And PostgreSQL
    # knows no offset of 16 hours or more, or of less than a second.
    try:
        moment = value.astimezone(UTC)
    except OverflowError:
        moment = None
    if moment is None or not _FIRST <= moment <= _LAST:
        raise ValueError("is outside of the years 1 to 9999 of UTC, less a day at either end")
    return moment


_FIRST: Final = datetime(1, 1, 2, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 31, tzinfo=UTC)

if TYPE_CHECKING:
    # A dict[str, int] is no dict whose values may be anything, but it can be read as such a one.
    JsonGiven: TypeAlias = (
        Mapping[str, "JsonGiven"] | Sequence["JsonGiven"] | str | int | float | bool | None
    )
    ObjectGiven: TypeAlias = Mapping[str, JsonGiven]
    ArrayGiven: TypeAlias = Sequence[JsonGiven]
else:
    JsonGiven = JsonValue
    ObjectGiven = dict[str, JsonValue]
    ArrayGiven = list[JsonValue]

Json = Annotated[JsonGiven, _JsonMarker(core_schema.any_schema())]
"""Anything that JSON can say. None is SQL's NULL."""

JsonObject = Annotated[ObjectGiven, _JsonMarker(core_schema.dict_schema())]
"""A JSON object."""

JsonArray = Annotated[ArrayGiven, _JsonMarker(core_schema.list_schema())]
"""A JSON array."""

Text = Annotated[str, BeforeValidator(_storable), AfterValidator(_sized)]
"""A text that PostgreSQL can store, as long as the payload rules allow."""

Key = Annotated[str, StringConstraints(min_length=1, max_length=255), BeforeValidator(_storable)]
"""A name or a key: 1 to 255 characters."""

Moment = Annotated[AwareDatetime, AfterValidator(_readable)]
"""A point in time, with its time zone; it is kept in UTC."""

Amount = Annotated[int, Field(strict=True, ge=0, lt=1 << 63)]
"""A count that a bigint holds."""

RunId = Annotated[UUID, AfterValidator(_is_run)]
"""The id of a run."""

ParentsRunId = Annotated[UUID, AfterValidator(_of_parents)]
"""The id of the run to which all ids in the fields before it belong."""

ChildId = Annotated[UUID, AfterValidator(_of_run)]
"""The id of something that belongs to the run of the field `run_id`, which stands before it."""


def _is_text(value: object) -> bool:
    if type(value) is not str or not value.isascii() or "\0" in value:
        return False
    return len(value) <= current_rules().max_bytes


# What pydantic would take as it is. A dict or a list it copies.
_PLAIN: Final = (
    (Json, Plain("True")),
    (JsonObject, Plain("type({v}) is dict", "{v}.copy()")),
    (JsonArray, Plain("type({v}) is list", "{v}.copy()")),
    (Key, Plain("is_key({v})")),
    (Text, Plain("_is_text({v})", functions=(_is_text,))),
    (RunId, Plain("(type({v}) is UUID and is_run({v}))")),
    (ParentsRunId, Plain("is_run_of({v}, {before})")),
    (ChildId, Plain("is_of_run({v}, {run_id})")),
)


def refusal(error: ValidationError, name: str | None = None) -> InvalidPayload:
    """Say in our words what pydantic refused: the path of the first part at fault, and why.

    `name` is that of the value that was validated; None: it is a model, whose fields are named.
    """
    found = error.errors(include_url=False, include_input=False)
    # A field that is misspelled is missing, too: to say only that would hide what is wrong.
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, InvalidPayload):
        # What __init__ raised, when it was pydantic that called it.
        return inner
    # What stands in brackets says that it is the key that is at fault, and not its value.
    steps = [key for key in first["loc"] if key != "[key]"]
    path = "".join(map(step, steps)) if name is None else name + "".join(map(step, steps))
    # pydantic's own text quotes a character.
    is_uuid = first["type"] == "uuid_parsing"
    reason = "should be a valid UUID" if is_uuid else first["msg"]
    reason = reason.removeprefix("Value error, ").removeprefix("Input ")
    return InvalidPayload(path.removeprefix(".") or error.title, reason)


class Input(_Reticent):
    """What a caller hands to a create or a finish: validated here, before anything is sent.

    JSON is encoded at once: what is sent is what it was when the input was made. Raises
    `InvalidPayload`, never pydantic's own error: its text names the field and the reason and
    does not hold the value.
    """

    __slots__ = ("_documents",)

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        defer_build=True,
    )

    entity: ClassVar[str]
    """What the input describes, as an error names it."""

    json_fields: ClassVar[tuple[str, ...]] = ()
    """The fields that are sent as jsonb."""

    changing_fields: ClassVar[frozenset[str]] = frozenset()
    """The fields whose columns later writes change: a repeated create does not compare them."""

    optional_fields: ClassVar[frozenset[str]] = frozenset()
    """The fields that the database fills when they are None."""

    plain_types: ClassVar[Known] = _PLAIN
    """Types of its fields, and which values pydantic need not be asked about."""

    def __init__(self, /, **data: Any) -> None:
        if not (MAKERS.get(self.__class__) or _maker(self.__class__))(self, data):
            try:
                # All that the base does, but that it looks for a validator which makes another
                # object.
                self.__pydantic_validator__.validate_python(data, self_instance=self)
            except ValidationError as error:
                raise refusal(error) from None
        _set_documents(self, self._encode())

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        cls.json_fields = tuple(
            name
            for name, field in cls.model_fields.items()
            if any(isinstance(mark, _JsonMarker) for mark in field.metadata)
        )

    @classmethod
    def model_validate(cls, *args: Any, **kwargs: Any) -> Self:
        """Make an input of a mapping. Raises `InvalidPayload`."""
        with cls._refusing():
            return super().model_validate(*args, **kwargs)

    @classmethod
    def model_validate_json(cls, *args: Any, **kwargs: Any) -> Self:
        """Make an input of a JSON text. Raises `InvalidPayload`."""
        with cls._refusing():
            return super().model_validate_json(*args, **kwargs)

    @classmethod
    def model_validate_strings(cls, *args: Any, **kwargs: Any) -> Self:
        """Make an input of a mapping of strings. Raises `InvalidPayload`."""
        with cls._refusing():
            return super().model_validate_strings(*args, **kwargs)

    @classmethod
    @contextmanager
    def _refusing(cls) -> Generator[None]:
        try:
            yield
        except ValidationError as error:
            raise refusal(error) from None

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy; what `update` changes is validated as it was when this was made."""
        if update:
            return type(self)(**self.__dict__ | dict(update))
        return super().model_copy(deep=deep)

    def _encode(self) -> dict[str, bytes | None]:
        values = self.__dict__
        # Of bytes, and not of `Json`: Python's collector of garbage has to look at every object of
        # a class, and so at a dict that holds one.
        documents: dict[str, bytes | None] = {}
        for name in self.json_fields:
            documents[name] = nullable_document(values[name], name)
        if current_rules().sanitize:
            # What it says of itself is what it sends.
            values |= {name: orjson.loads(each) for name, each in documents.items() if each}
        return documents

    @property
    def documents(self) -> dict[str, bytes | None]:
        """The fields that are sent as jsonb, encoded; None is SQL's NULL."""
        try:
            documents: dict[str, bytes | None] = _get_documents(self)
        except AttributeError:
            # A copy, or an input that was pickled, came about without __init__.
            documents = self._encode()
            _set_documents(self, documents)
        return documents

    def parameters(self) -> dict[str, Any]:
        """Return the fields by name, with JSON encoded."""
        parameters: dict[str, Any] = self.__dict__ | self.documents
        for name in self.json_fields:
            document = parameters[name]
            if document is not None:
                parameters[name] = EncodedJson(document)
        return parameters

    def differences(self, row: Row) -> list[str]:
        """Name the fields in which a stored row differs from this input."""
        stored = row.__dict__
        decoded = {
            name: None if document is None else orjson.loads(document)
            for name, document in self.documents.items()
        }
        return [
            name
            for name, value in (self.__dict__ | decoded).items()
            if name != "id"
            and name not in self.changing_fields
            and not (value is None and name in self.optional_fields)
            and not equal(stored[name], value)
        ]


def other_than(model: type[Input], value: object, path: str) -> InvalidPayload:
    """Return what is raised for a value that is no such input."""
    return InvalidPayload(path, f"must be a {model.__name__}, not a {type(value).__name__}")


_get_documents: Final = Input.__dict__["_documents"].__get__
_set_documents: Final = Input.__dict__["_documents"].__set__
MAKERS: Final[dict[type[Input], Make]] = {}
"""What makes inputs of plain values, of those that have been made so far."""


def _maker(model: type[Input]) -> Make:
    """Return what makes an input of plain values; it is written when the first one is made."""
    return MAKERS.setdefault(model, maker(model, Input, model.plain_types))


def child_of_run(data: dict[str, Any]) -> UUID:
    """Make the id of something that belongs to the run of the field `run_id`."""
    return new_child_id(data["run_id"])


def run_of_invocation(data: dict[str, Any]) -> UUID:
    """Find the run of the field `invocation_id`."""
    return run_of(data["invocation_id"])
