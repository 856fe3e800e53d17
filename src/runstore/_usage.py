"""What inputs of usage have in common: who used what, for which run, and how much of each meter."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from ._models import Input, JsonObject, Key, ParentsRunId
from .ids import new_child_id, new_lone_id, run_of

MAX_AMOUNT: Final = 10**15
"""The most that one entry may say of a meter: of money, a million dollars."""

COST_METER: Final = "cost_nanousd"

_PARTS: Final = {
    "input_tokens": ("cache_read_tokens", "cache_write_tokens"),
    "output_tokens": ("reasoning_tokens",),
}


def _parts_in_wholes(amounts: dict[str, int]) -> dict[str, int]:
    # The parts of a correction need not fit into each other.
    if min(amounts.values()) >= 0:
        for whole, parts in _PARTS.items():
            if whole in amounts and sum(amounts.get(part, 0) for part in parts) > amounts[whole]:
                raise ValueError(f"{whole} is less than {' and '.join(parts)}, which it includes")
    return amounts


def _costs_of_amounts(costs: dict[str, int | None], info: ValidationInfo) -> dict[str, int | None]:
    amounts = info.data.get("amounts")
    for meter, cost in costs.items():
        if amounts is None or cost is None:
            continue
        if meter == COST_METER or meter not in amounts:
            raise ValueError("has a meter that has no amount, or whose amount is a cost")
        if cost and amounts[meter] and (cost < 0) != (amounts[meter] < 0):
            raise ValueError("has a cost of another sign than its amount")
    return {meter: cost for meter, cost in costs.items() if cost is not None}


Amounts = Annotated[
    dict[Key, Annotated[int, Field(strict=True, ge=0, le=MAX_AMOUNT)]],
    Field(min_length=1, max_length=32),
    AfterValidator(_parts_in_wholes),
]
"""How much of each meter, in the meter's own unit."""

SignedAmounts = Annotated[
    dict[Key, Annotated[int, Field(strict=True, ge=-MAX_AMOUNT, le=MAX_AMOUNT)]],
    Field(min_length=1, max_length=32),
    AfterValidator(_parts_in_wholes),
]
"""How much of each meter; a correction is negative."""

Costs = Annotated[
    dict[Key, Annotated[int, Field(strict=True, ge=-MAX_AMOUNT, le=MAX_AMOUNT)] | None],
    AfterValidator(_costs_of_amounts),
]
"""What the amounts of the field `amounts`, which stands before it, cost in 1e-9 USD."""


def _or_run_of_children(run_id: Any, info: ValidationInfo) -> Any:
    child = info.data.get("invocation_id") or info.data.get("tool_call_id")
    return run_of(child) if run_id is None and child is not None else run_id


def _new_id(data: dict[str, Any]) -> UUID:
    run_id = data["run_id"]
    return new_lone_id() if run_id is None else new_child_id(run_id)


class UsageContext(Input):
    """What usage may be for: a run, one of its invocations, one of its tool calls, a model.

    `run_id` may be left out where one of the others says it.
    """

    invocation_id: UUID | None = None
    """The invocation that used it."""
    tool_call_id: UUID | None = None
    """The tool call that used it."""
    run_id: Annotated[ParentsRunId | None, BeforeValidator(_or_run_of_children)] = Field(
        default=None, validate_default=True
    )
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
