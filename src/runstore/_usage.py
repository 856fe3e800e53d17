"""What inputs of usage have in common: who used what, for which run, and how much of each meter."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, TypeGuard, cast
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from ._models import Input, JsonObject, Key, ParentsRunId
from ._plain import Known, Plain, is_key, is_run_of
from .ids import new_child_id, new_lone_id, run_of

MAX_AMOUNT: Final = 10**15
"""The most that one entry may say of a meter: of money, a million dollars."""

MAX_METERS: Final = 32
"""The most meters that one entry may have amounts of."""

COST_METER: Final = "cost_nanousd"

_PARTS: Final = {
    "input_tokens": ("cache_read_tokens", "cache_write_tokens"),
    "output_tokens": ("reasoning_tokens",),
}


def _short_whole(amounts: dict[str, int]) -> str | None:
    """Return a whole that is less than its parts; those of a correction need not fit into it."""
    if _PARTS.keys().isdisjoint(amounts) or min(amounts.values()) < 0:
        return None
    for whole, parts in _PARTS.items():
        if whole in amounts and sum(amounts.get(part, 0) for part in parts) > amounts[whole]:
            return whole
    return None


def _parts_in_wholes(amounts: dict[str, int]) -> dict[str, int]:
    whole = _short_whole(amounts)
    if whole is not None:
        raise ValueError(f"{whole} is less than {' and '.join(_PARTS[whole])}, which it includes")
    return amounts


def _odd_cost(costs: dict[str, int | None], amounts: dict[str, int]) -> str | None:
    """Say what is wrong with the first cost that its amount cannot have."""
    for meter, cost in costs.items():
        if cost is None:
            continue
        if meter == COST_METER or meter not in amounts:
            return "has a meter that has no amount, or whose amount is a cost"
        if cost and amounts[meter] and (cost < 0) != (amounts[meter] < 0):
            return "has a cost of another sign than its amount"
    return None


def _costs_of_amounts(costs: dict[str, int | None], info: ValidationInfo) -> dict[str, int | None]:
    amounts = info.data.get("amounts")
    reason = None if amounts is None else _odd_cost(costs, amounts)
    if reason is not None:
        raise ValueError(reason)
    return {meter: cost for meter, cost in costs.items() if cost is not None}


Amounts = Annotated[
    dict[Key, Annotated[int, Field(strict=True, ge=0, le=MAX_AMOUNT)]],
    Field(min_length=1, max_length=MAX_METERS),
    AfterValidator(_parts_in_wholes),
]
"""How much of each meter, in the meter's own unit."""

SignedAmounts = Annotated[
    dict[Key, Annotated[int, Field(strict=True, ge=-MAX_AMOUNT, le=MAX_AMOUNT)]],
    Field(min_length=1, max_length=MAX_METERS),
    AfterValidator(_parts_in_wholes),
]
"""How much of each meter; a correction is negative."""

Costs = Annotated[
    dict[Key, Annotated[int, Field(strict=True, ge=-MAX_AMOUNT, le=MAX_AMOUNT)] | None],
    AfterValidator(_costs_of_amounts),
]
"""What the amounts of the field `amounts`, which stands before it, cost in 1e-9 USD."""


def _or_run_of_children(run_id: Any, info: ValidationInfo) -> Any:
    return or_run_of_children(run_id, info.data)


# Of plain values


def or_run_of_children(run_id: UUID | None, values: dict[str, Any]) -> UUID | None:
    """Return a run's id, or that of what in the fields before belongs to one."""
    child = values.get("invocation_id") or values.get("tool_call_id")
    return run_of(child) if run_id is None and child is not None else run_id


def is_run_or_none(run_id: Any, values: dict[str, Any]) -> bool:
    """Say that there is no run, or that it is the one of all fields before."""
    found = or_run_of_children(run_id, values)
    return found is None or is_run_of(found, (values["invocation_id"], values["tool_call_id"]))


def are_amounts(value: object, least: int) -> bool:
    """Say of a dict that it holds amounts, none of them less than this."""
    return (
        _are_numbers(value, least) and 0 < len(value) <= MAX_METERS and _short_whole(value) is None
    )


def are_costs(value: object, values: dict[str, Any]) -> bool:
    """Say of a dict that it holds costs of the amounts before."""
    return _are_numbers(value, -MAX_AMOUNT) and _odd_cost(value, values["amounts"]) is None


def _are_numbers(value: object, least: int) -> TypeGuard[dict[str, Any]]:
    if type(value) is not dict:
        return False
    for meter, number in cast("dict[object, object]", value).items():
        if not is_key(meter) or type(number) is not int or not least <= number <= MAX_AMOUNT:
            return False
    return True


def _new_id(data: dict[str, Any]) -> UUID:
    run_id = data["run_id"]
    return new_lone_id() if run_id is None else new_child_id(run_id)


_UsageRunId = Annotated[ParentsRunId | None, BeforeValidator(_or_run_of_children)]

_PLAIN: Final = (
    (
        _UsageRunId,
        Plain(
            "is_run_or_none({v}, values)",
            "or_run_of_children({v}, values)",
            (is_run_or_none, or_run_of_children),
        ),
    ),
    (Amounts, Plain("are_amounts({v}, 0)", "{v}.copy()", (are_amounts,))),
    (SignedAmounts, Plain(f"are_amounts({{v}}, {-MAX_AMOUNT})", "{v}.copy()", (are_amounts,))),
    (Costs, Plain("are_costs({v}, values)", "{v}.copy()", (are_costs,))),
)


class UsageContext(Input):
    """What usage may be for: a run, one of its invocations, one of its tool calls, a model.

    `run_id` may be left out where one of the others says it.
    """

    plain_types: ClassVar[Known] = (*Input.plain_types, *_PLAIN)

    invocation_id: UUID | None = None
    """The invocation that used it."""
    tool_call_id: UUID | None = None
    """The tool call that used it."""
    run_id: _UsageRunId = Field(default=None, validate_default=True)
    """The run; left out, it is that of the two before, if any."""
    provider: Key | None = None
    """Who served the model."""
    model: Key | None = None
    """The model, as its provider names it."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        # These have schemas of their own, which look into them.
        ours = ("amounts", "costs", "metadata")
        cls.json_fields = tuple(name for name in ours if name in cls.model_fields)


class NewUsageInput(UsageContext):
    """What reservations and entries of the log have in common.

    The id carries the run where there is one, and is a new UUIDv7 where there is none.
    """

    optional_fields: ClassVar[frozenset[str]] = frozenset({"tenant_id"})

    id: UUID = Field(default_factory=_new_id)
    """Made here, before the first attempt: repeating a write with it is safe."""
    tenant_id: Key | None = None
    """Whose usage it is; None: the transaction's tenant."""
    subject_id: Key
    """Who used it: a user, a team; the application chooses."""
    metadata: JsonObject = Field(default_factory=dict)
    """A JSON object for what the application adds."""
